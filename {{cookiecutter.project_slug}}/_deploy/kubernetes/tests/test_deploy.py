from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]


def test_the_cluster_loads_the_alert_rules_of_monitoring():
    resource = ROOT / "deploy/kubernetes/components/monitoring/alerts.yaml"
    rules = yaml.safe_load((ROOT / "monitoring/alerts.yml").read_text(encoding="utf-8"))
    assert yaml.safe_load(resource.read_text(encoding="utf-8"))["spec"] == rules, "change both files"

"""A real review with a planted leak, as people see it: the page passes axe, and the pull request shows its charts.

Needs Chromium (Debian's) and npm; skips and says so where one is missing.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import Project

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NPM = shutil.which("npm")


@pytest.fixture(scope="module")
def reviewed(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The review of a branch whose table knows the outcome."""
    copy = project.copy(tmp_path_factory.mktemp("leak") / "copy")
    prepare, contract = copy.package / "prepare.py", copy.root / "contract.yaml"
    code = prepare.read_text(encoding="utf-8")
    known = 'table["churned"] = ~table["customer_id"].isin(future["customer_id"])\n'
    assert known in code
    leak = '    table["refund"] = table["churned"] * 10.0 + table["customer_id"].str[-2:].astype("float64") / 10\n'
    prepare.write_text(code.replace(known, known + leak), encoding="utf-8")
    lines = contract.read_text(encoding="utf-8").splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "name: recent_orders" in line)
    lines.insert(place, "      - {name: refund, logicalType: number, required: true}\n")
    contract.write_text("".join(lines), encoding="utf-8")
    features = copy.package / "features.py"
    code = features.read_text(encoding="utf-8")
    code = code.replace('    "total_orders",\n', '    "total_orders",\n    "refund",\n', 1)
    code = code.replace(
        '        "total_orders": orders,\n', '        "total_orders": orders,\n        "refund": column["refund"],\n'
    )
    features.write_text(code, encoding="utf-8")
    done = copy.run("ml", "review", "--base", "HEAD", "--out", "review")
    assert done.returncode == 0, done.stdout + done.stderr
    return copy.root / "review"


def test_the_leak_is_on_the_first_screen(reviewed: Path):
    first = (reviewed / "report.md").read_text(encoding="utf-8").partition("<details>")[0]
    assert "Model review: better ✅, but ⚠️ see below" in first
    assert "Leak? The column 'refund' alone nearly reaches the model" in first
    assert "customers.refund – → number (⚠️ breaking)" in first


def test_the_pictures_are_there(reviewed: Path):
    for run in (reviewed, reviewed / "candidate"):
        for name in ("roc_curve", "calibration", "cost_curve"):
            assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """axe-core, Mermaid and a browser to run them in."""
    for program, name in ((CHROMIUM, "chromium"), (NPM, "npm")):
        if program is None:
            pytest.skip(f"no {name} on PATH")
    folder = tmp_path_factory.mktemp("npm")
    command = [
        NPM,
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "--prefix",
        str(folder),
        "axe-core@4",
        "mermaid@11",
    ]
    subprocess.run(command, check=True, timeout=300)
    return folder / "node_modules"


def browse(page: Path, *, dark: bool, script: str) -> dict:
    """Open a page, run a script at its end, and return what it left as JSON in the element `result`."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<meta http-equiv=.Content-Security-Policy.[^>]*>", "", text)
    probe = page.with_name(f"{page.stem}.probe.html")
    probe.write_text(
        text.replace("</body>", f'<pre id="result"></pre><script>{script}</script></body>'), encoding="utf-8"
    )
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000"]
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    done = subprocess.run(
        [CHROMIUM, *flags, scheme, "--dump-dom", probe.as_uri()],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    found = re.search(r'<pre id="result">([A-Za-z0-9+/=]+)</pre>', done.stdout)
    assert found, done.stdout[-2000:] + done.stderr[-2000:]
    return json.loads(base64.b64decode(found[1]))


SAY = """const say = found => {
  document.getElementById("result").textContent = btoa(unescape(encodeURIComponent(JSON.stringify(found))));
};"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_has_no_accessibility_violation(reviewed: Path, packages: Path, dark: bool):
    axe = (packages / "axe-core" / "axe.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    # The element that carries the answer is not the page's.
    run = "axe.run({exclude: ['#result']}).then(f => say({violations: f.violations, passes: f.passes.length}));"
    found = browse(reviewed / "report.html", dark=dark, script=f"{axe}\n{SAY}\n{run}")
    assert [v["id"] for v in found["violations"]] == [], json.dumps(found["violations"], indent=1)[:3000]
    assert found["passes"] > 10


def test_mermaid_draws_every_chart(reviewed: Path, packages: Path, tmp_path: Path):
    charts = re.findall(r"```mermaid\n(.*?)\n```", (reviewed / "report.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(charts) == 3
    drawn = "".join(f'<pre class="mermaid">{html.escape(chart)}</pre>' for chart in charts)
    page = tmp_path / "charts.html"
    page.write_text(f"<!doctype html><title>charts</title><body>{drawn}</body>", encoding="utf-8")
    mermaid = (
        (packages / "mermaid" / "dist" / "mermaid.min.js").read_text(encoding="utf-8").replace("</script", "<\\/script")
    )
    count = (
        "[...document.querySelectorAll('.mermaid svg')].map(s => s.querySelectorAll('[class*=line-plot] path').length)"
    )
    run = f"mermaid.initialize({{startOnLoad: false}}); mermaid.run().then(() => say({count}), e => say(String(e)));"
    assert browse(page, dark=False, script=f"{mermaid}\n{SAY}\n{run}") == [3, 3, 2]

"""What the machinery's tests share: the user's package as the template ships it, and one profile of hypothesis.

All of it is set before a test module is imported, because the machinery reads the package's name once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

TEMPLATE = Path(__file__).resolve().parents[2]
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
MACHINERY = PROJECT / "packages" / "mlcicd"
OWNED = [PROJECT / place / "src" / "{{cookiecutter.package_name}}" for place in ("", "_churn")]  # generic, example
CONTRACT = PROJECT / "_churn" / "contract.yaml"  # the example's
CACHES = (
    Path(__file__).parent / ".venv" / "caches"
)  # none in the template's folder: who bakes meanwhile would copy them
PACKAGE = "shop"
WORK = Path(tempfile.mkdtemp(prefix="mlcicd-tests-"))

shutil.copytree(OWNED[0], WORK / "src" / PACKAGE)
sys.path.insert(0, str(WORK / "src"))
sys.pycache_prefix = str(CACHES / "bytecode")
os.environ |= {
    "ML_PACKAGE": PACKAGE,
    "PYTHONPATH": str(WORK / "src"),
    "PYTHONPYCACHEPREFIX": sys.pycache_prefix,
    # As `ml` sets it for itself. Threads that spin would take the cores from pytest's other workers.
    "OMP_WAIT_POLICY": "passive",
    "OMP_NUM_THREADS": "1",
}

# No test may depend on how busy the machine is.
settings.register_profile("machinery", deadline=None, suppress_health_check=list(HealthCheck))
settings.load_profile("machinery")


@pytest.fixture(scope="session", autouse=True)
def _machine() -> Iterator[None]:
    """Git with an author and nothing else of this machine's configuration; no summary of a CI job."""
    config = WORK / "gitconfig"
    config.write_text("[user]\n\tname = A Tester\n\temail = tester@example.org\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("BENTOML_HOME", str(WORK / "bentoml"))
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        yield
    shutil.rmtree(WORK, ignore_errors=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of a megabyte; it takes the rights of root, which CI has."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(command, capture_output=True, text=True, check=False)
    if not mounted or mounted.returncode:
        if "CI" in os.environ:
            pytest.fail(f"a small disk cannot be made: {mounted and mounted.stderr}")
        pytest.skip("only root can make a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)

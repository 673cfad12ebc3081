"""What CI says of a pull request, in one command: train, train the base, compare, report.

Each step is a process of its own. One that fails, however it fails, ends in a report that names the step and shows its
last lines, not in silence.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from . import html, markdown, plots
from .blocks import Report
from .errors import InputError
from .runs import Run, git, say, sha256, write_json


def review(root: Path, base: str, out: Path, cached: Path | None = None) -> int:
    """Review the working tree against a commit and write the report and ``comparison.json`` to ``out``.

    Parameters
    ----------
    root : the project
    base : any name git knows for the commit to compare with
    out : folder for the report, the comparison and both runs; made anew
    cached : the base commit's run, if a cache had it; trained in a worktree where it is missing

    Returns
    -------
    0 when every gate passes, 1 when one fails or the candidate could not be trained.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    here = [sys.executable, "-m", f"{__package__}.cli"]
    say("ml train")
    with ThreadPoolExecutor() as threads:
        training = threads.submit(run, [*here, "train", "--out", str(out.resolve() / "candidate")], root)
        # Seconds of imports, while the training's process imports much the same on another core.
        import matplotlib.figure  # noqa: F401

        from . import compare, report  # noqa: F401

        code, log = training.result()
    if code:
        # It checks the data itself. Where that is what failed, `ml validate` says no more than that.
        checked, said = run([*here, "validate"], root)
        publish(report.failed("ml validate", said) if checked else report.failed("ml train", log), out)
        return 1
    candidate = Run(out / "candidate")
    baseline, why = _baseline(root, base, out / "baseline", cached)
    if baseline is None:
        publish(report.alone(candidate, why), out)
        return 0
    return 0 if write(baseline, candidate, out, root) else 1


def write(baseline: Run, candidate: Run, out: Path, root: Path) -> bool:
    """Compare two runs, write ``comparison.json`` and the report, and say whether every gate passes.

    ``root`` is the project: its git knows which files changed.
    """
    # Loads the project's own code, which the steps before have run: what is broken there is reported, not raised here.
    from . import changes, report
    from .compare import compare

    found = compare(baseline, candidate)
    found["changes"] = changes.between(baseline, candidate, root)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "comparison.json", found)
    publish(report.review(found, baseline, candidate), out)
    return bool(found["passed"])


def publish(content: Report, out: Path) -> None:
    """Write a report for the pull request, ``report.md``, and for reading, ``report.html``, with its pictures."""
    (out / "report.md").write_text(markdown.render(content), encoding="utf-8")
    (out / "report.html").write_text(html.render(content), encoding="utf-8")
    plots.draw(out / "plots", content.charts)


def run(command: list[str], folder: Path, **environment: str) -> tuple[int, str]:
    """Run a step; return its exit status and everything that it printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


def _baseline(root: Path, base: str, out: Path, cached: Path | None) -> tuple[Run | None, str]:
    if cached and cached.is_dir():
        try:
            shutil.copytree(cached, out)
            return Run(out), ""
        except InputError:
            shutil.rmtree(out)  # half a cache is no cache: train it
    commit = git(root, "rev-parse", "--verify", "--quiet", f"{base}^{{commit}}")
    if not commit:
        return None, f"There is no commit '{base}' to compare with: this is the candidate alone."
    say(f"ml train at {commit[:7]}")
    with _worktree(root, commit) as tree:
        if not (tree / "params.yaml").is_file():
            return None, f"Commit {commit[:7]} has no model yet: this is the candidate alone."
        command, environment = _trainer(root, tree)
        code, log = run([*command, "train", "--out", str(out.resolve())], tree, **environment)
    if code:
        last = next((line for line in reversed(log.splitlines()) if line.strip()), "it printed nothing")
        return None, f"Commit {commit[:7]} could not be trained ({last.strip()}): this is the candidate alone."
    return Run(out), ""


@contextmanager
def _worktree(root: Path, commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ml-baseline-") as folder:
        tree = Path(folder) / "tree"
        if git(root, "worktree", "add", "--detach", str(tree), commit) is None:
            raise InputError(f"git worktree add {commit[:7]} failed in {root}; is this a git repository?")
        try:
            yield tree
        finally:
            git(root, "worktree", "remove", "--force", str(tree))


def _trainer(root: Path, tree: Path) -> tuple[list[str], dict[str, str]]:
    """The commit's own lock makes its environment; with the same lock, this environment is that one already."""
    same = all(sha256(root / name) == sha256(tree / name) for name in ("uv.lock", "pyproject.toml"))
    if same or not shutil.which("uv") or not (tree / "uv.lock").is_file():
        package = next((tree / "src").iterdir()).name
        return [sys.executable, "-m", f"{package}.pipeline.cli"], {"PYTHONPATH": str(tree / "src")}
    # Not this environment: uv makes one inside the worktree, which goes with it.
    own = {"VIRTUAL_ENV": "", "UV_PROJECT_ENVIRONMENT": str(tree / ".venv")}
    return ["uv", "run", "--locked", "--no-default-groups", "ml"], own

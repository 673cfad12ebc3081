"""What `make demo` runs: a project is made, reviewed and released on this machine, by its own workflows.

The workflows are the generated ones, run by act; what they need of GitHub comes from the stand-ins in `actions/`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from acting import FOREIGN, GitHub, Outcome

TEMPLATE = Path(__file__).resolve().parents[1]
DEMO = TEMPLATE / "demo"
BEGAN = time.monotonic()
# What somebody keeps who finds that the baskets say it all.
KEPT = ["average_order_value", "items_per_order", "largest_order", "weekend_shopper", "seasonal_buyer"]


def say(text: str) -> None:
    """Print a line with the time since the start."""
    print(f"{time.monotonic() - BEGAN:6.1f} s  {text}", flush=True)


def progress(job: str, step: str, result: str, seconds: float) -> None:
    """Print a step of a workflow; those that take no time would only be noise."""
    if seconds >= 0.5 or result == "failure":
        mark = "✅" if result == "success" else "❌"
        print(f"{'':10}  {mark} {job:9} {step:42} {seconds:5.1f} s", flush=True)


def wanted(outcome: Outcome, conclusion: str) -> Outcome:
    """Print how a workflow ended; stop the demo, with its log, where that is not how it should."""
    say(f"{outcome.workflow}: {outcome.conclusion}, {outcome.seconds:.1f} s")
    if outcome.conclusion != conclusion:
        sys.exit(f"{outcome.log}\n{outcome.workflow} should have ended in {conclusion}")
    return outcome


def simplify(tree: Path) -> None:
    """The worse branch: keep what is in the baskets, drop when and how often people buy."""
    file = next(tree.glob("src/*/features.py"))
    before, _, rest = file.read_text(encoding="utf-8").partition("FEATURES = [\n")
    after = rest.partition("]\n")[2]
    names = "".join(f'    "{name}",\n' for name in KEPT)
    file.write_text(f"{before}FEATURES = [\n{names}]\n{after}", encoding="utf-8")


def learn_longer(tree: Path) -> None:
    """The better branch, or at least no worse."""
    file = tree / "params.yaml"
    text = file.read_text(encoding="utf-8")
    changed = re.sub(r"max_iter: (\d+)", lambda found: f"max_iter: {int(found[1]) * 4 // 3}", text)
    file.write_text(changed, encoding="utf-8")


def bake() -> Path:
    """Make the project, lock included, with an environment; returns its folder."""
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    (DEMO / "gitconfig").write_text("[user]\n\tname = A Demo\n\temail = demo@example.org\n", encoding="utf-8")
    os.environ |= {"GIT_CONFIG_GLOBAL": str(DEMO / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
    for name in FOREIGN:
        os.environ.pop(name, None)
    command = [sys.executable, "-m", "cookiecutter", str(TEMPLATE), "--no-input", "--default-config"]
    subprocess.run([*command, "--output-dir", str(DEMO)], check=True, stdout=subprocess.DEVNULL)
    project = next(path.parent for path in DEMO.glob("*/pyproject.toml"))
    say(f"baked {project.relative_to(TEMPLATE)}")
    subprocess.run(["uv", "sync", "--locked", "--quiet", "--all-groups"], cwd=project, check=True)
    say("installed what its lock says")
    return project


def main() -> None:
    """Run the demo."""
    project = bake()
    hub = GitHub(DEMO / "github", project, environment=project, progress=progress)

    hub.commit("simpler-features", simplify, message="Simplify the features")
    simpler = hub.open("simpler-features", title="Simplify the features")
    hub.commit("learn-longer", learn_longer, message="Learn for longer")
    longer = hub.open("learn-longer", title="Learn for longer")
    version = ".".join(
        subprocess.check_output([project / ".venv/bin/python", "-V"], text=True).split()[1].split(".")[:2]
    )
    base = hub.head()  # where main is when both are opened

    def check_and_review() -> Outcome:
        say("pull request 1 simplifies the features: ci, then model, then report")
        wanted(hub.on_pull_request("ci", simpler, matrix=f"python:{version}"), "success")
        trained.result()
        outcome = wanted(hub.on_pull_request("model", simpler, base=base), "failure")
        wanted(hub.on_completed(outcome), "success")
        return outcome

    # Two cores, two lines of work: pull request 1 on one of them, main and pull request 2 on the other.
    with ThreadPoolExecutor() as pool:
        say("main: model trains the baseline")
        trained = pool.submit(hub.on_push, "model")
        reviewed = pool.submit(check_and_review)
        wanted(trained.result(), "success")
        say("pull request 2 learns for longer: model, then report")
        second = wanted(hub.on_pull_request("model", longer), "success")
        wanted(hub.on_completed(second), "success")
        say("pull request 2 is merged: release")
        hub.merge(longer)
        wanted(hub.on_push("release"), "success")
        review = reviewed.result()
    hub.stop_containers()

    results = DEMO / "results"
    hub.artifact(review, "review-files").extractall(results / "review")
    release = hub.releases()[-1]
    shutil.unpack_archive(hub.state / "releases" / release["tagName"] / "run.tar.gz", results)
    comment = hub.comment(simpler.number)
    print(f"\n{'─' * 30} the comment on pull request 1 {'─' * 30}\n\n{comment}\n\n{'─' * 91}\n")
    print(f"pull request 2: {hub.comment(longer.number).splitlines()[0].removeprefix('## ')}")
    print(
        f"released: {release['tagName']}, image tags {', '.join(sorted(hub.tags()))} (recorded, not pushed anywhere)\n"
    )
    where = {
        "project": project,
        "review": results / "review",
        "run": results / "model",
        "bento": next(iter((hub.root / "bentoml/bentos").glob("*/*/")), hub.root / "bentoml"),
    }
    for name, path in where.items():
        print(f"{name:8} {path.relative_to(TEMPLATE)}")
    say("done")
    if not comment.startswith("## Model review: worse"):
        sys.exit("the worse branch was not found to be worse")


if __name__ == "__main__":
    main()

"""`model` answers every pull request, also those that break something, and `report` shows the answer."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from acting import GitHub, Outcome, Pull, git

from workflows.conftest import drop_features, replace, write


def reviewed(hub: GitHub, pull: Pull, conclusion: str) -> str:
    """Run `model` and `report` for a pull request; returns the comment."""
    run = hub.on_pull_request("model", pull)
    assert run.conclusion == conclusion, run.log
    report = hub.on_completed(run)
    assert report.conclusion == "success", report.log
    assert [event["sha"] for event in hub.events("check")][-1] == hub.head(pull.branch)
    return hub.comment(pull.number)


def change(hub: GitHub, edit: Callable[[Path], None], **options: str) -> Pull:
    """A pull request with one commit."""
    hub.commit("change", edit)
    return hub.open("change", **options)


def source(tree: Path, name: str) -> Path:
    """A file of the project's package."""
    return next(tree.glob(f"src/*/{name}"), tree / "packages/mlcicd/src/mlcicd" / name)


def corrupt(tree: Path, amount: str = "-3.00") -> None:
    """One amount becomes negative, or another one."""
    file = tree / "data/transactions.csv.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines(keepends=True)
    lines[41] = lines[41].rpartition(",")[0] + f",{amount}\n"
    file.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


def test_main_leaves_its_run_for_the_reviews_to_come(trained: tuple[GitHub, Outcome]) -> None:
    hub, run = trained
    assert run.conclusion == "success", run.log
    assert run.jobs == {"review": "skipped", "baseline": "success"}
    [kept] = (hub.state / "cache/refs%2Fheads%2Fmain").iterdir()
    assert f"baseline-{hub.head()}" in kept.name
    assert {"metrics.json", "predictions.parquet", "manifest.json"} <= {file.name for file in kept.iterdir()}


def test_a_worse_model_is_found_with_the_cached_baseline(reviewing: GitHub) -> None:
    run = reviewing.on_pull_request("model", change(reviewing, drop_features))
    assert run.conclusion == "failure", run.log
    assert reviewing.on_completed(run).conclusion == "success"
    comment = reviewing.comment(1)
    assert comment.startswith("## Model review: worse ❌")
    assert "| ROC AUC ↑ |" in comment
    assert [event["hit"] for event in reviewing.events("cache")] == [True]
    assert reviewing.events("check")[-1]["conclusion"] == "failure"
    sizes = {event["name"]: event["size"] for event in reviewing.events("upload")}
    assert sizes["review"] <= 1_000_000 and sizes["review-files"] <= 5_000_000
    kept = reviewing.artifact(run, "review-files").namelist()
    assert {"report.md", "comparison.json", "candidate/metrics.json", "baseline/metrics.json"} <= set(kept)
    assert "explore.html" not in kept


@pytest.mark.parametrize(
    "data",
    [lambda tree: corrupt(tree, amount="12.34"), write('data/Umsätze "2024".csv', "day,sum\n1,2\n")],
    ids=["table", "a name that git quotes"],
)
def test_data_that_changed_is_shown_even_where_the_model_became_worse(
    reviewing: GitHub, data: Callable[[Path], None]
) -> None:
    def edit(tree: Path) -> None:
        data(tree)
        drop_features(tree)

    run = reviewing.on_pull_request("model", change(reviewing, edit))
    assert run.conclusion == "failure", run.log
    page = reviewing.artifact(run, "review-files").read("explore.html").decode()
    assert "<h2>Association with the target</h2>" in page


def test_a_lost_cache_costs_time_and_nothing_else(hub: GitHub) -> None:
    run = hub.on_pull_request("model", change(hub, nothing_of_substance))
    assert run.conclusion == "success", run.log
    assert [event["hit"] for event in hub.events("cache")] == [False]
    assert "baseline/metrics.json" in hub.artifact(run, "review-files").namelist()
    hub.on_completed(run)
    assert hub.comment(1).startswith("## Model review: same")


def nothing_of_substance(tree: Path) -> None:
    """A comment in the code."""
    file = source(tree, "features.py")
    file.write_text(file.read_text(encoding="utf-8") + "# a comment\n", encoding="utf-8")


def test_the_base_was_forced_away(reviewing: GitHub) -> None:
    """The pull request began at a commit that main has no longer: main's present commit is what counts."""
    gone = reviewing.commit("main", write("notes.txt", "soon gone\n"))
    pull = change(reviewing, nothing_of_substance)
    kept = git(reviewing.origin, "rev-parse", f"{gone}^")
    git(reviewing.origin, "update-ref", "refs/heads/main", kept)
    comment = reviewed(reviewing, pull, "success")
    assert comment.startswith("## Model review: same")
    assert kept[:7] in comment
    assert gone[:7] not in comment


def test_a_base_that_does_not_train_is_said_so(hub: GitHub) -> None:
    good = (hub.work / "params.yaml").read_text(encoding="utf-8")
    hub.commit("main", lambda tree: replace(tree / "params.yaml", {"max_iter": "max_itre"}))
    pull = change(hub, write("params.yaml", good))
    comment = reviewed(hub, pull, "failure")
    assert comment.startswith("## Model review: not-comparable ❌")
    assert "could not be trained: params.yaml: unknown key" in comment.replace("\\", "")
    assert "a person has to decide" in comment


def test_params_may_let_pass_what_cannot_be_compared(hub: GitHub) -> None:
    good = (hub.work / "params.yaml").read_text(encoding="utf-8")
    hub.commit("main", lambda tree: replace(tree / "params.yaml", {"max_iter": "max_itre"}))
    lenient = yaml.safe_dump(yaml.safe_load(good) | {"review": {"not_comparable": "pass"}})
    comment = reviewed(hub, change(hub, write("params.yaml", lenient)), "success")
    assert comment.startswith("## Model review: not-comparable ⚪")
    assert "It passes all the same" in comment


def test_the_first_pull_request_ever_is_shown_alone(hub: GitHub) -> None:
    files = {name: (hub.work / name).read_text(encoding="utf-8") for name in ("params.yaml", "contract.yaml")}

    def remove(tree: Path) -> None:
        for name in files:
            (tree / name).unlink()

    def add(tree: Path) -> None:
        for name, text in files.items():
            (tree / name).write_text(text, encoding="utf-8")

    hub.commit("main", remove)
    baseline = hub.on_push("model")
    assert baseline.conclusion == "success"
    assert "There is no contract.yaml yet" in baseline.log
    comment = reviewed(hub, change(hub, add), "success")
    assert "has no model yet: this is the candidate alone" in comment


@pytest.mark.parametrize("fork", ["", "mallory/churn"])
def test_documentation_alone_is_not_trained_on(reviewing: GitHub, fork: str) -> None:
    run = reviewing.on_pull_request("model", change(reviewing, write("docs/more.md", "More.\n"), fork=fork))
    assert run.conclusion == "success"
    assert run.steps["review", "review"] == "skipped"
    reviewing.on_completed(run)
    assert reviewing.comment(1).startswith("## Model review: skipped\n\nOnly documentation changed")
    [check] = reviewing.events("check")
    assert (check["conclusion"], "Only documentation changed" in check["body"]) == ("neutral", True)


def test_documentation_whose_name_git_quotes_is_not_trained_on(reviewing: GitHub) -> None:
    run = reviewing.on_pull_request("model", change(reviewing, write('docs/Überblick "1".md', "More.\n")))
    assert run.conclusion == "success", run.log
    assert run.steps["review", "review"] == "skipped"


def test_an_edited_title_trains_nothing(hub: GitHub) -> None:
    run = hub.on_pull_request("model", change(hub, nothing_of_substance), changes={"title": {"from": "x"}})
    assert run.jobs.get("review", "skipped") == "skipped"
    assert hub.on_completed(run).conclusion == "skipped"


def test_another_base_is_another_review(hub: GitHub) -> None:
    pull = change(hub, write("docs/more.md", "More.\n"))
    run = hub.on_pull_request("model", pull, changes={"base": {"ref": {"from": "weak"}}})
    assert run.jobs["review"] == "success", run.log


def test_a_merge_queues_commit_is_reviewed_against_the_queues_base(reviewing: GitHub) -> None:
    pull = change(reviewing, drop_features)
    reviewing.commit("main", write("docs/more.md", "More.\n"))
    run = reviewing.on_merge_group("model", pull)
    assert run.conclusion == "failure", run.log
    assert f"baseline-{reviewing.head()}" in [event["key"] for event in reviewing.events("cache")]
    assert reviewing.on_completed(run).conclusion == "success"
    [check] = reviewing.events("check")
    assert (check["conclusion"], check["sha"]) == ("failure", run.event["merge_group"]["head_sha"])
    assert check["body"].startswith("## Model review: worse")
    assert reviewing.comments(pull.number) == []


QUOTA = "Failed to CreateArtifact: Artifact storage quota has been hit."


def test_a_full_storage_costs_the_plots_and_not_the_review(reviewing: GitHub) -> None:
    (reviewing.state / "no-room-for").write_text("review-files")
    run = reviewing.on_pull_request("model", change(reviewing, nothing_of_substance))
    assert run.conclusion == "success", run.log
    assert QUOTA in run.log
    assert reviewing.on_completed(run).conclusion == "success"
    assert reviewing.comment(1).startswith("## Model review: same")


def test_a_review_that_cannot_be_handed_over_says_what_to_do(reviewing: GitHub) -> None:
    reviewing.plan = "private-user-free"
    (reviewing.state / "no-room-for").write_text("review review-files")
    run = reviewing.on_pull_request("model", change(reviewing, write("docs/more.md", "More.\n")))
    assert run.conclusion == "failure"
    assert QUOTA in run.log and "delete artifacts (Actions → a run → Artifacts)" in run.log
    assert "Only documentation changed" in run.summary
    report = reviewing.on_completed(run)
    assert "nothing to post" not in report.log, report.log
    assert "where there was no room for artifacts, its summary holds the review" in reviewing.comment(1)


def test_on_an_enterprise_server_the_first_run_says_so_in_one_sentence(hub: GitHub, fakes: Path) -> None:
    hub.plan, hub.server = "private-organisation-enterprise-server", "https://github.example.org"
    pull = change(hub, nothing_of_substance)
    runs = [hub.on_push("ci", fakes=fakes), hub.on_pull_request("model", pull), hub.on_push("release", fakes=fakes)]
    for run in runs:
        assert run.conclusion == "failure"
        assert run.log.count("GitHub Enterprise Server is not supported: it has neither the artifacts nor the att") == 1
    assert (hub.tags(), hub.releases()) == ({}, [])


def test_before_there_is_a_contract_there_is_nothing_to_review(hub: GitHub) -> None:
    hub.commit("main", lambda tree: (tree / "contract.yaml").unlink())
    comment = reviewed(hub, change(hub, nothing_of_substance), "success")
    assert comment.startswith("## Model review: skipped\n\nThere is no contract.yaml yet")


def delete(name: str) -> Callable[[Path], None]:
    """An edit that deletes one file."""
    return lambda tree: (tree / name).unlink()


def break_code(name: str) -> Callable[[Path], None]:
    """An edit that leaves a file which Python cannot read."""
    return lambda tree: source(tree, name).write_text("def broken(:\n", encoding="utf-8")


def break_lock(tree: Path) -> None:
    """A dependency which is not in the lock."""
    replace(tree / "pyproject.toml", {"dependencies = [": 'dependencies = [\n    "polars>=1",'})


BROKEN = {
    "params deleted": (delete("params.yaml"), ["ml validate", "params.yaml"]),
    "contract deleted": (delete("contract.yaml"), ["ml validate", "contract.yaml"]),
    "contract broken": (corrupt, ["ml validate", "amount", "minimum", "-3"]),
    "features broken": (break_code("features.py"), ["SyntaxError", "features.py"]),
    "command broken": (break_code("cli.py"), ["**Review** failed", "SyntaxError"]),
    "lock out of date": (break_lock, ["**Install what the lock says** failed", "uv.lock", "needs to be updated"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_named_with_its_last_lines(reviewing: GitHub, case: str) -> None:
    edit, words = BROKEN[case]
    comment = reviewed(reviewing, change(reviewing, edit), "failure")
    assert "## Model review: failed" in comment
    for word in words:
        assert word in comment, comment
    assert reviewing.events("check")[-1]["conclusion"] == "failure"


def test_a_hostile_name_and_title_run_nothing(reviewing: GitHub) -> None:
    branch = "$(touch${IFS}pwned)"
    reviewing.commit(branch, write("docs/more.md", "More.\n"))
    pull = reviewing.open(branch, title="`touch pwned` ${{ github.token }} $(touch pwned)", fork="mallory/churn")
    comment = reviewed(reviewing, pull, "success")
    assert "Only documentation changed" in comment
    assert "ghs_" not in comment
    assert not [path for path in reviewing.root.rglob("pwned") if path.is_file()]


HOSTILE = "<img src=x onerror=alert(1)> @everyone closes #1"


def widen(tree: Path) -> None:
    """Two thousand columns, one with a hostile name, and a category of 10,000 characters."""
    names = [HOSTILE, *(f"column {index} `|` [a](https://evil.example)" for index in range(1999))]
    prepare = source(tree, "prepare.py")
    prepare.write_text(
        prepare.read_text(encoding="utf-8").replace(
            '    table.insert(1, "as_of", snapshot)\n',
            '    table.insert(1, "as_of", snapshot)\n'
            f"    names = {names!r}\n"
            '    wide = pd.DataFrame({name: table["weekend_purchases"].astype(str) for name in names})\n'
            '    wide[names[0]] = ["@everyone " * 1000] * 2 + ["b"] * (len(table) - 2)\n'
            "    table = pd.concat([table, wide], axis=1)\n",
        ),
        encoding="utf-8",
    )
    columns = "".join(f"      - {{name: {name!r}, logicalType: string}}\n" for name in names)
    replace(tree / "contract.yaml", {"      - name: churned\n": f"{columns}      - name: churned\n"})


def test_hostile_columns_come_out_as_text(reviewing: GitHub) -> None:
    run = reviewing.on_pull_request("model", change(reviewing, widen))
    report = reviewing.on_completed(run)
    assert report.conclusion == "success", report.log
    comment = reviewing.comment(1)
    assert comment.startswith("## Model review: ")
    text = comment.partition("\n\n<sub>")[0]
    for alive in ("@everyone", "closes #1", "<img", "](https", "https://"):
        assert alive not in text, alive
    assert re.search(r"\d columns|column 7", text), "the columns are not there at all"
    assert len(comment.encode()) <= 65_536

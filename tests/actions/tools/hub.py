"""Stand-in for what gh does with issues, pull requests, labels, workflows, runs, branches and files of a repository.

State: `hub.json` (issues and pull requests, which share their numbers, and labels) and the bare repository
`origin.git` beside the state folder. `--jq` is the real jq. Refused, as GitHub refuses it: a label that does not exist,
a second open pull request for a branch, a branch that exists, a file whose blob has changed, a workflow without
`workflow_dispatch` or an input it does not declare; pull requests altogether where the file `no-pull-requests` says
that the repository's settings do not let GitHub Actions open them; and commits on main where `main-is-protected` is.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import storage
from state import STANDIN, api, record

ORIGIN = STANDIN.parent / "origin.git"
FILE = STANDIN / "hub.json"
WORKFLOW = re.compile(r"^  workflow_dispatch:", re.MULTILINE)


def fail(message: str) -> None:
    """End as gh does."""
    sys.exit(f"gh: {message}")


def git(*arguments: str, given: bytes | None = None, check: bool = True, **variables: str) -> str:
    """Run git in the bare repository."""
    identity = {
        f"GIT_{who}_{what}": "github-actions[bot]" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    done = subprocess.run(
        ["git", "-C", str(ORIGIN), *arguments],
        input=given, capture_output=True, env={**os.environ, **identity, **variables},
    )  # fmt: skip
    if check and done.returncode:
        fail(f"git {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout.decode().strip()


def load() -> dict[str, Any]:
    """Everything on the hub."""
    if FILE.exists():
        return json.loads(FILE.read_text(encoding="utf-8"))
    return {"items": [], "labels": []}


def save(hub: dict[str, Any]) -> None:
    """Keep it."""
    FILE.write_text(json.dumps(hub, indent=1), encoding="utf-8")


def show(content: Any, jq: str | None) -> None:
    """Print JSON, through jq where it was asked for."""
    text = json.dumps(content)
    if jq:
        sys.stdout.write(
            subprocess.run(["jq", "--raw-output", jq], input=text, check=True, stdout=-1, text=True).stdout
        )
    else:
        print(text)


def parse(arguments: list[str], *names: str) -> argparse.Namespace:
    """Take a command apart; an option it does not have ends it, as with the real one."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("verb")
    parser.add_argument("what", nargs="*")
    parser.add_argument("--repo", default=os.environ.get("GH_REPO"))
    for name in names:
        parser.add_argument(f"--{name}", action="store_true" if name == "force" else "store")
    parser.add_argument("-f", action="append", default=[])
    options = parser.parse_intermixed_args(arguments)
    if not options.repo:
        fail("failed to determine base repo: not a git repository")
    return options


def text_of(options: argparse.Namespace) -> str:
    """The body given on the command line, which GitHub bounds."""
    body = Path(options.body_file).read_text(encoding="utf-8")
    if len(body) > 65_536:
        fail("GraphQL: Body is too long (maximum is 65536 characters)")
    return body


def listed(hub: dict[str, Any], kind: str, options: argparse.Namespace) -> None:
    """`list` of issues or pull requests, newest first."""
    found = [item for item in reversed(hub["items"]) if item["kind"] == kind]
    if options.state != "all":
        found = [item for item in found if item["state"] == (options.state or "open").upper()]
    if options.label:
        found = [item for item in found if options.label in item["labels"]]
    if getattr(options, "head", None):
        found = [item for item in found if item["headRefName"] == options.head]
    fields = options.json.split(",")
    show([{field: item[field] for field in fields} for item in found[: int(options.limit or 30)]], options.jq)


def change(hub: dict[str, Any], kind: str, options: argparse.Namespace) -> None:
    """`edit` and `close`."""
    number = int(options.what[0])
    item = next((i for i in hub["items"] if (i["kind"], i["number"]) == (kind, number)), None)
    if item is None:
        fail(f"Could not resolve to an issue or pull request with the number of {number}.")
    elif options.verb == "close":
        item["state"] = "CLOSED"
        item["comments"] += [options.comment] if options.comment else []
    else:
        item["title"] = options.title or item["title"]
        item["body"] = text_of(options) if options.body_file else item["body"]
    record(event=f"{kind} {options.verb}", number=number)


def create(hub: dict[str, Any], kind: str, options: argparse.Namespace) -> None:
    """`create`."""
    labels = [options.label] if options.label else []
    if not set(labels) <= set(hub["labels"]):
        fail(f"could not add label: '{labels[0]}' not found")
    number = max([item["number"] for item in hub["items"]], default=0) + 1
    item = {"kind": kind, "number": number, "state": "OPEN", "title": options.title, "labels": labels}
    item |= {"author": viewer(), "repository": options.repo, "baseRefName": getattr(options, "base", None)}
    item |= {"body": text_of(options), "comments": [], "headRefName": getattr(options, "head", None)}
    if kind == "pr":
        if (STANDIN / "no-pull-requests").exists():
            fail("GraphQL: GitHub Actions is not permitted to create or approve pull requests (createPullRequest)")
        if not git("rev-parse", "--quiet", "--verify", f"refs/heads/{options.head}", check=False):
            fail(f"GraphQL: Head sha can't be blank, No commits between {options.base} and {options.head}")
        same = [i for i in hub["items"] if (i["kind"], i["headRefName"]) == ("pr", options.head)]
        if any((i["state"], i["repository"]) == ("OPEN", options.repo) for i in same):
            fail(f"a pull request for branch {options.head!r} into branch {options.base!r} already exists")
        head = {"sha": git("rev-parse", options.head), "ref": options.head, "repo": {"full_name": options.repo}}
        changed = git("diff", "--name-only", f"{options.base}...{options.head}").splitlines()
        answer = {
            "number": number,
            "state": "open",
            "title": options.title,
            "head": head,
            "changed_files": len(changed),
        }
        api(f"repos/{options.repo}/pulls/{number}").write_text(json.dumps(answer))
        api(f"repos/{options.repo}/pulls/{number}/files").write_text(json.dumps([{"filename": n} for n in changed]))
    hub["items"].append(item)
    record(event=f"{kind} create", number=number)
    print(f"https://github.com/{options.repo}/{'pull' if kind == 'pr' else 'issues'}/{number}")


def item(kind: str, arguments: list[str]) -> None:
    """`gh issue` and `gh pr`."""
    names = ["title", "body-file", "label", "comment", "state", "limit", "json", "jq"]
    options = parse(arguments, *names, *(["head", "base"] if kind == "pr" else []))
    (STANDIN / "api").mkdir(exist_ok=True)
    hub = load()
    if options.verb == "list":
        listed(hub, kind, options)
        return
    {"create": create, "edit": change, "close": change}[options.verb](hub, kind, options)
    save(hub)


def label(arguments: list[str]) -> None:
    """`gh label create`."""
    options = parse(arguments, "color", "description", "force")
    hub = load()
    if options.what[0] in hub["labels"] and not options.force:
        fail(f"label with name {options.what[0]!r} already exists")
    hub["labels"] = sorted({*hub["labels"], options.what[0]})
    save(hub)


def workflow(arguments: list[str]) -> None:
    """`gh workflow run`: recorded; a test starts it."""
    options = parse(arguments, "ref")
    ref, name = options.ref or "main", options.what[0]
    text = git("show", f"{ref}:.github/workflows/{name}", check=False)
    if not WORKFLOW.search(text):
        fail(f"HTTP 422: Workflow does not have 'workflow_dispatch' trigger ({name})")
    inputs = dict(given.split("=", 1) for given in options.f)
    for given in inputs:
        if not re.search(rf"^      {re.escape(given)}:", text, re.MULTILINE):
            fail(f'HTTP 422: Unexpected inputs provided: ["{given}"]')
    record(event="dispatch", workflow=name.removesuffix(".yml"), ref=ref, inputs=inputs)


def run(arguments: list[str]) -> None:
    """`gh run list` and `gh run download`, of the runs that `acting` wrote down and their artifacts."""
    options = parse(arguments, "workflow", "status", "branch", "limit", "json", "jq", "name", "dir")
    runs = json.loads((STANDIN / "runs.json").read_text()) if (STANDIN / "runs.json").exists() else []
    if options.verb == "list":
        found = [r for r in reversed(runs) if r["workflow"] == options.workflow.removesuffix(".yml")]
        found = [r for r in found if r["conclusion"] == options.status]
        if options.branch:  # of forks too: a run is known by the name of its head's branch
            found = [r for r in found if r.get("branch", "main") == options.branch]
        known = [{"databaseId": r["id"], "event": r.get("event", "schedule")} for r in found[: int(options.limit)]]
        times = [r.get("created_at", "2026-11-23T05:17:00Z") for r in found]
        rows = [row | {"createdAt": time} for row, time in zip(known, times, strict=False)]
        show([{field: row[field] for field in options.json.split(",")} for row in rows], options.jq)
        return
    listing = api(f"repos/{options.repo}/actions/runs/{options.what[0]}/artifacts")
    artifacts = json.loads(listing.read_text())["artifacts"] if listing.exists() else []
    found = [a["id"] for a in artifacts if a["name"] == options.name]
    if not found:
        fail("no valid artifacts found to download")
    with zipfile.ZipFile(api(f"repos/{options.repo}/actions/artifacts/{found[0]}/zip")) as archive:
        archive.extractall(options.dir)


def viewer() -> str:
    """Whose token it is."""
    return "github-actions[bot]" if os.environ["GH_TOKEN"] == "ghs_stand_in" else "owner-of-the-token"


def list_items(kind: str, asked: dict[str, list[str]]) -> list[dict[str, Any]]:
    """Pull requests or issues as the REST API lists them, newest first; `issues` lists both."""
    found = []
    for item in reversed(load()["items"]):
        state = "open" if item["state"] == "OPEN" else "closed"
        head = {"ref": item["headRefName"], "repo": {"full_name": item["repository"]}}
        entry = {"number": item["number"], "state": state, "user": {"login": item["author"]}}
        pull = item["kind"] == "pr"
        if asked.get("state", ["open"]) not in ([state], ["all"]) or (kind == "pulls" and not pull):
            continue
        if not set(asked.get("labels", [])) <= set(item["labels"]):
            continue
        owner = item["repository"].partition("/")[0]
        if asked.get("head", [f"{owner}:{item['headRefName']}"]) != [f"{owner}:{item['headRefName']}"]:
            continue
        entry |= {"head": head, "base": {"ref": item["baseRefName"]}} if kind == "pulls" else {}
        found.append(entry | ({"pull_request": {}} if pull and kind == "issues" else {}))
    return found


def repository(path: str, method: str, fields: dict[str, str], jq: str | None) -> bool:
    """The part of `gh api` that reads and writes branches and files; False where the path is another."""
    url = urlsplit(path)
    if re.fullmatch(r"repos/[^/]+/[^/]+/commits/[0-9a-f]{40}/pulls", url.path) and not api(url.path).is_file():
        show([], jq)  # pushed to main directly
        return True
    if path == "graphql":
        show({"data": {"viewer": {"login": viewer()}}}, jq)
        return True
    found = re.fullmatch(r"repos/([^/]+/[^/]+)/(pulls|issues)", url.path)
    if found and method == "GET" and not api(url.path).is_file():
        show(list_items(found[2], parse_qs(url.query)), jq)
        return True
    if found := re.fullmatch(r"(repos/[^/]+/[^/]+)/actions/artifacts(?:/(\d+))?", url.path):
        artifacts(found[1], found[2], method, parse_qs(url.query), jq)
        return True
    if found := re.fullmatch(r"repos/[^/]+/[^/]+/compare/(.+?)\.\.\.(.+)", url.path):
        show(compared(found[1], found[2]), jq)
        return True
    match = re.fullmatch(r"repos/[^/]+/[^/]+/(git/refs|contents)(?:/(.*))?", url.path)
    if not match:
        return False
    kind, rest = match[1], unquote(match[2] or "")
    if kind == "git/refs" and method == "DELETE":
        if not git("rev-parse", "--quiet", "--verify", f"refs/{rest}", check=False):
            fail("Reference does not exist (HTTP 422)")
        git("update-ref", "-d", f"refs/{rest}")
    elif kind == "git/refs":
        if git("rev-parse", "--quiet", "--verify", fields["ref"], check=False):
            fail("Reference already exists (HTTP 422)")
        git("update-ref", fields["ref"], fields["sha"])
    elif method == "PUT":
        if rest.startswith(".github/workflows/"):
            fail("Resource not accessible by integration (HTTP 403)")
        _put(rest, fields)
    else:
        ref = parse_qs(url.query)["ref"][0]
        content = git("show", f"{ref}:{rest}") + "\n"
        encoded = base64.encodebytes(content.encode()).decode()  # in lines, as GitHub's
        show({"sha": git("rev-parse", f"{ref}:{rest}"), "path": rest, "content": encoded}, jq)
    return True


def artifacts(
    repository: str, identifier: str | None, method: str, asked: dict[str, list[str]], jq: str | None
) -> None:
    """List the artifacts of a repository by name, or delete one."""
    if method == "DELETE":
        content = api(f"{repository}/actions/artifacts/{identifier}/zip")
        if not content.exists():
            fail("Not Found (HTTP 404)")
        content.unlink()
        storage.drop(str(identifier))
        record(event="artifact deleted", id=int(str(identifier)))
        return
    kept = storage.load()["kept"]
    show({"artifacts": [{"id": int(i), "name": name} for i, (name, *_) in kept.items() if [name] == asked["name"]]}, jq)


def compared(base: str, head: str) -> dict[str, Any]:
    """How two commits stand to each other."""
    old, new = (git("rev-parse", "--quiet", "--verify", f"{name}^{{commit}}", check=False) for name in (base, head))
    if not old or not new:
        fail("Not Found (HTTP 404)")
    ahead, behind = (git("rev-list", "--reverse", f"{a}..{b}").split() for a, b in ((old, new), (new, old)))
    status = {(0, 0): "identical", (1, 0): "ahead", (0, 1): "behind", (1, 1): "diverged"}
    commits = [{"sha": sha, "author": {"login": git("show", "--no-patch", "--format=%an", sha)}} for sha in ahead]
    return {"status": status[bool(ahead), bool(behind)], "commits": commits}


def _put(path: str, fields: dict[str, str]) -> None:
    branch = f"refs/heads/{fields['branch']}"
    if fields["branch"] == "main" and (STANDIN / "main-is-protected").exists():
        fail("Repository rule violations found: Changes must be made through a pull request. (HTTP 409)")
    parent = git("rev-parse", branch)
    if git("rev-parse", f"{parent}:{path}") != fields["sha"]:
        fail(f"{path} does not match {fields['sha']} (HTTP 409)")
    blob = git("hash-object", "-w", "--stdin", given=base64.b64decode(fields["content"], validate=True))
    index = STANDIN / "put.index"
    git("read-tree", parent, GIT_INDEX_FILE=str(index))
    git("update-index", "--cacheinfo", f"100644,{blob},{path}", GIT_INDEX_FILE=str(index))
    tree = git("write-tree", GIT_INDEX_FILE=str(index))
    git("update-ref", branch, git("commit-tree", tree, "-p", parent, "-m", fields["message"]))
    index.unlink()


def auth(arguments: list[str]) -> None:
    """`gh auth setup-git`: git here needs no credentials."""
    if arguments != ["setup-git"]:
        fail(f"unknown command {arguments}")
    record(event="credentials", token=os.environ["GH_TOKEN"])


COMMANDS = {
    "auth": auth,
    "issue": lambda arguments: item("issue", arguments),
    "pr": lambda arguments: item("pr", arguments),
    "label": label,
    "workflow": workflow,
    "run": run,
}

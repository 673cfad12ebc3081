"""The pages keep their word: each command is run, each answer compared, each change applied, each link followed."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import UnixStreamServer

import pytest
import yaml
from conftest import TEMPLATE, Project, bake, bake_with_command, clean_environ, copy_of_template

DOCS = TEMPLATE / "docs"
PROJECT = TEMPLATE / "{{cookiecutter.project_slug}}"
HOW_TO = sorted((DOCS / "how-to").glob("*.md"))
# Pages about a project with other answers than the defaults.
ANSWERS = {page: {"deploy": "kubernetes"} for page in ("deploy", "kubernetes", "shadow")}
ANSWERS["docker-compose"] = {"deploy": "docker"}
ANSWERS["sagemaker"] = {"deploy": "sagemaker"}
# What a page says and is not typed with the rest of it, with the reason and where it is done instead.
NOT_RUN = {
    "make demo": "stands in the clone itself; test_the_demo_prints_the_comment_of_the_readme runs it",
    "gh repo create": "needs GitHub; test_the_repository_is_made_on_github runs it, and tests/workflows what follows",
}
needs_gh = pytest.mark.skipif(shutil.which("gh") is None, reason="gh is not installed")
FENCE = re.compile(r"(?:<!-- (?P<note>[^>]*) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and what a comment before it says."""

    kind: str
    text: str
    note: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = FENCE.finditer(page.read_text(encoding="utf-8"))
    return [Block(block["kind"], block["text"], block["note"] or "") for block in found]


class Reader:
    """Somebody at a shell who types what a page says, block by block, and keeps what was printed."""

    def __init__(self, folder: Path, environ: dict[str, str], **words: str) -> None:
        """Begin in a folder; `words` on a page stand for something else here."""
        self.folder, self.environ, self.words = folder, environ, words

    def read(self, page: Path) -> list[tuple[Block, str]]:
        """Type everything; return each block with what came of it."""
        done = [block for block in blocks(page) if block.kind in ("bash", "diff")]
        script = ["set -e", "trap 'kill $(jobs -p) 2> /dev/null || true' EXIT"]
        for number, block in enumerate(done):
            code = int(block.note.removeprefix("exit ")) if block.note.startswith("exit ") else 0
            script += [f"echo; echo '<<{number}>>'", *self.commands(block, code)]
        (self.folder / "script").write_text("\n".join(script) + "\n", encoding="utf-8")
        printed = subprocess.run(
            ["bash", "script"],
            cwd=self.folder,
            env=self.environ,
            input="\n" * 20,  # every question gets its default
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            timeout=600,
        )
        assert printed.returncode == 0, printed.stdout
        return list(zip(done, re.split(r"^<<\d+>>$", printed.stdout, flags=re.MULTILINE)[1:], strict=True))

    def commands(self, block: Block, code: int) -> list[str]:
        """The lines of a shell that do what a block says."""
        text = block.text
        if block.kind == "diff":
            return ["git apply <<'PATCH'", text + "PATCH"]
        for word, meant in self.words.items():
            text = text.replace(word, meant)
        lines = [line for line in text.splitlines() if not line.startswith(tuple(NOT_RUN))]
        if code:
            return ["set +e", *lines, f"test $? = {code} || exit 99", "set -e"]
        return lines


def like(number: str, shown: str) -> bool:
    """Whether two numbers are the same but for a library's newer version; whole ones must be equal."""
    first, second = (float(text.replace(",", "")) for text in (number, shown))
    if "." not in number:
        return first == second
    return abs(first - second) <= max(0.02, 0.1 * abs(first))


NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")


def same(expected: str, line: str) -> bool:
    """Whether a printed line is what the page shows: same words, figures alike, any commit and any time."""
    texts = []
    for text in (expected, line):
        text = re.sub(r"\b[0-9a-f]{7,64}\b", "COMMIT", text.strip())
        texts.append(re.sub(r"\b[\d.,]+ (ms|s|MB|requests/s)\b", "TIME", text))
    if NUMBER.sub("0", texts[0]) != NUMBER.sub("0", texts[1]):
        return False
    return all(map(like, NUMBER.findall(texts[0]), NUMBER.findall(texts[1])))


def check_shown(expected: str, printed: str) -> None:
    """Each line that a page shows was printed, in order; lines may lie between where the page has `…`."""
    lines = [line for line in printed.splitlines() if line.strip()]
    at, free = 0, True
    for wanted in (line for line in expected.splitlines() if line.strip()):
        if wanted.strip() == "…":
            free = True
            continue
        found = next((n for n in range(at, len(lines)) if same(wanted, lines[n])), None)
        assert found is not None, f"not printed: {wanted}\n\n{printed}"
        assert free or found == at, f"more was printed before: {wanted}\n\n{printed}"
        at, free = found + 1, False


def check_page(page: Path, told: list[tuple[Block, str]]) -> None:
    """Compare what the page shows after each block of commands with what they printed."""
    answers, latest = iter(told), ""
    for block in blocks(page):
        if block.kind in ("bash", "diff"):
            latest = next(answers)[1]
        elif block.kind == "text":
            check_shown(block.text, latest)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What somebody gets who clones this repository: what git knows, or would add, and nothing else."""
    folder = copy_of_template(tmp_path_factory.mktemp("clone") / "cookiecutter-ml-cicd")
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "clone"]):
        subprocess.run(["git", *command], cwd=folder, env=clean_environ(), check=True)
    return folder


@pytest.fixture
def reader(served: Project, clone: Path, tmp_path: Path) -> Reader:
    """A reader in an empty folder. What was compiled for this session's environment need not be compiled again."""
    environment = tmp_path / "environment"
    shutil.copytree(served.environment, environment, symlinks=True, copy_function=os.link)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    # The pages' projects would each make an environment of their own; one after the other they may share this.
    environ = {**clean_environ(), "UV_PROJECT_ENVIRONMENT": str(environment), "COLUMNS": "200"}
    (tmp_path / "work").mkdir()
    return Reader(tmp_path / "work", environ, **{"path/to/cookiecutter-ml-cicd": str(clone), "3000": port})


def test_the_site_is_built_and_nothing_in_it_is_broken_or_from_elsewhere(tmp_path: Path):
    command = ["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=TEMPLATE, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) >= len(list(DOCS.rglob("*.md")))
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert re.findall(r'<(?:script|img|iframe|source)[^>]*\ssrc="?(?:https?:)?//[^">]*', text) == [], page
        assert re.findall(r'<link[^>]*\shref="?(?:https?:)?//[^">]*', text) == [], page


@pytest.mark.parametrize(
    "page", [TEMPLATE / "README.md", DOCS / "tutorial.md", DOCS / "own-table.md"], ids=lambda page: page.stem
)
def test_each_block_says_what_it_is(page: Path):
    assert {block.kind for block in blocks(page)} <= {"bash", "text", "diff", "yaml"}


def test_the_demo_prints_the_comment_of_the_readme(clone: Path):
    done = subprocess.run(
        ["make", "demo"], cwd=clone, env=clean_environ(), capture_output=True, text=True, encoding="utf-8", timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    comment = (TEMPLATE / "README.md").read_text(encoding="utf-8").split("<!-- demo comment -->")[1]
    check_shown("\n".join(line.removeprefix(">") for line in comment.splitlines()), done.stdout)


def test_every_command_of_the_readme_is_one_of_the_tutorial():
    """So that it is run below, in this order; a training more would only cost time."""
    readme, tutorial = (
        [line for block in blocks(page) if block.kind == "bash" for line in block.text.splitlines()]
        for page in (TEMPLATE / "README.md", DOCS / "tutorial.md")
    )
    typed = [line for line in readme if not line.startswith(tuple(NOT_RUN))]
    assert len(typed) >= 4
    left = iter(tutorial)
    assert [line for line in typed if line not in left] == []


def test_every_command_of_the_tutorial_and_what_it_prints(reader: Reader):
    check_page(DOCS / "tutorial.md", reader.read(DOCS / "tutorial.md"))


class NewRepository(BaseHTTPRequestHandler):
    """What GitHub's API answers somebody who makes a repository there."""

    def do_GET(self) -> None:
        self.answer({"login": self.path.split("/")[-1], "node_id": "U_1", "type": "User"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["variables"]["input"]
        self.server.asked = asked
        url = f"https://github.com/your-github-name/{asked['name']}"
        made = {"id": "R_1", "name": asked["name"], "owner": {"login": "your-github-name"}, "url": url}
        self.answer({"data": {"createRepository": {"repository": made}}})

    def answer(self, content: dict) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *_: object) -> None:
        """Say nothing, and ask no socket file for its address."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[UnixStreamServer]:
    """GitHub's API at a socket in a folder of its own, where the real gh can be told to look."""
    with UnixStreamServer(str(tmp_path / "socket"), NewRepository) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def signed_in(api: UnixStreamServer, folder: Path) -> tuple[dict[str, str], Path]:
    """Variables with which the real gh asks `api` and git pushes into a folder; and the repository pushed to."""
    hub = folder / "hub/your-github-name/customer-churn.git"
    subprocess.run(["git", "init", "--quiet", "--bare", str(hub)], check=True)
    (folder / "gh").mkdir()
    (folder / "gh/config.yml").write_text(f"http_unix_socket: {api.server_address}\ngit_protocol: https\n")
    variables = {
        "GH_CONFIG_DIR": str(folder / "gh"),
        "GH_TOKEN": "nobody's",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{folder}/hub/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }
    return variables, hub


def head(repository: Path, name: str = "main") -> str:
    """The commit of a name in a repository."""
    command = ["git", "rev-parse", name]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True).stdout


@needs_gh
def test_the_repository_is_made_on_github(project: Project, api: UnixStreamServer, tmp_path: Path):
    lines = (DOCS / "tutorial.md").read_text(encoding="utf-8").splitlines()
    command = next(line for line in lines if line.startswith("gh repo create"))
    variables, hub = signed_in(api, tmp_path)
    copy = project.copy(tmp_path / "project")
    assert copy.run("git", "remote", "remove", "origin").returncode == 0
    done = copy.run("bash", "-c", command, timeout=60, **variables)
    assert done.returncode == 0, done.stderr
    assert (api.asked["name"], api.asked["visibility"]) == ("customer-churn", "PRIVATE")
    assert head(hub) == head(copy.root, "HEAD")


@needs_gh
@pytest.mark.parametrize("example", ["churn", "none"])
def test_the_last_words_of_a_bake_are_commands_that_work(
    reader: Reader, clone: Path, api: UnixStreamServer, tmp_path: Path, example: str
):
    baked = bake_with_command(reader.folder, f"example={example}", template=clone, ML_CICD_SKIP_LOCK="0")
    assert baked.returncode == 0, baked.stderr
    steps = re.findall(r"^  \d\. (.+?)(?: {2,}.*)?$", baked.stdout, re.MULTILINE)
    assert len(steps) == 3
    if example == "none":
        (reader.folder / "table.csv").write_text(
            "id,age,left\n" + "".join(f"{n},{n % 60},{int(n % 60 > 30)}\n" for n in range(600)), encoding="utf-8"
        )
        steps[1] = steps[1].replace("TABLE", "../table.csv").replace("COLUMN", "left")
    variables, hub = signed_in(api, tmp_path)
    done = subprocess.run(
        ["bash", "-ec", "\n".join(steps)],
        cwd=reader.folder,
        env=reader.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    made = reader.folder / "customer-churn"
    assert (made / ("runs/model/manifest.json" if example == "churn" else "contract.yaml")).is_file()
    assert (api.asked["name"], api.asked["visibility"]) == ("customer-churn", "PRIVATE")
    assert head(hub) == head(made, "HEAD")


def test_every_command_of_the_page_about_your_own_table(reader: Reader, own_table: Project):
    import random

    draw = random.Random(0)
    rows = [(n, draw.randint(18, 90), draw.choice("abc"), draw.random()) for n in range(600)]
    lines = [f"{n},{age},{kind},{int(age / 100 + chance > 1)}" for n, age, kind, chance in rows]
    table = reader.folder / "customers.csv"
    table.write_text("\n".join(["number,age,kind,left", *lines]) + "\n", encoding="utf-8")
    reader.words |= {"TABLE": str(table), "COLUMN": "left"}
    reader.folder = own_table.copy(reader.folder / "project").root
    told = reader.read(DOCS / "own-table.md")
    assert "contract.yaml" in told[0][1]
    assert (reader.folder / "runs/model/manifest.json").is_file()


@pytest.mark.parametrize("page", HOW_TO, ids=lambda page: page.stem)
def test_a_how_to_page_is_short_and_its_change_fits(page: Path, tmp_path: Path):
    assert len(page.read_text(encoding="utf-8").splitlines()) <= 60
    root = bake(tmp_path, **ANSWERS.get(page.stem, {}))
    changes = [block.text for block in blocks(page) if block.kind == "diff"]
    assert changes
    for change in changes:
        done = subprocess.run(["git", "apply", "-"], cwd=root, input=change, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    for block in blocks(page):
        if block.kind == "bash":
            checked = ["shellcheck", "--shell=bash", "-"]
            done = subprocess.run(checked, input=block.text, capture_output=True, text=True, encoding="utf-8")
            assert done.returncode == 0, done.stdout
    # A label that a machine of one's own has is unknown to actionlint, unless it is told.
    (root / ".github/actionlint.yaml").write_text("self-hosted-runner: {labels: [ubuntu-16-cores]}\n")
    workflows = sorted(map(str, (root / ".github/workflows").glob("*.yml")))
    for checker in (["actionlint", *workflows], ["zizmor", "--offline", "--no-progress", *workflows]):
        done = subprocess.run(checker, cwd=root, capture_output=True, text=True, encoding="utf-8")
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_pages_about_metrics_and_gates_change_works(project: Project, tmp_path: Path):
    copy = project.copy(tmp_path / "project")
    for name in ("own-metric", "own-gate"):
        for block in blocks(DOCS / "how-to" / f"{name}.md"):
            if block.kind == "diff":
                done = subprocess.run(["git", "apply", "-"], cwd=copy.root, input=block.text, text=True)
                assert done.returncode == 0
            elif block.kind == "python":
                (copy.root / "tests/test_own.py").write_text(block.text, encoding="utf-8")
    found = copy.run("python", "-c", METRICS)
    assert found.returncode == 0, found.stderr
    assert yaml.safe_load(found.stdout) == {"sign": 1, "value": 0.5, "kind": "non-inferior"}
    tested = copy.run("python", "-m", "pytest", "-q", "tests/test_own.py")
    assert "1 passed" in tested.stdout, tested.stdout


METRICS = """
import numpy as np
from mlcicd.evaluation import metrics; from mlcicd.core import params
chosen = params.load()
own = metrics.chosen(chosen, 0.5)["top_tenth_score"]
value = own.value(np.tile([1.0, 0.0], 10), np.arange(20) / 20)
print({"sign": own.sign, "value": value, "kind": chosen.gates["recall"].kind})
"""


def test_the_reference_is_what_the_models_say(project: Project, tmp_path: Path):
    done = project.run("python", str(DOCS / "reference.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    for page in ("params.md", "contract.md"):
        written = (tmp_path / page).read_text(encoding="utf-8")
        assert (PROJECT / "docs" / page).read_text(encoding="utf-8") == written, "run: make reference"


def test_what_is_not_run_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in (TEMPLATE / "README.md", DOCS / "tutorial.md"))
    assert [command for command in NOT_RUN if not re.search(f"^{command}", text, re.MULTILINE)] == []

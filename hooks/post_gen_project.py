"""Finish a new project: keep what the answers chose, make the first commit, lock, and print what to do next.

Runs inside the generated folder with the standard library alone. Git, uv and a network are welcome and not needed:
without them the project is whole all the same, and one line says what is left to do.

`ML_CICD_SKIP_LOCK=1` leaves out the lock, which is the only slow step.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

OVERLAY = Path("_churn")
# Questions whose answers bring files: those of an answer lie in `_QUESTION/ANSWER/`, as they will in the project, and
# those that answers share in `_QUESTION/ANSWER+ANSWER/`.
CHOICES = ("ci", "data", "tracking", "deploy")
LICENCES = Path("_licences")
MARK = re.compile(r"(?:#|<!--) with (\w+): ([\w, -]+?)(?: -->)?$")
# What only one CI reads. Other answers keep nothing of it, and bring pages of their own under these names.
GITHUB = (".github", "docs/plans.md", "docs/ruleset.md", "docs/security.md")
# Set while git itself runs a hook; they would send our commands to the repository around us.
GIT_VARIABLES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")


def move_over(folder: Path) -> None:
    """Move a folder's files over the project's, or do nothing where there is no such folder."""
    for source in sorted(path for path in folder.rglob("*") if path.is_file()):
        target = source.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)


def apply_example(example: str) -> None:
    """Move the example's files over the generic ones, or drop them."""
    if example == "churn":
        move_over(OVERLAY)
    shutil.rmtree(OVERLAY)


def apply_choice(question: str, answer: str) -> None:
    """Keep the files that an answer brings, and drop those of the other answers."""
    for folder in sorted(Path(f"_{question}").glob("*")):
        if answer in folder.name.split("+"):
            move_over(folder)
    shutil.rmtree(f"_{question}", ignore_errors=True)


def drop_github() -> None:
    """Drop what GitHub alone reads, also of what other answers would bring."""
    for place in (*map(Path, GITHUB), *Path().glob("_*/*/.github")):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()


def name_merge_requests() -> None:
    """Give pull requests the name that GitLab has for them."""
    for pattern in ("*.md", "docs/*.md", "pyproject.toml", "params.yaml"):
        for path in Path().glob(pattern):
            text = path.read_text(encoding="utf-8").replace("Pull request", "Merge request")
            path.write_text(text.replace("pull request", "merge request"), encoding="utf-8", newline="\n")


def apply_marks(answers: dict[str, str]) -> None:
    """Keep what files mark as an answer's own, and drop what is marked for other answers.

    A comment ``# with QUESTION: ANSWER, ANSWER``, in Markdown ``<!-- with … -->``, marks its line or, alone on a line,
    the paragraph below.
    """
    marked = (*Path(".github").rglob("*.yml"), *Path().glob(".gitlab-ci.yml"), *Path("docs").glob("*.md"))
    for path in (*marked, Path(".gitignore"), Path("pyproject.toml")):
        text = path.read_text(encoding="utf-8")
        kept = keep_marked(text, answers)
        if kept != text:
            path.write_text(kept, encoding="utf-8", newline="\n")


def keep_marked(text: str, answers: dict[str, str]) -> str:
    """Return a text without its marks, and without what is marked for other answers."""
    paragraphs = (_kept(part, answers) for part in text.split("\n\n"))
    return "\n\n".join(filter(None, paragraphs)).rstrip("\n") + "\n"


def _kept(paragraph: str, answers: dict[str, str]) -> str:
    kept = []
    for line in paragraph.split("\n"):
        found = MARK.search(line)
        mine = found is None or answers.get(found[1]) in found[2].split(", ")
        alone = found is not None and not line[: found.start()].strip()
        if alone and not mine:
            return ""
        if mine and not alone:
            kept.append(line[: found.start()].rstrip() if found else line)
    return "\n".join(kept)


def apply_tracking(tracking: str) -> None:
    """Name the tracker in the example's params.yaml; `ml init` does it for a table of one's own."""
    params = Path("params.yaml")
    if tracking != "none" and params.is_file():
        text = params.read_text(encoding="utf-8")
        text += f"\ntracking: # addresses and tokens come from the environment: docs/tracking.md\n  to: {tracking}\n"
        params.write_text(text, encoding="utf-8", newline="\n")


def quote_dates(file: Path) -> None:
    """Quote the dates among the example's params: DVC reads them for itself, and refuses a YAML file with dates."""
    if file.is_file():
        quoted = re.sub(r"(?m): (\d{4}-\d{2}-\d{2})$", r": '\1' # quoted: DVC reads no dates", file.read_text("utf-8"))
        file.write_text(quoted, encoding="utf-8", newline="\n")


def apply_licence(licence: str) -> None:
    """Keep the text of the chosen licence as LICENSE."""
    (LICENCES / f"{licence}.txt").replace("LICENSE")
    shutil.rmtree(LICENCES)


def pin_python(version: str) -> None:
    """Write the file from which uv takes the project's Python.

    The template has no such file: pyenv and uv would read it wherever its developers work below that folder.
    """
    Path(".python-version").write_text(f"{version}\n", encoding="utf-8", newline="\n")


def remove_caches() -> None:
    """Drop what Python and linters left in the template's folder, where its developers run the same files."""
    for pattern in ("__pycache__", ".ruff_cache", ".mypy_cache", ".pytest_cache", ".import_linter_cache"):
        for folder in list(Path().rglob(pattern)):
            shutil.rmtree(folder)


def end_lines_with_lf() -> None:
    """Give text files the same bytes everywhere, also where the template was checked out or unpacked with CRLF.

    Cookiecutter does it for what it renders, and copies the rest as it is.
    """
    for path in (path for path in Path().rglob("*") if path.is_file()):
        content = path.read_bytes()
        if b"\r\n" in content and b"\0" not in content:
            path.write_bytes(content.replace(b"\r\n", b"\n"))


def run(*command: str, timeout: int = 60) -> subprocess.CompletedProcess[str] | None:
    """Run a command quietly; None when it cannot be started or does not end."""
    environment = {name: value for name, value in os.environ.items() if name not in GIT_VARIABLES}
    try:
        return subprocess.run(
            command,
            check=False,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            env=environment,
            timeout=timeout,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return None


def succeeds(*command: str) -> bool:
    """Whether a command ran and exited 0."""
    result = run(*command)
    return result is not None and result.returncode == 0


def lock() -> str | None:
    """Make uv.lock; the line to print when there is none."""
    if os.environ.get("ML_CICD_SKIP_LOCK") == "1":
        return "uv.lock was not made, as ML_CICD_SKIP_LOCK=1 asks: run `uv lock`, then commit it."
    if shutil.which("uv") is None:
        return "uv.lock was not made, because uv is not on PATH: install uv, run `uv lock`, then commit it."
    result = run("uv", "lock", "--quiet", timeout=300)
    if result is None or result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[0] if result else "it did not finish"
        return f"uv.lock was not made ({reason.strip()}): run `uv lock`, then commit it."
    return None


def first_commit(lfs: bool) -> str | None:
    """Make the project a git repository on `main` with one commit; the line to print when that was not possible.

    `lfs` says that .gitattributes names Git LFS for the data.
    """
    if shutil.which("git") is None:
        return "no git repository was made, because git is not on PATH: install git, then run `git init -b main`."
    # `git init -b` needs git 2.28; naming the branch afterwards works with every version.
    if not (succeeds("git", "init", "--quiet") and succeeds("git", "symbolic-ref", "HEAD", "refs/heads/main")):
        return "no git repository was made, because `git init` failed: run `git init -b main` to see why."
    # For this repository alone: how a person's other repositories work is not ours to set.
    if lfs and not succeeds("git", "lfs", "install", "--local"):
        return "nothing was committed, because git-lfs is missing: install it, run `git lfs install`, then commit."
    if not succeeds("git", "add", "--all"):
        return "nothing was committed, because `git add --all` failed: run it to see why."
    # With useConfigOnly git does not invent an address from the host name.
    identity = ("git", "-c", "user.useConfigOnly=true", "var")
    if not (succeeds(*identity, "GIT_AUTHOR_IDENT") and succeeds(*identity, "GIT_COMMITTER_IDENT")):
        return "nothing was committed, because git has no user.name and user.email: set them, then run `git commit`."
    # No signature and no global hooks here: either could wait for an answer that nobody gives.
    if not succeeds("git", "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", "Start the project"):
        return "nothing was committed, because `git commit` failed: run it to see why."
    return None


def is_cruft_comparison(answers: dict[str, str], folder: Path) -> bool:
    """Whether cruft renders the project only to compare two versions of the template.

    It does so in a fresh temporary folder. A `.git` or a lock there would become part of the difference, and later of
    the user's project. `_commit` is cruft's own entry among the answers.
    """
    temporary = folder.parent
    return (
        "_commit" in answers
        and temporary.name.startswith("tmp")
        and temporary.parent.resolve() == Path(tempfile.gettempdir()).resolve()
    )


def next_steps(answers: dict[str, str]) -> str:
    """The three lines that a newcomer needs."""
    slug, owner = answers["project_slug"], answers["github_owner"]
    if answers["example"] == "churn":
        train = "uv run ml train              train the example's model; the run is in runs/model"
    else:
        train = "uv run ml init TABLE --target COLUMN     write contract.yaml and params.yaml for your table"
    publish, request = f"gh repo create {owner}/{slug} --private --source . --push", "pull request"
    if answers["ci"] == "jenkins":
        publish = "push it, and make a multibranch pipeline of it: docs/jenkins.md"
    if answers["ci"] == "gitlab":
        # GitLab makes a private project of what is pushed to an address that is free.
        publish = f"git push --set-upstream git@gitlab.com:{owner}/{slug}.git main"
        request = "merge request"
    return "\n".join(
        [
            "",
            f"{slug} is ready. Next:",
            f"  1. cd {slug} && uv sync",
            f"  2. {train}",
            f"  3. {publish}     then open a {request} and read its review",
        ]
    )


def main() -> None:
    """Apply the answers, then do what git and uv allow."""
    answers = json.loads({{cookiecutter | tojson | tojson}})  # noqa: F821
    remove_caches()
    apply_example(answers["example"])
    if answers["ci"] != "github":
        drop_github()
    for question in CHOICES:
        if question in answers:
            apply_choice(question, answers[question])
    apply_marks(answers)
    if answers["ci"] == "gitlab":
        name_merge_requests()
    apply_tracking(answers["tracking"])
    if answers.get("data") == "dvc":
        quote_dates(Path("params.yaml"))
    apply_licence(answers["license"])
    pin_python(answers["python_version"])
    end_lines_with_lf()
    if is_cruft_comparison(answers, Path.cwd()):
        return
    # A console of Windows may know fewer characters than uv's messages hold.
    sys.stdout.reconfigure(errors="replace")
    notes = [lock(), first_commit(lfs=answers.get("data") == "git-lfs")]
    for note in filter(None, notes):
        print(f"note: {note}")
    print(next_steps(answers))


if __name__ == "__main__":
    main()

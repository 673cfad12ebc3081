"""Baking: what comes out for which answers. Nothing here installs the project; see test_project.py."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from answers import without_answers
from conftest import PYTHONS, TEMPLATE, bake, bake_with_command, clean_environ, copy_of_template
from cookiecutter.exceptions import FailedHookException

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SOURCE = TEMPLATE / "{{cookiecutter.project_slug}}"
LICENCES = {
    "MIT": "MIT License",
    "BSD-3-Clause": "BSD 3-Clause License",
    "Apache-2.0": "Apache License",
    "Proprietary": "All rights reserved",
}


def git(root: Path, *arguments: str) -> str:
    """What a git command prints; empty when it finds nothing."""
    return subprocess.run(
        ["git", *arguments], cwd=root, env=clean_environ(), capture_output=True, text=True, encoding="utf-8"
    ).stdout.strip()


def files(root: Path) -> set[str]:
    """All files below a folder, without git's own."""
    paths = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path.as_posix() for path in paths if path.parts[0] != ".git"}


def metadata(root: Path) -> dict:
    """The project's table in pyproject.toml."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def check_project(root: Path, **answers: str) -> None:
    """What holds for every bake; ``answers`` are those that are not the defaults and change workflows."""
    assert git(root, "grep", "-nE", r"cookiecutter\.|\{%") == ""
    assert not any(part in {"_churn", "_licences", "__pycache__"} for name in files(root) for part in name.split("/"))
    assert git(root, "status", "--porcelain") == ""
    assert git(root, "rev-list", "--count", "HEAD") == "1"
    assert git(root, "branch", "--show-current") == "main"
    assert Path(git(root, "rev-parse", "--show-toplevel")).samefile(root)
    for name in files(root):
        content = (root / name).read_bytes()
        if b"\0" in content[:1000]:
            continue
        assert b"\r" not in content, name
        text = content.decode("utf-8")
        assert "{{ cookiecutter" not in text, name
        if name.endswith((".yml", ".yaml")):
            yaml.safe_load(text)
        if name.endswith(".py"):
            compile(text, name, "exec")
    for workflow in sorted((SOURCE / ".github" / "workflows").iterdir()):
        baked = (root / ".github" / "workflows" / workflow.name).read_text(encoding="utf-8")
        assert baked == without_answers(workflow.read_text(encoding="utf-8"), **answers), workflow.name
    assert "{" not in (root / ".github" / "CODEOWNERS").read_text(encoding="utf-8")
    assert {"readme", "license", "requires-python"} <= metadata(root).keys()


@pytest.mark.parametrize(
    ("example", "python", "licence"), list(itertools.product(["churn", "none"], PYTHONS, LICENCES))
)
def test_each_combination_of_answers(tmp_path: Path, example: str, python: str, licence: str):
    root = bake(tmp_path, example=example, python_version=python, license=licence)
    check_project(root)
    project = metadata(root)
    assert project["requires-python"] == f">={python}"
    assert (root / ".python-version").read_text(encoding="utf-8") == f"{python}\n"
    assert project["classifiers"] == [f"Programming Language :: Python :: {v}" for v in PYTHONS if v >= python]
    assert project["license"] == ("LicenseRef-Proprietary" if licence == "Proprietary" else licence)
    assert LICENCES[licence] in (root / "LICENSE").read_text(encoding="utf-8")
    assert (root / "data" / "transactions.csv.gz").exists() is (example == "churn")


class UniqueKeys(yaml.SafeLoader):
    """YAML whose keys stand once, which PyYAML does not ask for."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"{node.start_mark}: a key stands twice"
        return super().construct_mapping(node, deep)


@pytest.mark.parametrize("example", ["churn", "none"])
@pytest.mark.parametrize(("tracking", "other"), [("mlflow", "wandb"), ("wandb", "mlflow"), ("none", "mlflow|wandb")])
def test_a_tracker_brings_what_it_needs_and_nothing_of_the_other(
    tmp_path: Path, tracking: str, other: str, example: str
):
    root = bake(tmp_path, tracking=tracking, example=example)
    assert git(root, "grep", "-lE", "# with [a-z]+: ") == ""
    own = [":!packages", ":!docs/params.md", ":!.github/scripts"]
    assert git(root, "grep", "-liE", other, "--", *own) == ""
    for workflow in (root / ".github" / "workflows").iterdir():
        parsed = yaml.load(workflow.read_text(encoding="utf-8"), UniqueKeys)
        for job in parsed["jobs"].values():
            steps = {step["name"]: step for step in job["steps"]}
            if "Install the tracker's client" in steps:  # only where uv is there
                assert steps["Install the tracker's client"].get("if") == steps["Install uv"].get("if"), workflow
    document = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    groups, default = document["dependency-groups"], document["tool"]["uv"]["default-groups"]
    chosen = [] if tracking == "none" else [tracking]
    assert [name for name in ("mlflow", "wandb") if name in groups] == chosen
    assert default == ["dev", *chosen]
    assert (root / "docs" / "tracking.md").is_file() is bool(chosen)
    if example == "churn":
        params = yaml.safe_load((root / "params.yaml").read_text(encoding="utf-8"))
        assert params.get("tracking") == ({"to": tracking} if chosen else None)


@pytest.mark.parametrize(
    ("example", "tracking", "data", "deploy", "python"),
    [
        ("churn", "none", "git", "none", "3.11"),
        ("none", "mlflow", "dvc", "none", "3.13"),
        ("churn", "wandb", "git", "docker", "3.14"),
    ],
)
def test_gitlab_brings_its_pipeline_and_nothing_of_github(
    tmp_path: Path, example: str, tracking: str, data: str, deploy: str, python: str
):
    answers = {"example": example, "tracking": tracking, "data": data, "deploy": deploy, "python_version": python}
    github, root = bake(tmp_path / "a", **answers), bake(tmp_path / "b", ci="gitlab", github_owner="a/b", **answers)
    github_only = {name for name in files(github) if name.startswith(".github/")} | {"docs/plans.md", "docs/ruleset.md"}
    brought = {name for name in files(root) if name.startswith(".gitlab/scripts/")}
    assert brought
    assert files(root) == files(github) - github_only | brought | {".gitlab-ci.yml", "docs/gitlab.md"}
    assert git(root, "grep", "-nE", r"with [a-z]+: [a-z]|cookiecutter\.|\{%", "--", ":!packages", ":!*.py") == ""
    own = [":!packages", ":!data", ":!LICENSE"]
    said = [
        line
        for line in git(root, "grep", "-inE", "github|pull request", "--", *own).splitlines()
        if "cruft.github.io" not in line
    ]
    assert said == []
    links = {
        target.partition("#")[0]
        for page in (*root.glob("*.md"), *root.glob("docs/*.md"))
        for target in re.findall(r"\]\((?!https?:)([^)#][^)]*)\)", page.read_text(encoding="utf-8"))
        if not ((page.parent / target.partition("#")[0]).exists())
    }
    assert links == set()
    jobs = yaml.load((root / ".gitlab-ci.yml").read_text(encoding="utf-8"), UniqueKeys)
    [matrix] = jobs["test"]["parallel"]["matrix"]
    assert [f"Programming Language :: Python :: {v}" for v in matrix["UV_PYTHON"]] == metadata(root)["classifiers"]
    groups = {group for group in (data, tracking) if group in ("dvc", "mlflow", "wandb")}
    assert set(re.findall(r"--group (\w+)", str(jobs["review"]["script"]))) == groups


@pytest.mark.parametrize(
    ("example", "tracking", "data", "python"),
    [("churn", "none", "git", "3.11"), ("none", "wandb", "object-storage", "3.13")],
)
def test_jenkins_brings_its_pipeline_and_nothing_of_githubs_actions(
    tmp_path: Path, example: str, tracking: str, data: str, python: str
):
    answers = {"example": example, "tracking": tracking, "data": data, "python_version": python}
    github, root = bake(tmp_path / "a", **answers), bake(tmp_path / "b", ci="jenkins", **answers)
    github_only = {name for name in files(github) if name.startswith(".github/")} | {"docs/plans.md", "docs/ruleset.md"}
    assert files(root) == files(github) - github_only | {"Jenkinsfile", "docs/jenkins.md"}
    assert git(root, "grep", "-nE", r"with [a-z]+: [a-z]|cookiecutter\.|\{%", "--", ":!packages", ":!*.py") == ""
    links = {
        target
        for page in (*root.glob("*.md"), *root.glob("docs/*.md"))
        for target in re.findall(r"\]\((?!https?:)([^)#][^)]*)\)", page.read_text(encoding="utf-8"))
        if not (page.parent / target.partition("#")[0]).exists()
    }
    assert links == set()
    pipeline = (root / "Jenkinsfile").read_text(encoding="utf-8")
    versions = re.findall(r"UV_PYTHON = '([\d.]+)'", pipeline)
    assert [f"Programming Language :: Python :: {version}" for version in versions] == metadata(root)["classifiers"]
    groups = {data, tracking} & {"dvc", "object-storage", "mlflow", "wandb"}
    assert set(re.findall(r"--group ([\w-]+)", pipeline)) == groups | {"dev", "serve"}
    if tracking == "none":  # the page's example names this project
        page = (root / "docs/jenkins.md").read_text(encoding="utf-8")
        [change] = re.findall(r"```diff\n(.*?)```", page, re.DOTALL)
        subprocess.run(["git", "apply", "--check", "-"], cwd=root, input=change, text=True, check=True)


@pytest.mark.skipif(not shutil.which("git-lfs") and "CI" not in os.environ, reason="git-lfs is not installed")
def test_the_answers_where_data_is_stored(tmp_path: Path):
    plain = bake(tmp_path / "git")
    lfs, dvc, remote = (bake(tmp_path / answer, data=answer) for answer in ("git-lfs", "dvc", "object-storage"))
    baked = {"git": plain, "git-lfs": lfs, "dvc": dvc, "object-storage": remote}
    for answer, root in baked.items():
        check_project(root, data=answer)
    assert files(lfs) == files(plain)
    assert files(remote) - files(plain) == {"docs/data.md"}
    assert files(dvc) - files(plain) == {".dvc/.gitignore", ".dvc/config", ".dvcignore", "dvc.yaml"}
    pointer = git(lfs, "cat-file", "blob", "HEAD:data/transactions.csv.gz")
    assert pointer.startswith("version https://git-lfs.github.com/spec/v1\noid sha256:")
    assert "version https://git-lfs" not in git(lfs, "cat-file", "blob", "HEAD:data/README.md")
    assert "as_of: 1997-12-31\n" in (plain / "params.yaml").read_text(encoding="utf-8")
    groups = [tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8")) for root in baked.values()]
    own = [[], [], ["dvc"], ["object-storage"]]
    assert [group["tool"]["uv"]["default-groups"] for group in groups] == [["dev", *names] for names in own]
    assert [sorted({"dvc", "object-storage"} & group["dependency-groups"].keys()) for group in groups] == own
    for root, kept in ((plain, set()), (lfs, {".git/lfs"}), (dvc, {".dvc/cache"}), (remote, set())):
        for name in ("ci", "model", "monitor", "release"):
            text = (root / f".github/workflows/{name}.yml").read_text(encoding="utf-8")
            steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
            cached = {step["with"]["path"] for step in steps if step.get("uses", "").startswith("actions/cache/")}
            assert cached - {"runs/baseline"} == (set() if name == "release" else kept), name
            assert ("lfs: true" in text) is (root != lfs or name == "release"), "what a checkout fetches is not cached"
            assert "# with" not in text


def test_the_example_replaces_the_generic_files(tmp_path: Path):
    churn, none = bake(tmp_path / "a", example="churn"), bake(tmp_path / "b", example="none")
    overlay = {
        path.relative_to(SOURCE / "_churn").as_posix().replace("{{cookiecutter.package_name}}", "customer_churn")
        for path in (SOURCE / "_churn").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert files(churn) == files(none) | overlay
    assert all(
        not (none / name).exists() or (churn / name).read_bytes() != (none / name).read_bytes() for name in overlay
    )


def test_what_tools_leave_in_the_template_is_in_no_project(tmp_path: Path):
    template = copy_of_template(tmp_path / "template")
    machinery = template / "{{cookiecutter.project_slug}}/packages/mlcicd"
    for name in (".import_linter_cache", ".mypy_cache", ".pytest_cache", ".ruff_cache", "src/mlcicd/__pycache__"):
        (machinery / name).mkdir()
        (machinery / name / "kept.json").write_text("{{ not a template", encoding="utf-8")
    done = bake_with_command(tmp_path / "out", template=template)
    assert done.returncode == 0, done.stderr
    assert files(tmp_path / "out/customer-churn") == files(bake(tmp_path / "plain"))


HOSTILE = {
    "quotes and a command": {"project_name": 'Änna\'s "Best" Model; rm -rf /'},
    "300 characters": {"project_name": "x" * 300},
    "emoji": {"project_name": "Rocket 🚀 science 👩‍🔬"},
    "only the shell": {"project_name": "$(touch owned) `id` && a"},
    "HTML": {"project_name": "<script>alert('x')</script>"},
    "other scripts": {"project_name": "顧客 流失 модель"},
    "a description to escape": {"description": r"""say "hi" \ back\slash \n \u0041 ''' \"\"\" 🚀 #{}$%"""},
    "a description that ends in a backslash": {"description": "a\\"},
    "no description": {"description": ""},
    "a soft keyword": {"project_name": "match"},
    "upper case": {"project_slug": "My.Model_2", "github_owner": "A1-b"},
}


@pytest.mark.parametrize("answers", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_answers_that_make_a_project(tmp_path: Path, answers: dict[str, str]):
    root = bake(tmp_path, **answers)
    check_project(root)
    assert [entry.name for entry in tmp_path.iterdir()] == [root.name]
    if "description" in answers:
        assert metadata(root)["description"] == answers["description"]
    if "project_name" in answers:
        assert answers["project_name"] in (root / "README.md").read_text(encoding="utf-8")


REFUSED = {
    "a keyword": ("project_name=class", "package_name: "),
    "a dependency": ("project_name=sklearn", "package_name: "),
    "a module of Python": ("project_name=json", "package_name: "),
    "no name": ("project_name=", "project_name: "),
    "emoji alone": ("project_name=🚀", "project_slug: "),
    "two lines": ("description=a\nb", "description: "),
    "a device": ("project_slug=com7", "project_slug: "),
    "the machinery's name": ("project_name=mlcicd", "project_slug: "),
    "the machinery's import": ("package_name=MLcicd", "package_name: "),
    "a space": ("project_slug=my model", "project_slug: "),
    "an owner": ("github_owner=-a", "github_owner: "),
    "an old Python": ("python_version=3.9", "python_version: "),
    "a long description": ("description=" + "x" * 351, "description: "),
}


@pytest.mark.parametrize(("answer", "start"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_answers_leave_one_line_and_no_files(tmp_path: Path, answer: str, start: str):
    done = bake_with_command(tmp_path, answer)
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []
    # Cookiecutter adds its own report of a failed hook.
    lines = [line for line in done.stderr.splitlines() if re.match(r"[a-z_]+: ", line)]
    assert len(lines) == 1
    assert lines[0].startswith(start)


def test_a_refusal_stops_the_python_interface_too(tmp_path: Path):
    with pytest.raises(FailedHookException):
        bake(tmp_path, package_name="class")
    assert list(tmp_path.iterdir()) == []


def test_at_most_twelve_questions_each_with_a_human_prompt():
    settings = json.loads((TEMPLATE / "cookiecutter.json").read_text(encoding="utf-8"))
    questions = [name for name in settings if not name.startswith("_")]
    assert len(questions) <= 12
    assert settings["__prompts__"].keys() == set(questions)


def test_the_steps_are_printed(tmp_path: Path):
    done = bake_with_command(tmp_path, "github_owner=some-one")
    assert done.returncode == 0, done.stderr
    assert [line.strip()[:2] for line in done.stdout.splitlines() if re.match(r" +\d\. ", line)] == ["1.", "2.", "3."]
    assert "gh repo create some-one/customer-churn --private --source . --push" in done.stdout
    assert "ML_CICD_SKIP_LOCK" in done.stdout
    assert done.stderr == ""


def test_git_and_uv_are_not_needed(tmp_path: Path):
    nothing = tmp_path / "empty"
    nothing.mkdir()
    done = bake_with_command(tmp_path, PATH=str(nothing), ML_CICD_SKIP_LOCK="0")
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("note: ")]) == 2
    assert "uv is not on PATH" in done.stdout
    assert "git is not on PATH" in done.stdout
    assert not (tmp_path / "customer-churn" / ".git").exists()
    assert (tmp_path / "customer-churn" / "pyproject.toml").exists()


def test_a_lock_that_cannot_be_made_is_said_in_one_line(tmp_path: Path):
    if shutil.which("uv") is None:
        pytest.skip("uv is not on PATH")
    offline = {"ML_CICD_SKIP_LOCK": "0", "UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    done = bake_with_command(tmp_path / "out", **offline)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("note: uv.lock was not made")]) == 1
    check_project(tmp_path / "out" / "customer-churn")


def test_without_an_identity_nothing_is_committed(tmp_path: Path):
    config = tmp_path / "config"
    config.write_text("", encoding="utf-8")
    done = bake_with_command(tmp_path, GIT_CONFIG_GLOBAL=str(config), HOME=str(tmp_path), EMAIL="")
    assert done.returncode == 0, done.stderr
    root = tmp_path / "customer-churn"
    assert "user.email" in done.stdout
    assert git(root, "rev-list", "--all") == ""
    assert git(root, "symbolic-ref", "HEAD") == "refs/heads/main"
    assert "pyproject.toml" in git(root, "diff", "--cached", "--name-only")


def test_inside_another_repository_the_project_is_its_own(tmp_path: Path):
    git(tmp_path, "init")
    # As in a git hook, where these variables point at the repository around us.
    done = bake_with_command(tmp_path, GIT_DIR=str(tmp_path / ".git"), GIT_INDEX_FILE=str(tmp_path / ".git" / "index"))
    assert done.returncode == 0, done.stderr
    check_project(tmp_path / "customer-churn")
    assert git(tmp_path, "rev-list", "--all") == ""


def test_settings_that_sign_or_check_commits_do_not_stop_the_bake(tmp_path: Path):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "pre-commit").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (hooks / "pre-commit").chmod(0o755)
    config = tmp_path / "config"
    config.write_text(
        "[user]\n\tname = A\n\temail = a@example.org\n\tsigningkey = none\n[commit]\n\tgpgsign = true\n"
        f"[core]\n\thooksPath = {hooks.as_posix()}\n",
        encoding="utf-8",
    )
    done = bake_with_command(tmp_path / "out", GIT_CONFIG_GLOBAL=str(config))
    assert done.returncode == 0, done.stderr
    check_project(tmp_path / "out" / "customer-churn")


def test_the_oldest_cookiecutter_makes_the_same_project(tmp_path: Path):
    if shutil.which("uv") is None:
        pytest.skip("uv is not on PATH")
    oldest = ("uv", "tool", "run", "--quiet", "--from", "cookiecutter==2.6.0", "cookiecutter")
    answers = ('project_name=Änna\'s "Best" Model', "example=churn", 'description=say "hi" \\ 🚀')
    done = bake_with_command(tmp_path / "old", *answers, program=oldest)
    assert done.returncode == 0, done.stderr
    assert bake_with_command(tmp_path / "new", *answers).returncode == 0
    old, new = tmp_path / "old" / "anna-s-best-model", tmp_path / "new" / "anna-s-best-model"
    check_project(old)
    assert files(old) == files(new)
    assert [name for name in sorted(files(old)) if (old / name).read_bytes() != (new / name).read_bytes()] == []


def test_cruft_makes_and_updates_the_same_project(tmp_path: Path):
    template = copy_of_template(tmp_path / "template")
    git(template, "init", "--quiet")
    git(template, "add", "--all")
    git(template, "commit", "--quiet", "--message", "one")

    def cruft(*arguments: str, cwd: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "cruft", *arguments],
            cwd=cwd,
            env={**clean_environ(), "ML_CICD_SKIP_LOCK": "1", "HOME": str(tmp_path), "PYTHONUTF8": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    cruft("create", str(template), "--no-input", "--output-dir", str(tmp_path), cwd=tmp_path)
    root = tmp_path / "customer-churn"
    assert files(root) == files(bake(tmp_path / "plain")) | {".cruft.json"}
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "cruft")
    (root / "uv.lock").write_text("mine\n", encoding="utf-8")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "lock")

    ignored = template / "{{cookiecutter.project_slug}}" / ".gitignore"
    ignored.write_text(ignored.read_text(encoding="utf-8") + "/new/\n", encoding="utf-8")
    git(template, "commit", "--quiet", "--all", "--message", "two")
    cruft("update", "--skip-apply-ask", cwd=root)
    assert (root / ".gitignore").read_text(encoding="utf-8").endswith("/new/\n")
    assert (root / "uv.lock").read_text(encoding="utf-8") == "mine\n"
    assert set(git(root, "diff", "--name-only", "HEAD").splitlines()) == {".cruft.json", ".gitignore"}


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
def test_the_project_is_built_from_nothing_but_its_own_files(tmp_path: Path) -> None:
    """No network and no cache: what builds it is in uv itself, and not resolved anew beside the lock."""
    root = bake(tmp_path / "bake", project_slug="other-name", package_name="shop_model")
    command = [
        "uv",
        "build",
        "--wheel",
        "--all-packages",
        "--offline",
        "--no-cache",
        "--out-dir",
        str(tmp_path / "out"),
    ]
    done = subprocess.run(command, cwd=root, env=clean_environ(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wheels = list((tmp_path / "out").glob("*.whl"))
    assert len(wheels) == 2
    names = {name for wheel in wheels for name in zipfile.ZipFile(wheel).namelist()}
    assert {"shop_model/features.py", "mlcicd/cli.py", "mlcicd/packaging/Containerfile"} <= names
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in names)


def test_ruff_finds_nothing_in_the_template():
    for arguments in (("check",), ("format", "--check")):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *arguments, str(TEMPLATE)], capture_output=True, text=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stdout + done.stderr


# What Windows takes for a device, whatever the suffix.
DEVICES = {"con", "prn", "aux", "nul", *(f"{kind}{digit}" for kind in ("com", "lpt") for digit in range(1, 10))}


@pytest.mark.parametrize("answers", [{}, {"package_name": "x" * 60}], ids=["defaults", "a long package"])
def test_windows_takes_every_path_of_a_project(tmp_path: Path, answers: dict[str, str]):
    root = bake(tmp_path, **answers)
    paths = [path.relative_to(tmp_path) for path in root.rglob("*") if path.relative_to(root).parts[0] != ".git"]
    assert len(paths) > 60
    for path in paths:
        assert not (tmp_path / path).is_symlink(), path
        assert len(path.as_posix()) <= 120, path
        for part in path.parts:
            assert part.partition(".")[0].lower() not in DEVICES, path
            assert not re.search(r'[<>:"|?*\\\x00-\x1f]|[. ]$', part), path
    assert len({path.as_posix().lower() for path in paths}) == len(paths)


@pytest.mark.parametrize("example", ["churn", "none"])
def test_a_template_checked_out_with_crlf_makes_the_same_project(tmp_path: Path, example: str):
    template = copy_of_template(tmp_path / "template", crlf=True)
    answer = f"example={example}"
    done = bake_with_command(tmp_path / "crlf", answer, template=template)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    refused = bake_with_command(tmp_path / "refused", answer, "package_name=class", template=template)
    assert "package_name: " in refused.stderr
    root = tmp_path / "crlf" / "customer-churn"
    check_project(root)
    plain = bake(tmp_path / "lf", example=example)
    assert files(root) == files(plain)
    assert [name for name in sorted(files(root)) if (root / name).read_bytes() != (plain / name).read_bytes()] == []


def test_every_file_of_the_template_can_be_checked_out_on_windows():
    names = git(TEMPLATE, "ls-files", "--cached", "--others", "--exclude-standard", "-z").split("\0")
    for name in filter(None, names):
        assert not re.search(r'[<>:"|?*\\]', name), name
        assert len(name) < 150, name
    assert len({name.lower() for name in names}) == len(names)
    modes = {line.split()[0] for line in git(TEMPLATE, "ls-files", "--stage").splitlines()}
    assert modes <= {"100644", "100755"}, "a symbolic link or a submodule"

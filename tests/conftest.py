"""What the tests share: how to bake, and one baked project with one environment for the whole session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

TEMPLATE = Path(__file__).resolve().parents[1]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MACHINERY_TESTS = TEMPLATE / "tests" / "mlcicd"  # its tests have an environment of their own: see the Makefile
collect_ignore = ["mlcicd"]
pytest_plugins = ("images", "rollouts")  # what several modules share, and the whole session makes once
BIN = "Scripts" if os.name == "nt" else "bin"


@dataclass(frozen=True)
class Project:
    """A baked project, and the environment in which its commands run.

    A copy may borrow the environment of the original: PYTHONPATH makes its own sources win.
    """

    root: Path
    environment: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def machinery(self) -> Path:
        """The folder of the machinery's package."""
        return self.root / "packages/mlcicd/src/mlcicd"

    @property
    def package(self) -> Path:
        """The folder of the project's package."""
        return next((self.root / "src").glob("*/service.py")).parent

    def run(self, *command: str, timeout: float = 600, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the project's folder and environment; never raises on its exit status."""
        return subprocess.run(
            command,
            cwd=self.root,
            env=self.environ(**variables),
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
        )

    def environ(self, **variables: str) -> dict[str, str]:
        """The variables with which the project's commands run."""
        return {
            **clean_environ(),
            # As `ml` sets it for itself. A script that imports the pipeline has threads too: while the other half of
            # the tests has the cores, waiting by spinning makes half a minute's work a matter of its time limit.
            "OMP_WAIT_POLICY": "passive",
            "PATH": os.pathsep.join([str(self.environment / BIN), os.environ["PATH"]]),
            "PYTHONPATH": os.pathsep.join(str(self.root / place) for place in ("src", "packages/mlcicd/src")),
            "UV_PROJECT_ENVIRONMENT": str(self.environment),
            **self.variables,
            **variables,
        }

    def copy(self, folder: Path) -> Project:
        """A copy to break: same commit, same environment, nothing that the original's tests left behind."""
        subprocess.run(["git", "clone", "--quiet", str(self.root), str(folder)], check=True)
        return Project(folder, self.environment, self.variables)


def clean_environ() -> dict[str, str]:
    """This process's variables without those that point at the template's own environment."""
    ours = {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "UV_PROJECT_ENVIRONMENT", "UV_RUN_RECURSION_DEPTH"}
    # Without byte code each start of a command compiles pandas and scikit-learn anew: eight seconds instead of one.
    ours.add("PYTHONDONTWRITEBYTECODE")
    return {name: value for name, value in os.environ.items() if name not in ours}


def bake(folder: Path, *, lock: bool = False, **answers: str) -> Path:
    """Bake the template into a folder; answers that are not given are the defaults. Returns the project's folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ML_CICD_SKIP_LOCK", "0" if lock else "1")
        return Path(
            cookiecutter(
                str(TEMPLATE), no_input=True, output_dir=str(folder), extra_context=answers, default_config=True
            )
        )


def bake_with_command(
    folder: Path, *answers: str, program: tuple[str, ...] = (), template: Path = TEMPLATE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Bake as a user does, with the command; answers are written `name=value`. Returns the finished process."""
    command = program or (sys.executable, "-m", "cookiecutter")
    return subprocess.run(
        [*command, str(template), "--no-input", "--default-config", "--output-dir", str(folder), *answers],
        env={**clean_environ(), "ML_CICD_SKIP_LOCK": "1", "PYTHONUTF8": "1", **variables},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )


def copy_of_template(folder: Path, *, crlf: bool = False) -> Path:
    """The template's files that git knows or would add; with `crlf` the text files as Windows may check them out."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listed, cwd=TEMPLATE, env=clean_environ(), capture_output=True, encoding="utf-8", check=True)
    for name in filter(None, names.stdout.split("\0")):
        if (TEMPLATE / name).is_file():
            content = (TEMPLATE / name).read_bytes()
            if crlf and b"\0" not in content:
                content = content.replace(b"\n", b"\r\n")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            shutil.copymode(TEMPLATE / name, folder / name)
    return folder


def install(root: Path, python: str = "") -> Project:
    """Install a baked and locked project into an environment of its own, of the Python that it pins or of another."""
    environment = clean_environ() | ({"UV_PYTHON": python} if python else {})
    subprocess.run(["uv", "sync", "--locked", "--quiet"], cwd=root, env=environment, check=True)
    return Project(root, root / ".venv")


def newest_python(than: str) -> str | None:
    """The path of the newest supported Python on this machine, or None if none is newer than a version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    folders = [os.environ["PATH"], *map(str, pyenv.glob(f"versions/*/{BIN}"))]
    environment = {**clean_environ(), "PATH": os.pathsep.join(folders), "UV_PYTHON_DOWNLOADS": "never"}
    for version in reversed(PYTHONS[PYTHONS.index(than) + 1 :]):
        command = ["uv", "python", "find", "--system", "--no-project", version]
        found = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if found.returncode == 0:
            return found.stdout.strip()
    return None


@pytest.fixture(scope="session", autouse=True)
def git_identity(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Git with an author and nothing else of this machine's configuration."""
    config = tmp_path_factory.mktemp("git") / "config"
    config.write_text("[user]\n\tname = A Tester\n\temail = tester@example.org\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(config))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        # What mypy learned of pandas serves every project of this session.
        patch.setenv("MYPY_CACHE_DIR", str(tmp_path_factory.mktemp("mypy")))
        patch.setenv("BENTOML_HOME", str(tmp_path_factory.mktemp("bentoml")))  # not the home of whoever runs the tests
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The churn example, baked, locked and installed once. Do not change its files: `copy` it."""
    if shutil.which("uv") is None:
        pytest.fail("uv is not on PATH: run the tests with `make test`")
    return install(bake(tmp_path_factory.mktemp("session"), lock=True))


@pytest.fixture(scope="session")
def own_table(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without the example, in the same environment: it waits for a table. Do not change it: `copy` it."""
    root = bake(tmp_path_factory.mktemp("own"), example="none")
    shutil.copyfile(project.root / "uv.lock", root / "uv.lock")
    found = Project(root, project.environment)
    assert found.run("git", "add", "--all").returncode == 0
    assert found.run("git", "commit", "--quiet", "--message", "lock").returncode == 0
    return found


@pytest.fixture(scope="session")
def served(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The same project in an environment that has the serve group as well, with a trained run in runs/model."""
    copied = project.copy(tmp_path_factory.mktemp("served") / "project")
    environment = {**clean_environ(), "UV_PROJECT_ENVIRONMENT": str(copied.root / ".venv")}
    command = ["uv", "sync", "--locked", "--quiet", "--group", "serve"]
    subprocess.run(command, cwd=copied.root, env=environment, check=True)
    found = Project(copied.root, copied.root / ".venv", copied.variables)
    trained = found.run("ml", "train")
    assert trained.returncode == 0, trained.stderr
    return found

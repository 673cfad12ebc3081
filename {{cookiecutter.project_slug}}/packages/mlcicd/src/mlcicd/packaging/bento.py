"""Package a run as a bento and an image, after checking that its predictions need only the image's packages."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import yaml

from mlcicd.core import project
from mlcicd.core.errors import InputError
from mlcicd.lifecycle.model_card import card
from mlcicd.packaging import bentoml_store, tools
from mlcicd.packaging.export import export_run, version_of
from mlcicd.packaging.smoke import TOLERANCE, largest_difference, sample
from mlcicd.rendering import markdown
from mlcicd.review.environment import normal
from mlcicd.system import processes, signals
from mlcicd.system.git import git
from mlcicd.system.scratch import scratch
from mlcicd.training.run import Run

ENGINES = ("docker", "podman", "buildah")
BASE = "python:{}-slim"
MACHINERY = "mlcicd"
SERVE = "what is served"  # a node of the dependency graph: the serve extra and the serve group
SCORE_SAMPLE = """
import json, sys
from pathlib import Path
from typing import Any

class HiddenModules:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}")

hidden = json.loads(sys.argv[1])
sys.meta_path.insert(0, HiddenModules())
from mlcicd.serving.inference_engine import InferenceEngine
engine, sample = InferenceEngine(Path("run")), json.loads(Path("sample.json").read_text())
print(json.dumps(engine.answer(engine.validator.read(json.dumps({"records": sample}).encode()))))
"""


class Lock:
    """The dependency graph of the project's uv.lock."""

    def __init__(self, root: Path) -> None:
        if not (root / "uv.lock").is_file():
            raise InputError("uv.lock: no such file; 'uv lock' writes it, and the image is built from its pins")
        packages = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))["package"]
        self.root, self.needs = root, {p["name"]: [d["name"] for d in p.get("dependencies", [])] for p in packages}
        local = {p["name"] for p in packages if p["source"].keys() & {"editable", "virtual"}} | {MACHINERY}
        self.names = self.needs.keys() - local
        machinery: dict[str, Any] = next((p for p in packages if p["name"] == MACHINERY), {})
        owner: dict[str, Any] = next((p for p in packages if "." in p["source"].values()), {})
        extra = machinery.get("optional-dependencies", {}).get("serve", [])
        group = owner.get("dev-dependencies", {}).get("serve", [])  # what the project's owner added
        self.needs[SERVE] = [d["name"] for d in [*extra, *group] if d["name"] != MACHINERY]

    def closure(self, *roots: str) -> set[str]:
        """Return these packages and all that they depend on."""
        names, remaining = set(), list(roots)
        while remaining:
            if (name := remaining.pop()) not in names:
                names.add(name)
                remaining += self.needs.get(name, [])
        return names

    def pins(self, *roots: str) -> str:
        """Return these packages and their dependencies as requirements with versions and hashes."""
        uv = os.environ.get("UV", "uv")  # set by 'uv run'
        options = "--frozen --no-default-groups --group=serve --no-emit-workspace --no-annotate --no-header"
        wanted, text = self.closure(*roots), tools.run([uv, "export", *options.split()], self.root).stdout
        pins = re.findall(r"^[\w.-]+.*(?:\n +.*)*", text, re.MULTILINE)
        return "\n".join(pin for pin in pins if normal(re.split(r"[^\w.-]", pin)[0]) in wanted) + "\n"


def verify_dependencies(run: Run, work: Path, lock: Lock) -> list[str]:
    """Score holdout rows in a process that can import the image's packages alone.

    Returns
    -------
    The packages that the model needs in addition to those of the serve extra and the serve group.

    Raises
    ------
    InputError
        The model needs a package that is not in the lock, or its predictions differ from those of the run.
    """
    records, expected = sample(run, 200)
    (work / "sample.json").write_text(json.dumps(records), encoding="utf-8")
    modules: dict[str, list[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules.setdefault(normal(owner), []).append(module)
    extra: list[str] = []
    while True:
        hidden = [m for name in lock.names - lock.closure(SERVE, *extra) for m in modules.get(name, [])]
        scored = tools.run(
            [sys.executable, "-c", SCORE_SAMPLE, json.dumps(hidden)],
            work,
            check=False,
            ML_PACKAGE=project.package_name(),
        )
        if scored.returncode == 0:
            break
        # A module that user code imports, or that defines a type which the model file names.
        missing = re.search(r"(?:No module named '|: holds )(\w+)", scored.stderr)
        needed = next((name for name, owned in modules.items() if missing and missing[1] in owned), None)
        if needed is None or needed in lock.closure(SERVE, *extra):
            last = (scored.stderr.strip().splitlines() or ["?"])[-1][:300]
            raise InputError(f"the packed model does not run: {last}; only files that git tracks are packed")
        extra.append(needed)
    (work / "sample.json").unlink()
    if (largest := largest_difference(json.loads(scored.stdout.splitlines()[-1]), expected)) > TOLERANCE:
        raise InputError(f"the packed model's predictions differ from the run's by up to {largest:.2g}")
    return extra


def base_image(root: Path) -> str:
    """Return the name of the official image of the running Python, on which the packed model has been verified.

    Raises
    ------
    InputError
        ``.python-version`` pins another Python.
    """
    running, file = "{}.{}".format(*sys.version_info), root / ".python-version"
    pins = re.findall(r"^(?:cpython[-@]?)?(\d+\.\d+)", file.read_text(encoding="utf-8") if file.is_file() else "", re.M)
    if pins and pins[0] != running:
        raise InputError(
            f".python-version pins Python {pins[0]}, and this is {running}: "
            "'uv sync --group serve' makes the environment of the pinned one"
        )
    return BASE.format(running)


def build(path: Path, image: str | None = None, engine: str = "auto", root: Path = Path()) -> dict[str, str]:
    """Build the bento of a run and, where there is an engine, its image.

    Parameters
    ----------
    path : the run
    image : name of the image; the bento's tag by default
    engine : ``docker``, ``podman``, ``buildah``, ``none``, or ``auto`` for the first one that works
    root : the project's folder, for its lock and its Python

    Returns
    -------
    ``bento`` (its tag), ``path`` (its folder) and, when one was built, ``image``.
    """
    run, lock, number = Run(path), Lock(root), version_of(Run(path))
    chosen, base = _engine(engine), base_image(root)
    package = project.package_name()
    tag = f"{package.replace('_', '-')}:{number}"
    with scratch("package") as work:
        export_run(run, work / "run")
        for folder in (project.folder(), project.MACHINERY):
            _copy_package(folder, work / folder.name)
        recipe = Path(__file__).with_name("Containerfile").read_text(encoding="utf-8")
        recipe = recipe.replace("python:3.11-slim", base).replace("ARG PACKAGE", f"ARG PACKAGE={package}")
        (work / "Containerfile").write_text(recipe, encoding="utf-8")
        (work / "requirements.txt").write_text(
            lock.pins(SERVE, *verify_dependencies(run, work, lock)), encoding="utf-8"
        )
        (work / "README.md").write_text(markdown.render(card(run)), encoding="utf-8")
        options = {
            "service": f"{package}.service:Service",
            "labels": {"commit": run.manifest["commit"] or "none", "contract": run.manifest["contract"]},
            "python": {"requirements_txt": "./requirements.txt", "lock_packages": False},
            "include": ["**"],
            "models": [tag],
        }
        (work / "bentofile.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
        home = work.with_name("home")  # an interrupted build leaves nothing in the user's own store
        bentoml_store.save_model(run, tag, work, home)
        tools.run([*tools.bentoml(), "build", "--version", number, "."], work, BENTOML_HOME=str(home))
        bentoml_store.keep(home, "model", tag)
        folder = bentoml_store.keep(home, "bento", tag)
    built = {"bento": tag, "path": str(folder)}
    return built if chosen == "none" else built | {"image": _build_image(folder, image or tag, chosen, run)}


def _copy_package(package: Path, target: Path) -> None:
    """Copy a package's files that git tracks, without symbolic links: no ignored secret reaches the image."""
    names = git(package, "ls-files", "-z", "--cached", "--", ".")
    files = [package / name for name in filter(None, names.split("\0"))] if names else list(package.rglob("*.py"))
    for file in files:
        inside = file.is_file() and file.resolve().is_relative_to(package.resolve())
        if inside and not file.is_symlink() and file.name != "Containerfile":
            copied = target / file.relative_to(package)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)


def _engine(asked: str) -> str:
    """Return the requested engine, or the first one that works: docker may be installed without a running daemon."""
    if asked not in (*ENGINES, "none", "auto"):
        raise InputError(f"--engine {asked}: not known; choose auto, none, {', '.join(ENGINES)}")
    if asked != "auto":
        if asked != "none" and not shutil.which(asked):
            raise InputError(f"--engine {asked}: not installed; install it, or choose another")
        return asked
    installed = [engine for engine in ENGINES if shutil.which(engine)]
    for engine in installed:
        if tools.run([engine, "info"], Path(), check=False).returncode == 0:
            return engine
    if installed:
        raise InputError(f"'{installed[0]} info' fails: start it, choose another --engine, or none for the bento alone")
    return "none"


def _build_image(bento: Path, name: str, engine: str, run: Run) -> str:
    labels = {
        "org.opencontainers.image.title": project.package_name(),
        "org.opencontainers.image.version": version_of(run),
        "org.opencontainers.image.revision": run.manifest["commit"] or "none",
        "ml.contract.sha256": run.manifest["contract"],
        "ml.metrics": json.dumps(
            {metric: round(estimate["value"], 6) for metric, estimate in run.metrics["holdout"].items()}
        ),
        "ml.sbom": "/bento/src/requirements.txt; a release attests a full one beside the image",
    }
    # One time stamp for all files makes layers reproducible; the OCI format has no HEALTHCHECK.
    reproducible = (
        [f"--timestamp={run.manifest['commit_time'] or 0}", "--format=docker", "--layers"] if engine != "docker" else []
    )
    options = [*reproducible, *(f"--label={key}={value}" for key, value in labels.items())]
    tools.run([engine, "build", *options, "--tag", name, "--file", "src/Containerfile", "."], bento)
    return name


def serve(path: Path, port: int, reload: bool = False) -> int:
    """Serve a run on this machine as its bento would, and return the server's exit status."""
    package = project.package_name()
    with scratch("serve") as work:
        env = os.environ | {
            project.VARIABLE: package,
            "ML_STAGED": str(export_run(Run(path), work / "run")),
            "BENTOML_DO_NOT_TRACK": "True",
            "BENTOML_RESULT_STORE": str(work / "tasks.db"),  # not the one that all services of this machine share
        }
        command = [*tools.bentoml(), "serve", f"{package}.service:Service", "--host=127.0.0.1", f"--port={port}"]
        if sys.platform == "linux" and not reload:  # as in the image; forking is unsafe on macOS
            config = "--config=python:mlcicd.serving.gunicorn_conf"
            command = [sys.executable, "-m", "gunicorn", config, f"--bind=127.0.0.1:{port}"]
            env["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=work)
        signals.uninstall()  # the server finishes requests in flight before it stops
        command += ["--reload"] * reload
        server = subprocess.Popen(
            command,
            cwd=project.folder().parent,
            env=env,
            preexec_fn=processes.end_with_parent if sys.platform == "linux" else None,
        )
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue  # the server received it too and is stopping

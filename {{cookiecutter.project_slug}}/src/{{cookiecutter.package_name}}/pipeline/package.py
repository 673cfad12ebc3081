"""A run → a bento → an image. What is packed is proven first: the same predictions, with the image's packages alone."""

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
from importlib.util import find_spec
from pathlib import Path

import yaml

from . import markdown, outputs, processes, signals
from .card import card
from .environment import normal
from .errors import InputError
from .runs import Run, git
from .scratch import scratch
from .smoke import TOLERANCE, difference, sample
from .staging import stage, version_of

ENGINES = ("docker", "podman", "buildah")
BASE = "python:{}.{}-slim".format(*sys.version_info)
PACKAGE = __name__.split(".")[0]
GROUP = "the serve group"
PROOF = """
import json, sys
from pathlib import Path

class Hide:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}")

hidden = json.loads(sys.argv[1])
sys.meta_path.insert(0, Hide())
from {package}.pipeline.serving import Engine
engine, sample = Engine(Path("run")), json.loads(Path("sample.json").read_text())
print(json.dumps(engine.answer(engine.door.read(json.dumps({{"records": sample}}).encode()))))
"""


class Lock:
    """The project's uv.lock: which package needs which."""

    def __init__(self, root: Path) -> None:
        if not (root / "uv.lock").is_file():
            raise InputError("uv.lock: no such file; 'uv lock' writes it, and the image is built from its pins")
        packages = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))["package"]
        own = next(p for p in packages if p["source"].keys() & {"editable", "virtual"})
        self.root, self.needs = root, {p["name"]: [d["name"] for d in p.get("dependencies", [])] for p in packages}
        self.names = self.needs.keys() - {own["name"]}
        self.needs[GROUP] = [d["name"] for d in own.get("dev-dependencies", {}).get("serve", [])]

    def closure(self, *roots: str) -> set[str]:
        """Return the packages that these need, themselves included."""
        found, todo = set(), list(roots)
        while todo:
            if (name := todo.pop()) not in found:
                found.add(name)
                todo += self.needs.get(name, [])
        return found

    def pins(self, *roots: str) -> str:
        """Return the requirements, with versions and hashes, of what these need."""
        uv = os.environ.get("UV", "uv")  # 'uv run' says where it is
        options = "--frozen --no-default-groups --group=serve --no-emit-project --no-annotate --no-header"
        wanted, text = self.closure(*roots), _run([uv, "export", *options.split()], self.root).stdout
        pins = re.findall(r"^[\w.-]+.*(?:\n +.*)*", text, re.MULTILINE)
        return "\n".join(pin for pin in pins if normal(re.split(r"[^\w.-]", pin)[0]) in wanted) + "\n"


def prove(run: Run, work: Path, lock: Lock) -> list[str]:
    """Score holdout rows with only the image's packages importable; return what those need beside the serve group.

    Raises
    ------
    InputError
        The model needs a package that is not in the lock, or predicts otherwise than in training.
    """
    records, expected = sample(run, 200)
    (work / "sample.json").write_text(json.dumps(records), encoding="utf-8")
    modules: dict[str, list[str]] = {}
    for module, owners in packages_distributions().items():
        for owner in owners:
            modules.setdefault(normal(owner), []).append(module)
    extra: list[str] = []
    while True:
        hidden = [m for name in lock.names - lock.closure(GROUP, *extra) for m in modules.get(name, [])]
        done = _run([sys.executable, "-c", PROOF.format(package=PACKAGE), json.dumps(hidden)], work, check=False)
        if done.returncode == 0:
            break
        # What could not be imported, by user code or for a type that models.py must see to trust.
        gone = re.search(r"(?:No module named '|: holds )(\w+)", done.stderr)
        needed = next((name for name, found in modules.items() if gone and gone[1] in found), None)
        if needed is None or needed in lock.closure(GROUP, *extra):
            last = (done.stderr.strip().splitlines() or ["?"])[-1][:300]
            raise InputError(f"the packed model does not run: {last}; of the package, files that git tracks are packed")
        extra.append(needed)
    (work / "sample.json").unlink()
    if (worst := difference(json.loads(done.stdout.splitlines()[-1]), expected)) > TOLERANCE:
        raise InputError(f"the packed model predicts otherwise than the run: largest difference {worst:.2g}")
    return extra


def build(path: Path, image: str | None = None, engine: str = "auto", root: Path = Path()) -> dict[str, str]:
    """Build the bento of a run and, where there is an engine, its image.

    Parameters
    ----------
    path : the run
    image : the image's name; the bento's own tag by default
    engine : ``docker``, ``podman``, ``buildah``, ``none``, or ``auto`` for the first that answers
    root : the project, for its lock

    Returns
    -------
    ``bento`` (its tag), ``path`` (its folder) and, when one was built, ``image``.
    """
    run, lock, number = Run(path), Lock(root), version_of(Run(path))
    chosen = _engine(engine)
    tag = f"{PACKAGE.replace('_', '-')}:{number}"
    with scratch("package") as work:
        stage(run, work / "run")
        own = Path(__file__).parents[1]
        _copy_package(own, work / PACKAGE)
        recipe = (own / "pipeline" / "Containerfile").read_text(encoding="utf-8")
        recipe = recipe.replace("python:3.11-slim", BASE).replace("ARG PACKAGE", f"ARG PACKAGE={PACKAGE}")
        (work / "Containerfile").write_text(recipe, encoding="utf-8")
        (work / "requirements.txt").write_text(lock.pins(GROUP, *prove(run, work, lock)), encoding="utf-8")
        (work / "README.md").write_text(markdown.render(card(run)), encoding="utf-8")
        options = {
            "service": f"{PACKAGE}.service:Service",
            "labels": {"commit": run.manifest["commit"] or "none", "contract": run.manifest["contract"]},
            "python": {"requirements_txt": "./requirements.txt", "lock_packages": False},
            "include": ["**"],
        }
        (work / "bentofile.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
        bentoml = _bentoml()
        home = work.with_name("home")  # not the user's, where a stop would leave half a bento, or none of two
        _run([*bentoml, "build", "--version", number, "."], work, BENTOML_HOME=str(home))
        folder = _stored(home / "bentos" / tag.replace(":", "/"))
    found = {"bento": tag, "path": str(folder)}
    return found if chosen == "none" else found | {"image": _image(folder, image or tag, chosen, run)}


def _stored(built: Path) -> Path:
    """Move a bento from the folder that it was built in to BentoML's store; the same run makes the same bento again."""
    home = Path(os.environ.get("BENTOML_HOME", "~/bentoml")).expanduser()
    folder = home / "bentos" / built.parent.name / built.name
    with outputs.atomic_directory(folder, "bento", beside=home) as work:
        shutil.copytree(built, work, dirs_exist_ok=True)
    with outputs.atomic_file(folder.with_name("latest"), lambda _: True, beside=home) as latest:
        latest.write_text(built.name, encoding="utf-8")
    return folder


def _copy_package(own: Path, target: Path) -> None:
    """Copy the package's files that git tracks: no secret that git ignores, and nothing that lies behind a link."""
    names = git(own, "ls-files", "-z", "--cached", "--", ".")
    files = [own / name for name in filter(None, names.split("\0"))] if names else list(own.rglob("*.py"))
    for file in files:
        inside = file.is_file() and file.resolve().is_relative_to(own.resolve())
        if inside and not file.is_symlink() and file.name != "Containerfile":
            copied = target / file.relative_to(own)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)


def _engine(asked: str) -> str:
    """Return the engine that builds: the one asked for, or the first that answers; a docker may have no daemon."""
    if asked not in (*ENGINES, "none", "auto"):
        raise InputError(f"--engine {asked}: not known; choose auto, none, {', '.join(ENGINES)}")
    if asked != "auto":
        if asked != "none" and not shutil.which(asked):
            raise InputError(f"--engine {asked}: not installed; install it, or choose another")
        return asked
    installed = [engine for engine in ENGINES if shutil.which(engine)]
    for engine in installed:
        if _run([engine, "info"], Path(), check=False).returncode == 0:
            return engine
    if installed:
        raise InputError(f"'{installed[0]} info' fails: start it, choose another --engine, or none for the bento alone")
    return "none"


def _image(bento: Path, name: str, engine: str, run: Run) -> str:
    labels = {
        "org.opencontainers.image.title": PACKAGE,
        "org.opencontainers.image.version": version_of(run),
        "org.opencontainers.image.revision": run.manifest["commit"] or "none",
        "ml.contract.sha256": run.manifest["contract"],
        "ml.metrics": json.dumps(
            {metric: round(found["value"], 6) for metric, found in run.metrics["holdout"].items()}
        ),
        "ml.sbom": "/bento/src/requirements.txt; a release attests a full one beside the image",
    }
    # One time stamp for all files makes the same layers of the same files; OCI's own format knows no HEALTHCHECK.
    same = (
        [f"--timestamp={run.manifest['commit_time'] or 0}", "--format=docker", "--layers"] if engine != "docker" else []
    )
    options = [*same, *(f"--label={key}={value}" for key, value in labels.items())]
    _run([engine, "build", *options, "--tag", name, "--file", "src/Containerfile", "."], bento)
    return name


def serve(path: Path, port: int, reload: bool = False) -> int:
    """Serve a run on this machine, as its bento would; return the server's exit status."""
    with scratch("serve") as work:
        env = os.environ | {"ML_STAGED": str(stage(Run(path), work / "run")), "BENTOML_DO_NOT_TRACK": "True"}
        command = [*_bentoml(), "serve", f"{PACKAGE}.service:Service", "--host=127.0.0.1", f"--port={port}"]
        if sys.platform == "linux" and not reload:  # as in the image; forking is not safe elsewhere
            config = f"--config=python:{PACKAGE}.pipeline.workers"
            command = [sys.executable, "-m", "gunicorn", config, f"--bind=127.0.0.1:{port}"]
            env["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(dir=work)
        signals.uninstall()  # a server may take its time to finish what is in flight
        command += ["--reload"] * reload
        server = subprocess.Popen(
            command,
            cwd=Path(__file__).parents[2],
            env=env,
            preexec_fn=processes.end_with_parent if sys.platform == "linux" else None,
        )
        signal.signal(signal.SIGTERM, lambda *_: server.terminate())
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                continue  # the server got it as well and is stopping


def _bentoml() -> list[str]:
    if not find_spec("bentoml"):
        raise InputError("bentoml is not installed; 'uv sync --group serve' installs it")
    return [sys.executable, "-m", "bentoml"]


def _run(command: list[str], where: Path, check: bool = True, **env: str) -> subprocess.CompletedProcess[str]:
    try:
        done = processes.run(command, where, {"PYTHONPATH": str(where), "BENTOML_DO_NOT_TRACK": "True", **env})
    except FileNotFoundError:
        raise InputError(f"'{command[0]}' is not installed; install it, or choose another --engine") from None
    if check and done.returncode:
        last = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()][-3:]
        raise InputError(f"'{' '.join(command[:4])}' failed: {' | '.join(last)[:600]}")
    return done

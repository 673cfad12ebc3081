"""A container engine without an image registry: what the image's tests and benchmark share."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cookiecutter-ml-cicd"


def base_system() -> Path:
    """A minimal Debian with Python, as a tar; made once per machine, in about a minute."""
    archive = CACHE / "bookworm-python.tar"
    if archive.is_file():
        return archive
    CACHE.mkdir(parents=True, exist_ok=True)
    root = CACHE / f"rootfs-{os.getpid()}"
    packages = "--include=python3,python3-venv,ca-certificates"
    subprocess.run(
        ["debootstrap", "--variant=minbase", packages, "bookworm", root], check=True, stdout=subprocess.DEVNULL
    )
    # This machine's way to its package registries, and none of what apt left behind.
    shutil.copy(CERTIFICATES, root / "etc/ssl/certs/ca-certificates.crt")
    for settings in ("pip.conf", "apt/apt.conf.d/99test"):
        if (Path("/etc") / settings).is_file():
            shutil.copy(Path("/etc") / settings, root / "etc" / settings)
    shutil.rmtree(root / "var/lib/apt/lists")
    for package in (root / "var/cache/apt/archives").glob("*.deb"):
        package.unlink()
    subprocess.run(["tar", "-C", root, "-cf", archive.with_suffix(".part"), "."], check=True)
    archive.with_suffix(".part").rename(archive)
    shutil.rmtree(root)
    return archive


def settings(folder: Path) -> dict[str, str]:
    """The variables with which podman and buildah work in a storage of their own, and BentoML in a home of its own."""
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n'
    )
    (folder / "containers.conf").write_text(
        '[containers]\nnetns = "host"\ndefault_ulimits = ["nofile=1000:1000", "nproc=1000:1000"]\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nruntime = "runc"\n'
    )
    return {
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "BUILDAH_ISOLATION": "chroot",
        "BENTOML_HOME": str(folder / "bentoml"),
    }


def import_base(version: str, env: dict[str, str]) -> str:
    """Put the stand-in under the name of the official image of a Python version; returns the name."""
    name = f"docker.io/library/python:{version}-slim"
    variables = [f"--change=ENV {variable}={CERTIFICATES}" for variable in ("SSL_CERT_FILE", "PIP_CERT")]
    command = ["podman", "import", *variables, str(base_system()), name]
    subprocess.run(command, env=env, check=True, capture_output=True)
    return name


def podman(engine: dict[str, str], *arguments: str) -> str:
    """Run podman; return what it prints."""
    env = os.environ | engine
    done = subprocess.run(["podman", *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"podman {' '.join(arguments)}: {done.stderr[-3000:]}"
    return done.stdout.strip()

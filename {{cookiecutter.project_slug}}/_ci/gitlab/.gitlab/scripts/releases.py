"""The releases of this project: their names, their runs, and a new one.

Usage: releases.py tags
       releases.py previous PLAN FOLDER  the run of the release before, which a plan of `ml ci release plan` names
       releases.py newest FOLDER         the run of the newest release; exit status 3 where there is none
       releases.py all FOLDER            the runs of the last 50 releases, and what `monitor` last found
       releases.py publish FOLDER        FOLDER holds card.md and run.tar.gz

`publish` needs ML_TAG and ML_IMAGE, as `ml ci release plan` prints them, and a login of skopeo. Its last step makes the
release, since that says that this commit is released: a job that was killed before it can be run again.
"""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import gitlab_api

SHOWN = 50
RUN = "run.tar.gz"
FINDING = "packages/generic/monitor/last/drift.json"
REVISION = '{{index .Labels "org.opencontainers.image.revision"}}'


def tags() -> list[str]:
    """Return the names of the releases, newest first."""
    return [release["tag_name"] for release in gitlab_api.listed("releases", order_by="released_at", sort="desc")]


def models() -> list[str]:
    """Return the names of the releases of models, newest first."""
    return [tag for tag in tags() if tag.startswith("model-")]


def package(tag: str) -> str:
    """Return the path of a release's run in the project's package registry."""
    return f"packages/generic/model/{tag}/{RUN}"


def fetch(tag: str, folder: Path) -> None:
    """Download and unpack the run of a release."""
    folder.mkdir(parents=True)
    archive = folder / RUN
    archive.write_bytes(gitlab_api.call(package(tag)))
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    archive.unlink()
    for path in list((folder / "model").iterdir()):
        path.rename(folder / path.name)
    (folder / "model").rmdir()


def fetch_all(folder: Path) -> None:
    """Download what the page of releases shows."""
    folder.mkdir(parents=True, exist_ok=True)
    for tag in models()[:SHOWN]:
        try:
            fetch(tag, folder / tag)
        except gitlab_api.Refused as error:
            if error.status != 404:
                raise
            print(f"{tag}: its run is not in the package registry any more; the page shows the others")
            (folder / tag).rmdir()
    try:
        Path("drift.json").write_bytes(gitlab_api.call(FINDING))
    except gitlab_api.Refused as error:
        if error.status != 404:
            raise


def publish(folder: Path) -> None:
    """Name the image after the release, and make the release."""
    tag, image, commit = os.environ["ML_TAG"], os.environ["ML_IMAGE"], os.environ["CI_COMMIT_SHA"]
    if tag in tags():
        print(f"{tag} is released already: nothing to do.")
        return
    source = f"docker://{image}:{commit}"
    _skopeo("copy", "--preserve-digests", source, f"docker://{image}:{tag.removeprefix('model-')}")
    gitlab_api.call(package(tag), "PUT", (folder / RUN).read_bytes())
    newest = _is_newest(image, commit)
    if newest:
        _skopeo("copy", "--preserve-digests", source, f"docker://{image}:latest")
    else:
        print(f"{tag} is released beside a newer one: latest stays where it is.")
    link = {"name": RUN, "link_type": "package"}
    link["url"] = f"{os.environ['CI_API_V4_URL']}/projects/{os.environ['CI_PROJECT_ID']}/{package(tag)}"
    text = (folder / "card.md").read_text(encoding="utf-8")
    digest = _skopeo("inspect", "--no-tags", "--format", "{{.Digest}}", source)
    text += f"\n**Image**: `{image}@{digest}`\n"
    champion = "--champion" if newest else "--no-champion"
    Path("published.env").write_text(f"ML_DIGEST={digest}\nML_CHAMPION={champion}\n", encoding="utf-8")
    release = {"tag_name": tag, "ref": commit, "name": tag, "description": text, "assets": {"links": [link]}}
    gitlab_api.call("releases", "POST", release)
    print(f"{tag} is released.")


def _is_newest(image: str, commit: str) -> bool:
    """Whether `latest` is of no newer commit of the branch; its own label says of which it is."""
    done = subprocess.run(
        ["skopeo", "inspect", "--no-tags", "--format", REVISION, f"docker://{image}:latest"],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        if "manifest unknown" in done.stderr.lower() or "not found" in done.stderr.lower():
            return True
        sys.exit(done.stderr)
    released = done.stdout.strip()
    subprocess.run(["git", "fetch", "--quiet", "origin", os.environ["CI_DEFAULT_BRANCH"]], check=True)
    newer = subprocess.run(["git", "merge-base", "--is-ancestor", commit, released]).returncode == 0
    return released == commit or not newer


def _skopeo(*arguments: str) -> str:
    done = subprocess.run(["skopeo", *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"skopeo {arguments[0]} failed: nothing is released; run this job again")
    return done.stdout.strip()


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["tags"]:
            print(*tags(), sep="\n")
        case ["previous", plan, folder]:
            values = dict(line.split("=", 1) for line in Path(plan).read_text(encoding="utf-8").splitlines())
            if values["ML_PREVIOUS"]:
                fetch(values["ML_PREVIOUS"], Path(folder))
        case ["newest", folder]:
            found = models()
            if not found:
                sys.exit(3)
            fetch(found[0], Path(folder))
        case ["all", folder]:
            fetch_all(Path(folder))
        case ["publish", folder]:
            publish(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    gitlab_api.run(main)

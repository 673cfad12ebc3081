"""Write the notes of a release, for when GitHub signs it and for when nobody does: `signed.md` and `unsigned.md`.

Usage: release_notes.py FOLDER, which holds the model card as `card.md`. What came since the release before is GitHub's
to say: of several merges within minutes it cancels all but the newest, which names here what it brings of theirs.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import last_look

SHOWN = 50
UNSIGNED = (
    "Nobody signed it: GitHub attests for public repositories and on Enterprise Cloud. "
    "`provenance.json` says the same, unsigned."
)


def main() -> None:
    """Write both, and say in the job's summary when `monitor` last looked."""
    folder, env = Path(sys.argv[1]), os.environ
    card, looked = (folder / "card.md").read_text(encoding="utf-8"), last_look.line(datetime.now(UTC))
    below = [since(env["PREVIOUS"], commits(env)), looked]
    for name, said in (("signed.md", signed(env)), ("unsigned.md", UNSIGNED)):
        (folder / name).write_text(notes(card, said, below), encoding="utf-8")
    with Path(env["GITHUB_STEP_SUMMARY"]).open("a", encoding="utf-8") as summary:
        summary.write(f"\n{looked}\n")


def notes(card: str, said: str, below: list[str]) -> str:
    """The model card, the line on its provenance, and what else there is to say."""
    return "\n".join([card.rstrip("\n"), *(f"\n{text}" for text in [f"**Provenance**: {said}", *below] if text), ""])


def signed(env: Mapping[str, str]) -> str:
    """How a signature is checked."""
    repository = env["GITHUB_REPOSITORY"]
    return (
        f"signed by GitHub. `gh attestation verify run.tar.gz --repo {repository} --signer-workflow "
        f"{repository}/.github/workflows/release.yml --source-ref {env['GITHUB_REF']}` checks it."
    )


def since(previous: str, found: list[str]) -> str:
    """The commits since the release before."""
    return f"**Since {previous}**: {', '.join(commit[:7] for commit in found[-SHOWN:])}" if found else ""


def commits(env: Mapping[str, str]) -> list[str]:
    """Ask GitHub for the commits since the release before, oldest first; none where it does not know."""
    previous = env["PREVIOUS"]
    if not previous:
        return []
    between = f"{previous.rpartition('-')[2]}...{env['GITHUB_SHA']}"
    asked = ["gh", "api", f"repos/{env['GITHUB_REPOSITORY']}/compare/{between}", "--jq", "[.commits[].sha]"]
    done = subprocess.run(asked, check=False, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        print(f"::notice::What came since {previous} is not known.")
        return []
    found: list[str] = json.loads(done.stdout)
    return found


if __name__ == "__main__":
    main()

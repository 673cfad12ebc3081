#!/usr/bin/env python3
"""Takes the place of uv, and so of everything that it starts, where a test is about the order of a workflow's steps.

What it was asked to run goes to the file `asked` in the state folder; what the file `fails` lists there ends with 1.
"""

import os
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["STANDIN"])
command = " ".join(sys.argv[1:]).removeprefix("run --no-sync ")
with (STATE / "asked").open("a") as file:
    file.write(command + "\n")
fails = STATE / "fails"
if fails.exists() and any(command.startswith(line) for line in fails.read_text().splitlines()):
    sys.exit(f"{command}: fails, as the test wants")


def write(path: str, text: str = "{}") -> None:
    """Write a file and its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).unlink(missing_ok=True)
    Path(path).write_text(text)


match sys.argv[1:]:
    case ["sync", *_]:
        write(".venv/bin/python", "#!/bin/sh\nexec sleep 30\n")
        Path(".venv/bin/python").chmod(0o755)
    case [_, _, "ml", "data", "pull"] if Path(".dvc").is_dir():
        write(".dvc/cache/files/md5/01/23", "bytes")
    case [_, _, "ml", "train", "--out", out]:
        write(f"{out}/metrics.json")
        write(f"{out}/manifest.json")
    case [_, _, "ml", "card", *_]:
        print("# Model card")
    case [_, _, "ml", "package", *options]:
        write("bento/Containerfile", "FROM scratch\n")
        name = options[options.index("--image") + 1]
        # No two images are alike, as no two commits are.
        write("bento/commit", name)
        label = f"--label=org.opencontainers.image.revision={os.environ['GITHUB_SHA']}"
        subprocess.run(["docker", "build", label, "--tag", name, "--file", "Containerfile", "bento"], check=True)

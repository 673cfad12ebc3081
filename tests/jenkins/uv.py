"""Takes uv's place in a build: one prepared environment serves every workspace, with the workspace's own sources.

What was asked goes to the file `asked`; what `fails` lists ends with 1. Where the file `pretends` lies, what takes long
only pretends: what is tested then is the order of things. `ml ci` always is the real one.
"""

import os
import subprocess
import sys
from pathlib import Path

STATE, ENVIRONMENT = Path(os.environ["STANDIN"]), Path(os.environ["ENVIRONMENT"])
command = " ".join(sys.argv[1:]).removeprefix("run --no-sync ")
with (STATE / "asked").open("a") as file:
    file.write(command + "\n")
fails = STATE / "fails"
if fails.exists() and any(command.startswith(line) for line in fails.read_text().splitlines()):
    sys.exit(f"{command}: fails, as the test wants")
FIRST = "3.11"
pretends = (STATE / "pretends").exists()


def write(path: str, text: str = "{}") -> None:
    """Write a file and its folder."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text)


match sys.argv[1:]:
    case ["sync", *options]:
        if options[:2] != ["--locked", "--no-default-groups"]:
            sys.exit("what is installed is what the lock says, and what is asked for")
        python = Path(".venv/bin/python")
        python.parent.mkdir(parents=True, exist_ok=True)
        python.unlink(missing_ok=True)
        if pretends:
            write(str(python), "#!/bin/sh\nexec sleep 30\n")
            python.chmod(0o755)
        else:
            write(str(python), f'#!/bin/sh\nexec "{ENVIRONMENT}/bin/python" "$@"\n')
            python.chmod(0o755)
    case [_, _, "pre-commit" | "pytest", *_]:
        pass
    case [_, _, "ml", *_] if os.environ.get("UV_PYTHON", FIRST) != FIRST:
        pass  # one Python's tests are enough
    case [_, _, "ml", "train", "--out", out] if pretends:
        write(f"{out}/metrics.json")
        write(f"{out}/manifest.json")
    case [_, _, "ml", "drift", *_] if pretends:
        write("drift/drift.md", "## Data since training: stable ✅\n")
    case [_, _, "ml", "card", *_] if pretends:
        print("# Model card")
    case [_, _, "ml", "package", *options] if pretends:
        write("bento/Containerfile", "FROM scratch\n")
        name = options[options.index("--image") + 1]
        write("bento/commit", name)  # no two images are alike
        subprocess.run(["docker", "build", "--tag", name, "--file", "Containerfile", "bento"], check=True)
    case [_, _, "ml", verb, *_] if pretends and verb != "ci":
        pass
    case ["run", "--no-sync", program, *arguments]:
        sources = [Path("src").absolute(), Path("packages/mlcicd/src").absolute()]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sources))}
        os.execve(ENVIRONMENT / "bin" / program, [program, *arguments], environment)
    case ["export", *_]:
        os.execv(os.environ["REAL_UV"], ["uv", *sys.argv[1:]])
    case other:
        sys.exit(f"the stand-in does not know {other}")

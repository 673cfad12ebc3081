"""Refuse answers that would make a project which does not work, each with one line: what, where, what to do.

Runs inside the still empty folder of the new project, with the standard library alone.
"""

from __future__ import annotations

import json
import keyword
import re
import sys
import unicodedata

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
MAX_SLUG = 100  # GitHub
MAX_PACKAGE = 60  # paths on Windows are short
MAX_DESCRIPTION = 350  # GitHub
# What cookiecutter.json derives from a name without a letter or digit.
UNNAMED = "_"

# Windows opens a device instead of a file of these names, with any ending.
WINDOWS_DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}

# Distributions that the project depends on, itself or through them: uv would take the project for the dependency.
DISTRIBUTIONS = {
    *(
        "anyio",
        "attrs",
        "bentoml",
        "chardet",
        "clevercsv",
        "click",
        "cloudpickle",
        "dask",
        "distributed",
        "filelock",
        "fsspec",
        "gunicorn",
        "uv-build",
        "httptools",
        "httpx",
    ),
    *("hypothesis", "jinja2", "joblib", "matplotlib", "mlcicd", "mypy", "numpy", "pandas", "pandas-stubs", "pillow"),
    *("msgpack", "pip", "polars", "pre-commit", "tblib", "toolz"),
    *("pre-commit-hooks", "prometheus-client", "pyarrow", "pydantic", "pydantic-core", "pytest", "pyyaml"),
    *("requests", "rich", "ruff", "scikit-learn", "scipy", "setuptools", "six", "skops", "skrub", "starlette"),
    *("typer", "types-pyyaml", "uv", "uvicorn", "uvicorn-worker", "uvloop", "virtualenv", "wheel"),
}

# Modules that the project or its tools import: a package of that name would hide them, or be hidden.
IMPORTS = {
    *("conftest", "ml", "pil", "pkg_resources", "sklearn", "src", "test", "tests", "yaml"),
    *(name.replace("-", "_") for name in DISTRIBUTIONS),
}


def shown(value: str) -> str:
    """The value in quotes, on one line and not too long for it."""
    text = repr(value)
    return text if len(text) <= 62 else f"{text[:58]}...{text[-1]}"


def unprintable(text: str) -> str | None:
    """The first character that no single line of text should hold: control, line break, surrogate, direction change."""
    return next((c for c in text if unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} or is_bidi_control(c)), None)


def is_bidi_control(character: str) -> bool:
    """Whether it reorders the text around it on screen, so that a reader sees other text than the computer."""
    return unicodedata.bidirectional(character) in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def text_problem(text: str) -> str | None:
    """Why a free text cannot be used."""
    character = unprintable(text)
    if character is not None:
        return f"contains U+{ord(character):04X}, which is no printable character; type the text on one line"
    return None


def name_problem(name: str) -> str | None:
    """Why the project cannot have this name."""
    if not name.strip():
        return "is empty; answer with the project's name, such as project_name='Customer churn'"
    return text_problem(name)


def slug_problem(slug: str) -> str | None:
    """Why GitHub, git, Windows or Python packaging would refuse a repository of this name."""
    if slug == UNNAMED:
        return "cannot be made from a project name without a letter or digit; answer it, such as project_slug=my-model"
    if len(slug) > MAX_SLUG:
        return f"has {len(slug)} characters, GitHub allows {MAX_SLUG}; answer with a shorter name"
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", slug):
        return (
            f"{shown(slug)} is no repository name; use letters, digits, '-', '_' and '.', with a letter or digit at "
            "both ends, such as project_slug=my-model"
        )
    if slug.lower().endswith((".git", ".wiki", ".atom")):
        return f"{shown(slug)} ends in a way that GitHub keeps for itself; leave the ending out"
    suggestion = "answer with another name, such as project_slug=my-model"
    if slug.lower().split(".")[0] in WINDOWS_DEVICES:
        return f"{shown(slug)} is the name of a device on Windows; {suggestion}"
    if re.sub(r"[-_.]+", "-", slug.lower()) in DISTRIBUTIONS:
        return f"{shown(slug)} is a package that the project uses; {suggestion}"
    return None


def package_problem(package: str) -> str | None:
    """Why Python could not import a package of this name, or would import another one."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", package):
        return (
            f"{shown(package)} is no package name; use letters, digits and '_', with a letter first, such as "
            "package_name=my_model"
        )
    if len(package) > MAX_PACKAGE:
        return f"has {len(package)} characters; answer with at most {MAX_PACKAGE}"
    # File systems of Windows and macOS do not tell Json from json.
    lower = package.lower()
    suggestion = f"answer with another, such as package_name={package}_model"
    if keyword.iskeyword(package):
        return f"{shown(package)} is a keyword of Python; {suggestion}"
    if lower in WINDOWS_DEVICES:
        return f"{shown(package)} is the name of a device on Windows; {suggestion}"
    if lower in {name.lower() for name in sys.stdlib_module_names}:
        return f"{shown(package)} is a module of Python's standard library; {suggestion}"
    if lower in IMPORTS:
        return f"{shown(package)} is a module that the project uses; {suggestion}"
    return None


def description_problem(description: str) -> str | None:
    """Why the sentence cannot describe the repository."""
    if len(description) > MAX_DESCRIPTION:
        return f"has {len(description)} characters, GitHub allows {MAX_DESCRIPTION}; shorten it"
    return text_problem(description)


def group_problem(owner: str) -> str | None:
    """Why GitLab would have no such user or group."""
    part = r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_-])?"
    if len(owner) > 255 or not re.fullmatch(rf"{part}(/{part})*", owner):
        return f"{shown(owner)} is no user or group of GitLab; use its path, as in gitlab.com/GROUP/SUBGROUP"
    return None


def owner_problem(owner: str) -> str | None:
    """Why GitHub would have no such user or organisation."""
    if len(owner) > 39 or not re.fullmatch(r"[A-Za-z0-9]+(-[A-Za-z0-9]+)*", owner):
        return (
            f"{shown(owner)} is no GitHub name; use 1 to 39 letters, digits and single '-' between them, as in the "
            "address github.com/NAME"
        )
    return None


def python_problem(version: str) -> str | None:
    """Why the project cannot start from this Python."""
    if version not in PYTHONS:
        return f"{shown(version)} is not supported; answer with one of {', '.join(PYTHONS)}"
    return None


def choices_problem(answers: dict[str, str]) -> str | None:
    """Why two answers do not go together."""
    ci, deploy = answers.get("ci", "github"), answers.get("deploy", "none")
    if ci != "github" and deploy not in ("none", "docker"):
        return (
            f"{deploy} does not go with ci={ci}: `ml deploy` reads releases of GitHub, and checks the provenance "
            "that its workflow writes; answer deploy=none or deploy=docker, or ci=github"
        )
    return None


def problems(answers: dict[str, str]) -> list[str]:
    """One line for each answer that must change.

    Parameters
    ----------
    answers : dict
        What the user answered, by the name of the question.

    Returns
    -------
    list of str
        Empty when a project can be made. The name, the slug and the package are made from one another, so only the
        first bad one of them is named.
    """
    chain = (("project_name", name_problem), ("project_slug", slug_problem), ("package_name", package_problem))
    owner = group_problem if answers.get("ci") == "gitlab" else owner_problem
    rest = (("description", description_problem), ("github_owner", owner), ("python_version", python_problem))
    found = [(field, check(answers[field])) for field, check in chain]
    first_of_chain = [(field, problem) for field, problem in found if problem][:1]
    others = [(field, check(answers[field])) for field, check in rest]
    together = [("deploy", choices_problem(answers))]
    return [f"{field}: {problem}" for field, problem in first_of_chain + others + together if problem]


def main() -> int:
    """Print what must change; 1 stops cookiecutter, which then removes the folder."""
    answers = json.loads({{cookiecutter | tojson | tojson}})  # noqa: F821
    if sys.version_info < (3, 10):  # noqa: UP036 - whatever Python cookiecutter was installed with
        print("python: cookiecutter runs on Python older than 3.10; install it with a newer one", file=sys.stderr)
        return 1
    lines = problems(answers)
    for line in lines:
        print(line, file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

"""A hook of MkDocs: pages of the site whose one source lies elsewhere in the repository."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}" / "docs"
CIS = PROJECT.parent / "_ci"  # GitHub's pages are the project's own


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, the security policy, and the pages that every project gets."""
    sources = {"changelog.md": ROOT / "CHANGELOG.md", "security.md": ROOT / "SECURITY.md"}
    sources |= {f"project/{path.name}": path for path in sorted(PROJECT.glob("*.md"))}
    sources |= {f"project/{ci.name}.md": ci / f"docs/{ci.name}.md" for ci in sorted(CIS.iterdir())}
    keep = _keep_marked()
    for uri, path in sources.items():
        files.append(File.generated(config, uri, content=keep(path.read_text(encoding="utf-8"))))
    return files


def _keep_marked() -> Callable[[str], str]:
    """What a bake with the default answers keeps of a page."""
    spec = importlib.util.spec_from_file_location("hook", ROOT / "hooks/post_gen_project.py")
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    questions = json.loads((ROOT / "cookiecutter.json").read_text(encoding="utf-8"))
    answers = {name: value[0] for name, value in questions.items() if isinstance(value, list)}
    return lambda text: hook.keep_marked(text, answers)

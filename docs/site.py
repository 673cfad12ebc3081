"""A hook of MkDocs: pages of the site whose one source lies elsewhere in the repository."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "{{cookiecutter.project_slug}}" / "docs"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the changelog, the security policy, and the pages that every project gets."""
    sources = {"changelog.md": ROOT / "CHANGELOG.md", "security.md": ROOT / "SECURITY.md"}
    sources |= {f"project/{path.name}": path for path in sorted(PROJECT.glob("*.md"))}
    for uri, path in sources.items():
        files.append(File.generated(config, uri, content=path.read_text(encoding="utf-8")))
    return files

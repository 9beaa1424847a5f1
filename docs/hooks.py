"""What MkDocs is told besides mkdocs.yml: pages of files outside docs/, and the API reference.

Links in the sources are those that work on GitHub. A page that links out of docs/ finds its target in the site too:
README.md is the first page, a bundle's README a page of its own, any other file is copied.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS, PACKAGE, START = "docs/", "taskgan_ros", "README.md"

_CODE_OR_LINK = re.compile(
    r"(?P<code>^(?P<fence> *(?:```|~~~))[\s\S]*?^(?P=fence)|`[^`\n]+`)|\]\((?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?\)",
    re.MULTILINE,
)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside docs/ that pages link to, and a page of the API a room."""
    for path in sorted(linked_outside()):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    for room in rooms():
        files.append(File.generated(config, f"api/{room}.md", content=api_page(room)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the page's links at where their targets are in the site."""
    place = page.file.src_uri
    if place.startswith("api/"):
        return markdown
    path = place if page.file.generated_by else DOCS + place

    def relink(match: re.Match[str]) -> str:
        if match["code"] or is_elsewhere(match["target"]):
            return match[0]
        target = site_path(resolved(path, match["target"]))
        return f"]({posixpath.relpath(target, posixpath.dirname(place) or '.')}{match['anchor'] or ''})"

    return _CODE_OR_LINK.sub(relink, markdown)


def linked_outside() -> set[str]:
    """Return the paths, from the root, of all files outside docs/ that can be reached from the pages, README.md too."""
    found, waiting = {START}, [START, *(str(page.relative_to(ROOT)) for page in (ROOT / DOCS).rglob("*.md"))]
    while waiting:
        page = waiting.pop()
        for target in targets((ROOT / page).read_text(encoding="utf-8")):
            path = resolved(page, target)
            if path.startswith(DOCS) or path in found or not (ROOT / path).is_file():
                continue
            found.add(path)
            waiting += [path] if path.endswith(".md") else []
    return found


def targets(markdown: str) -> Iterator[str]:
    """Yield the relative targets of a page's links and pictures, without anchors; code holds none."""
    for match in _CODE_OR_LINK.finditer(markdown):
        if match["target"] and not is_elsewhere(match["target"]):
            yield match["target"]


def is_elsewhere(target: str) -> bool:
    """Return whether a link's target is an address, or a path of the machine."""
    return bool(re.match(r"[a-z]+:|/", target))


def resolved(page: str, target: str) -> str:
    """Return the path, from the root, of a relative target in a page at the path `page`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), target))


def site_path(path: str) -> str:
    """Return where a file of the repository is in the site: docs/ is the site's root, others keep their path."""
    return path.removeprefix(DOCS)


def rooms() -> list[str]:
    """Return the package's rooms."""
    return sorted(file.parent.name for file in (ROOT / PACKAGE).glob("*/__init__.py"))


def api_page(room: str) -> str:
    """Return the page of a room: every public module below it that says something, from its docstrings."""
    folder = ROOT / PACKAGE / room
    files = [file for file in sorted(folder.rglob("*.py")) if not file.name.startswith("_")]
    modules = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    return "\n\n".join([f"# {room}", *(f"::: {module}" for module in modules)]) + "\n"

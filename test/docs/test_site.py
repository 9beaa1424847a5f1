"""`make docs`: the site builds without a warning, and loads nothing from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hooks import linked_outside, rooms, targets

ROOT = Path(__file__).resolve().parents[2]
LOADS = re.compile(r'<(?:script|img|iframe|source|link)\b[^>]*?\s(?:src|href)="?([^"\s>]+)')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a broken link or anchor, or a page without a place, ends it."""
    out = tmp_path_factory.mktemp("docs") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return out


def loaded(page: Path) -> list[str]:
    """Return the addresses of what a page loads; a link that leads elsewhere loads nothing."""
    return LOADS.findall(page.read_text(encoding="utf-8"))


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert {address for page in pages for address in loaded(page) if re.match(r"(\w+:)?//", address)} == set()
    for page in pages:
        if page.name != "404.html":  # whose addresses are the server's
            for address in loaded(page):
                assert (page.parent / address.partition("?")[0]).is_file() or address.startswith("data:"), page


def test_files_outside_docs_are_pages_and_pictures_of_the_site(site: Path) -> None:
    assert "reach.gif" in (site / "index.html").read_text(encoding="utf-8")
    assert 'href="models/reach_panda/index.html"' in (site / "index.html").read_text(encoding="utf-8")
    assert (site / "models/reach_target_wood/translations.png").is_file()
    assert 'href="index.html#on-a-ros-2-machine"' in (site / "your-arm.html").read_text(encoding="utf-8")


def test_every_room_has_its_page(site: Path) -> None:
    for room in rooms():
        assert f"taskgan_ros.{room}." in (site / "api" / f"{room}.html").read_text(encoding="utf-8")


def test_search_needs_no_server(site: Path) -> None:
    assert (site / "search" / "search_index.js").is_file()


def test_links_in_code_are_no_links() -> None:
    text = "[a](b.md#c) `[d](e.md)` ![f](g.png)\n\n```\n[h](i.md)\n```\n[j](https://k) [l](#m)"
    assert list(targets(text)) == ["b.md", "g.png"]


def test_what_pages_link_to_outside_docs_is_found_by_way_of_other_pages() -> None:
    assert {"README.md", "models/reach_panda/README.md", "models/reach_panda/translations.png"} <= linked_outside()

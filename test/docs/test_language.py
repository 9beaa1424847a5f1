from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "language.py"


@pytest.fixture(scope="module")
def language() -> ModuleType:
    spec = importlib.util.spec_from_file_location("language", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["language"] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_readme_and_docs_have_short_sentences(language: ModuleType) -> None:
    figures = language.measure([sentence for page in language.pages() for sentence in language.sentences(page)])
    assert figures.median <= language.MEDIAN_WORDS
    assert figures.long_share < language.LONG_SHARE


def test_only_prose_counts(language: ModuleType, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A heading. Of two\n\nOne `two words. here` [three](four.md). It (e.g. this) goes\non!\n\n- An item\n\n"
        "| a table. | no |\n| --- | --- |\n| none | none |\n\n```\ncode. no\n```\n![A picture. No](p.png)\n"
    )
    found = [(sentence.line, sentence.words) for sentence in language.sentences(page)]
    assert found == [(3, 3), (3, 5), (6, 2)]

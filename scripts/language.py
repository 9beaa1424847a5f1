"""Measure how long the sentences of README and docs are: `python scripts/language.py [FILES] [--longest 20]`.

Only prose counts: paragraphs and list items. Code blocks, headings, tables and pictures do not; `code` in a sentence is
one word.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parent.parent
MEDIAN_WORDS, LONG_WORDS, LONG_SHARE = 16, 30, 0.05  # of all pages together: at most, and at most so many longer

_MADE = {"docs/reliability.md"}  # by a script, from JSON
_END = re.compile(r"(?<!\be\.g\.)(?<!\bi\.e\.)(?<!\bal\.)(?<=[.!?])[)\"”’]*\s+")
_LETTER = re.compile(r"\w")


@dataclass(frozen=True)
class Sentence:
    """A sentence of a page.

    Attributes:
        page: its file.
        line: where its paragraph begins, from 1.
        text: without markup.
    """

    page: Path
    line: int
    text: str

    @property
    def words(self) -> int:
        """How many words it has; what has no letter or digit is none."""
        return sum(bool(_LETTER.search(word)) for word in self.text.split())


def pages() -> list[Path]:
    """Return README and the pages that people write."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if page.relative_to(ROOT).as_posix() not in _MADE and "results" not in page.parts]


def sentences(page: Path) -> Iterator[Sentence]:
    """Yield those of a Markdown file's paragraphs and lists."""
    inside = 0  # a heading or a table
    for token in MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")):
        if token.type.startswith(("heading", "table")):
            inside += token.nesting
        if token.type != "inline" or inside:
            continue
        for text in _END.split(_plain(token)):
            if _LETTER.search(text):
                yield Sentence(page, (token.map or [0])[0] + 1, " ".join(text.split()))


def _plain(token: Token) -> str:
    """Return what one reads of a paragraph; code is one word, a picture none."""
    words = []
    for child in token.children or ():
        if child.type in ("text", "code_inline"):
            words.append(child.content if child.type == "text" else re.sub(r"[\s.!?]+", "_", child.content))
        elif child.type == "softbreak":
            words.append(" ")
    return "".join(words)


@dataclass(frozen=True)
class Figures:
    """How long sentences are.

    Attributes:
        count: of sentences.
        median: words of one.
        long_share: the share with more than `LONG_WORDS`.
    """

    count: int
    median: float
    long_share: float


def measure(found: list[Sentence]) -> Figures:
    """Return the figures of at least one sentence."""
    words = [sentence.words for sentence in found]
    return Figures(len(words), statistics.median(words), sum(count > LONG_WORDS for count in words) / len(words))


def main() -> None:
    """Print a line a page, the figures of all, and the longest sentences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="Markdown files; all pages by default")
    parser.add_argument("--longest", type=int, default=0, help="how many of the longest sentences to print")
    given = parser.parse_args()
    by_page = {page: list(sentences(page)) for page in given.files or pages()}
    everything = [sentence for found in by_page.values() for sentence in found]
    for page, found in {**by_page, Path("all"): everything}.items():
        if found:
            figures = measure(found)
            print(f"{figures.median:5.1f} words  {figures.long_share:5.1%} long  {figures.count:5} sentences  {page}")
    for sentence in sorted(everything, key=lambda each: -each.words)[: given.longest]:
        print(f"\n{sentence.page}:{sentence.line}: {sentence.words} words\n  {sentence.text}")


if __name__ == "__main__":
    main()

"""What the guides tell a reader to type exists: commands with their options, make's targets, launch arguments."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import tyro
from commands import help_of

from taskgan_ros.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md", *ROOT.glob("models/*/README.md"), *(ROOT / "docs").rglob("*.md")]
MADE = {"commands.md"}  # of the help itself
FENCED = re.compile(r"^( *)```(?:bash|sh|console)?\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
ELLIPSIS = "…"

Parse = Callable[[Sequence[str]], None]


class ParsedError(Exception):
    """Arguments are right: the command itself is not to run."""


def lines(text: str) -> Iterator[str]:
    """Yield what is typed in a page: the lines of its blocks, those that go on joined, and code within sentences."""
    for _, block in FENCED.findall(text):
        yield from re.sub(r"\\\n\s*", " ", block).splitlines()
    yield from INLINE.findall(FENCED.sub("", text))


def typed(start: str) -> list[tuple[str, list[str]]]:
    """Return the words of each command that begins with `start`, and on which page it is."""
    found = []
    for page in (page for page in GUIDES if page.name not in MADE):
        for line in lines(page.read_text(encoding="utf-8")):
            for command in re.split(r" && |; ", line.strip()):
                if command.startswith(start):
                    with contextlib.suppress(ValueError):  # a quote that is closed on another line
                        found.append((str(page.relative_to(ROOT)), shlex.split(command, comments=True)))
    return found


def verb_of(words: Sequence[str]) -> tuple[str, ...]:
    """Return the verb that a command's words, without `taskgan`, begin with; nothing where it is a person's to fill."""
    return next((verb for verb in VERBS if tuple(words[: len(verb)]) == verb), ())


@pytest.fixture(scope="module")
def options() -> Callable[[tuple[str, ...]], set[str]]:
    """Return a function that gives a verb's options."""
    known: dict[tuple[str, ...], set[str]] = {}

    def of(verb: tuple[str, ...]) -> set[str]:
        if verb not in known:
            known[verb] = {"--help", *re.findall(r"--[a-z0-9][\w.-]*", help_of(verb))}
        return known[verb]

    return of


@pytest.fixture
def parse(monkeypatch: pytest.MonkeyPatch) -> Parse:
    """Return a function that parses a command's words as the command does; what is wrong with them ends the process."""
    real = tyro.cli

    def parse_only(*given: Any, **named: Any) -> NoReturn:
        real(*given, **named)
        raise ParsedError

    monkeypatch.setattr(tyro, "cli", parse_only)

    def check(words: Sequence[str]) -> None:
        verb = verb_of(words)
        with contextlib.redirect_stderr(io.StringIO()), pytest.raises(ParsedError):
            VERBS[verb](words[len(verb) :])

    return check


def test_every_command_and_option_of_the_guides_exists(options: Callable[[tuple[str, ...]], set[str]]) -> None:
    unknown = []
    for page, (_, *words) in typed("taskgan "):
        verb = verb_of(words)
        if not verb and words[0] not in ("VERB", "--help", ELLIPSIS):
            unknown.append(f"{page}: taskgan {' '.join(words)}")
        own = words[: words.index("--")] if "--" in words else words  # the rest is Snakemake's
        given = {word.partition("=")[0] for word in own if re.match(r"--[a-z]", word)}
        if verb and (other := given - options(verb)):
            unknown.append(f"{page}: taskgan {' '.join(verb)} has no {', '.join(sorted(other))}")
    assert unknown == []


def test_every_whole_command_in_a_block_can_be_typed(parse: Parse) -> None:
    blocks = [
        shlex.split(line, comments=True)[1:]
        for page in GUIDES
        for _, block in FENCED.findall(page.read_text(encoding="utf-8"))
        for line in re.sub(r"\\\n\s*", " ", block).splitlines()
        if line.startswith("taskgan ") and ELLIPSIS not in line and "VERB" not in line
    ]
    assert len(blocks) > 20
    for words in blocks:
        parse(words)


def test_a_wrong_option_in_a_guide_would_be_seen(parse: Parse) -> None:
    parse(["arm", "mico"])
    with pytest.raises(SystemExit):
        parse(["arm", "mico", "--no-such-option"])


def test_every_target_of_make_exists(parse: Parse) -> None:
    names = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    used = [(page, words) for page, words in typed("make ") if page.endswith(".md")]
    assert used
    for page, words in used:
        assert words[1] in names, f"{page}: {' '.join(words)}"
        if words[1] == "reach" and len(words) > 2 and ELLIPSIS not in words[2]:
            parse(["reach", *shlex.split(words[2].removeprefix("ARGS="))])


def test_every_argument_of_a_launch_file_is_declared() -> None:
    shared = declared(ROOT / "taskgan_ros" / "nodes" / "launching.py")
    used = typed("ros2 launch taskgan_ros ")
    assert used
    for page, words in used:
        file, given = words[3], [word.partition(":=")[0] for word in words[4:] if ":=" in word]
        own = declared(ROOT / "launch" / file)
        assert set(given) <= own | shared, f"{page}: {file} declares {sorted(own | shared)}"


def declared(file: Path) -> set[str]:
    """Return the names of the launch arguments that a source file declares."""
    return set(re.findall(r'DeclareLaunchArgument\(\s*"(\w+)"', file.read_text(encoding="utf-8")))

"""Standard output and error that never fail: what a closed pipe, a lost terminal or a full disk refuses is dropped."""

from __future__ import annotations

import codecs
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO, cast

from taskgan_ros.core.errors import InputError

_LOOK_ALIKE = {"±": "+-", "×": "x", "–": "-", "−": "-", "’": "'"}
_ERRORS = "taskgan_ros.look_alike"
_STDERR = 2


class Stream:
    """A text stream that never fails.

    Attributes:
        fault: why it no longer accepts output; None while it does.
    """

    def __init__(self, stream: TextIO | None) -> None:
        """Write to `stream`, which is None where the process was started with it closed."""
        self._stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123  # open until exit
        self.fault: Exception | None = None if stream else OSError("it is closed")

    def write(self, text: str) -> int:
        """Write `text`, with look-alikes for characters that the encoding lacks."""
        try:
            self._stream.write(self._encodable(text))
        except (OSError, ValueError) as error:  # ValueError: the stream is closed
            self._give_up(error)
        return len(text)

    def flush(self) -> None:
        """Flush what is buffered."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._give_up(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _encodable(self, text: str) -> str:
        encoding = self._stream.encoding or "utf-8"
        try:
            text.encode(encoding, self._stream.errors or "strict")
        except UnicodeEncodeError:
            return text.encode(encoding, _ERRORS).decode(encoding)
        return text

    def _give_up(self, error: Exception) -> None:
        self.fault = self.fault or error
        with contextlib.suppress(OSError, ValueError):  # what is still in buffers would fail again as Python ends
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)


@contextlib.contextmanager
def never_failing() -> Iterator[None]:
    """Let no printing within the block fail, from any module."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, Stream(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = before


def fault() -> Exception | None:
    """Return why standard output has not taken all that was printed, None where it has."""
    sys.stdout.flush()
    return sys.stdout.fault if isinstance(sys.stdout, Stream) else None


def check_shown(what: str) -> None:
    """Raise InputError if `what`, which is saved nowhere else, did not reach standard output."""
    if error := fault():
        raise InputError(f"standard output: expected to print {what} there, got: {error}")


def open_standard() -> None:
    """Reopen closed standard streams; otherwise the next opened files take their descriptors, and the output."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        os.set_inheritable(number, True)
    os.close(number)


def _look_alike(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    plain = "".join(_LOOK_ALIKE.get(char) or char.encode("ascii", "backslashreplace").decode() for char in found)
    return plain, error.end


codecs.register_error(_ERRORS, _look_alike)

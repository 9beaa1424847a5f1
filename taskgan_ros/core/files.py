"""Atomic file writes, and locks that let only one command write at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from taskgan_ros.core.errors import InputError, OutputExistsError

_POINTER: Final = b"version https://git-lfs"


def check_free(path: Path) -> None:
    """Refuse a path where nothing new can be created.

    Raises:
        OutputExistsError: something is there.
        InputError: it is `-`, which other programs take for standard output.
    """
    if str(path) == "-":
        raise InputError("expected a path to write to, got -, which stands for standard output: for a file, write ./-")
    if os.path.lexists(path):
        raise OutputExistsError(path)


def check_outputs(paths: Sequence[Path]) -> None:
    """Refuse output paths unless all of them can be created; missing parent folders are allowed.

    Raises:
        InputError: as `check_free`; or two paths are equal, or a parent is a file.
    """
    for path in paths:
        check_free(path)
        if not (above := _nearest_above(path)).is_dir():
            raise InputError(f"{path}: expected a folder at {above}, got a file")
    resolved = [path.resolve() for path in paths]
    if same := [path for k, path in enumerate(paths) if path.resolve() in resolved[:k]]:
        raise InputError(f"expected outputs that differ, got {same[0]} twice")


def check_fetched(path: Path) -> None:
    """Refuse a Git LFS pointer, which a clone without `git lfs pull` leaves in place of the file.

    Raises:
        InputError: it is a pointer. A missing or unreadable file passes.
    """
    start = b""
    with contextlib.suppress(OSError), path.open("rb") as file:
        start = file.read(len(_POINTER))
    if start == _POINTER:
        raise InputError(f"{path}: expected the file itself, got Git LFS's pointer to it: `git lfs pull` fetches it")


def make_folder(path: Path) -> None:
    """Make a folder and those above it where they are missing.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: expected to make a folder there, got: {error}") from error


def check_reachable(path: Path) -> None:
    """Refuse a path whose nearest existing parent is not a writable folder; missing parents are allowed.

    Raises:
        InputError: names that parent.
    """
    above = _nearest_above(path)
    if not above.is_dir():
        raise InputError(f"{path}: expected only folders above it, got {above}, which is not one")
    if not os.access(above, os.W_OK | os.X_OK):
        raise InputError(f"{path}: expected a writable folder above it, got {above}, which is read-only here")


def check_place(path: Path) -> None:
    """Refuse a path where no new file can be written: before hours of work, not after them.

    Raises:
        InputError: as `check_free`, or its folder does not exist or is not writable.
    """
    check_free(path)
    folder = path.parent
    if not folder.is_dir():
        raise InputError(f"{path}: expected a folder that exists to write it in, got {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{path}: expected a folder to write it in, got {str(folder)!r}, which is read-only here")


def _nearest_above(path: Path) -> Path:
    """Return the nearest existing parent of a path."""
    return next(one for one in path.absolute().parents if os.path.lexists(one))


@contextlib.contextmanager
def whole(path: Path, what: str = "it") -> Iterator[Path]:
    """Yield a file beside `path` to write to, with the same suffix; it replaces `path` once the block is done.

    Raises:
        InputError: `what` cannot be written, e.g. on a full disk; the old file is kept.
    """
    partial = path.with_name(f".{os.getpid()}.{path.name}")  # two processes may write the same file
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())  # the data must reach the disk before the rename does
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: expected to write {what} there, got: {error}; what was there is intact") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Remove partial files of killed processes; no other process may be writing there."""
    for partial in folder.glob(".[0-9]*.*"):
        partial.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all; errors as `whole`."""
    with whole(path, f"{len(data) / 1e6:.1f} MB") as partial:
        partial.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all; errors as `whole`."""
    write_bytes(path, text.encode("utf-8"))


def lock(path: Path) -> BinaryIO:
    """Open or create the file; it is locked until it is closed or the process ends.

    Raises:
        BlockingIOError: another process has it.
        OSError: it cannot be opened or locked.
    """
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise
    return file

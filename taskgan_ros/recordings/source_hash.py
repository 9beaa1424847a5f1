"""Which recording a dataset is of, by content: a copy or a renamed file is the same one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from taskgan_ros.core import interrupts

_BLOCK = 2**22


def recording_hash(paths: Sequence[Path]) -> str:
    """Return `NAME blake2b:HEX` of all files of the recordings, in order."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                _add(digest, file)
    return f"{' '.join(path.resolve().name for path in paths)} blake2b:{digest.hexdigest()}"


def _add(digest: hashlib.blake2b, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            interrupts.check()
            digest.update(block)

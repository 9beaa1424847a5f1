"""Images on a disk until their episodes are known: a recording's do not fit into memory."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from taskgan_ros.core import interrupts
from taskgan_ros.core.errors import InputError
from taskgan_ros.vision.images import Image


class Spool:
    """Images (T, H, W, 3) uint8 of one size in a temporary file, written in order and read one by one."""

    def __init__(self, folder: Path, size: tuple[int, int]) -> None:
        """Start an empty one in `folder`; `size` is (H, W).

        Raises:
            InputError: the folder cannot be written to.
        """
        self._one, self._count, self._folder = (size[0], size[1], 3), 0, folder
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # open until `__exit__`
        except OSError as error:
            raise InputError(f"{folder}: expected a folder to write to, got: {error}") from error

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove it."""
        self._file.close()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) pixels of each image."""
        return self._one[:2]

    def __len__(self) -> int:
        """Return how many images there are."""
        return self._count

    def add(self, image: Image) -> None:
        """Write the next image.

        Raises:
            InputError: the disk is full.
        """
        try:
            self._file.seek(0, 2)
            self._file.write(np.ascontiguousarray(image).data)
        except OSError as error:
            raise InputError(f"{self._folder}: expected room for the images, got: {error.strerror}") from error
        self._count += 1

    def read(self, index: int) -> Image:
        """Return image `index` (H, W, 3)."""
        size = int(np.prod(self._one))
        self._file.seek(index * size)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self._one)

    def rows(self, indices: Sequence[int] | NDArray[np.intp], on_read: Callable[[int], None]) -> SpooledRows:
        """Return some of the images as what a dataset's writer takes; `on_read(1)` is called for each that it reads."""
        return SpooledRows(self, np.asarray(indices, np.intp), on_read)


class SpooledRows:
    """Images of a spool by their indices, as `data.dataset.ImageRows`."""

    def __init__(self, spool: Spool, indices: NDArray[np.intp], on_read: Callable[[int], None]) -> None:
        """Read from `spool` when asked."""
        self._spool, self._indices, self._on_read = spool, indices, on_read

    @property
    def shape(self) -> tuple[int, ...]:
        """(T, H, W, 3)."""
        return (len(self._indices), *self._spool._one)

    @property
    def nbytes(self) -> int:
        """Of all images."""
        return int(np.prod(self.shape))

    def __getitem__(self, index: int) -> Image:
        interrupts.check()
        self._on_read(1)
        return self._spool.read(int(self._indices[index]))

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import taskgan_ros
from taskgan_ros.core import files
from taskgan_ros.core.errors import InputError, OutputExistsError


def listed(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def write_in_two_parts(path: Path, between: Callable[[], object] = lambda: None) -> None:
    with files.whole(path, "both parts") as partial:
        partial.write_bytes(b"new, ")
        between()
        with partial.open("ab") as file:
            file.write(bytes(2000))


def test_the_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    write_in_two_parts(path, lambda: path.exists() and pytest.fail("half a file"))
    assert path.stat().st_size == 2005
    assert listed(tmp_path) == ["figure.png"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_fails_meanwhile_leaves_the_old_file(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")

    def fail() -> None:
        raise error

    with pytest.raises(error):
        write_in_two_parts(path, fail)
    assert path.read_text() == "old"
    assert listed(tmp_path) == ["figure.png"]


def test_a_disk_that_fills_up_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(InputError) as raised:
            write_in_two_parts(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    cause = "[Errno 27] File too large; what was there is intact"
    assert str(raised.value) == f"{path}: expected to write both parts there, got: {cause}"
    assert path.read_text() == "old"
    assert listed(tmp_path) == ["figure.png"]


def test_the_umask_says_who_may_read_it(tmp_path: Path) -> None:
    umask = os.umask(0)
    os.umask(umask)
    files.write_text(tmp_path / "page", "words")
    assert (tmp_path / "page").stat().st_mode & 0o777 == 0o666 & ~umask


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    code = """
import os, pathlib, signal, sys
from taskgan_ros.core import files
with files.whole(pathlib.Path(sys.argv[1])) as partial:
    partial.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    env = os.environ | {"PYTHONPATH": str(Path(taskgan_ros.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "checkpoint.pt")], env=env)
    (tmp_path / ".gitignore").touch()
    assert len(listed(tmp_path)) == 2
    files.remove_partials(tmp_path)
    assert listed(tmp_path) == [".gitignore"]


def test_a_lock_is_held_until_it_is_closed(tmp_path: Path) -> None:
    with files.lock(tmp_path / "lock"), pytest.raises(BlockingIOError):
        files.lock(tmp_path / "lock")
    files.lock(tmp_path / "lock").close()


def test_only_a_free_path_is_taken(tmp_path: Path) -> None:
    files.check_free(tmp_path / "new")
    files.check_free(Path("./-").absolute())
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for taken in (tmp_path, tmp_path / "dangling"):
        with pytest.raises(OutputExistsError, match="exists already"):
            files.check_free(taken)
    with pytest.raises(InputError, match="expected a path to write to, got -"):
        files.check_free(Path("-"))


def test_a_pointer_in_a_files_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "day.mcap"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:2776b1\nsize 82515\n")
    with pytest.raises(InputError, match=r"day\.mcap: expected the file itself, got .*`git lfs pull`"):
        files.check_fetched(path)
    files.check_fetched(tmp_path / "none.mcap")  # whoever opens it says that

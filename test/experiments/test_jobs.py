from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from taskgan_ros.core.config import share_dir
from taskgan_ros.core.errors import InputError
from taskgan_ros.experiments.jobs import Cache, Job, Step
from taskgan_ros.sim.collect import CollectConfig, collect


@dataclass(frozen=True)
class AddConfig:
    out: Path
    number: int
    add: Path | None = None
    seed: int = 0
    resume: bool = False


def add(config: AddConfig) -> dict[str, Any]:
    """Write number + what `add` holds; fail once half-way at 13."""
    config.out.mkdir(exist_ok=config.resume)
    (config.out / "config.yaml").touch()  # as a training run
    if config.number == 13 and not config.resume:
        raise KeyboardInterrupt
    total = config.number + (int((config.add / "sum").read_text()) if config.add else 0)
    (config.out / "sum").write_text(str(total))
    return {"total": total}


STEPS = {"add": Step(AddConfig, add), "collect": Step(CollectConfig, collect, ".h5")}


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", STEPS)


def run(cache: Cache, *jobs: Job) -> None:
    for job in jobs:
        assert cache.run(job, lambda: None)


def number(value: int, needs: Job | None = None, seed: int = 0) -> Job:
    return Job(f"number/{value}", "add", seed, {"number": value}, {"add": needs} if needs else {})


def test_a_job_works_with_what_another_made_and_is_done_in_a_new_process_too(cache: Cache) -> None:
    first = number(1)
    second = number(2, first)
    run(cache, first, second)
    again = Cache(cache.folder, STEPS)
    done = again.done(second)
    assert done is not None
    assert done.figures == {"total": 3}
    assert done.hardware
    assert (done.output / "sum").read_text() == "3"


def test_a_job_runs_once(cache: Cache) -> None:
    calls: list[str] = []
    for _ in range(2):
        cache.run(number(1), lambda: calls.append("began"))
    assert calls == ["began"]


@pytest.mark.parametrize(
    "other", [number(2), number(1, seed=1), number(1, number(5))], ids=["option", "seed", "what it comes from"]
)
def test_another_option_seed_or_source_is_another_result(cache: Cache, other: Job) -> None:
    run(cache, number(1))
    assert cache.done(other) is None
    assert cache.key(other) != cache.key(number(1))


def test_an_option_that_came_later_changes_keys_only_where_it_is_given(cache: Cache) -> None:
    @dataclass(frozen=True)
    class Newer(AddConfig):
        task_model: Path | None = None

    newer = Cache(cache.folder, {"add": Step(Newer, add)})
    assert newer.key(number(1)) == cache.key(number(1))
    given = Job("given", "add", 0, {"number": 1, "task_model": Path("run")}, {})
    assert newer.key(given) != newer.key(number(1))


@dataclass(frozen=True)
class Settings:
    steps: int = 3


@dataclass(frozen=True)
class NewerSettings(Settings):
    pixel_focus: float = 0.0


@dataclass(frozen=True)
class Nested(AddConfig):
    settings: Settings = Settings()


def test_so_does_one_inside_another_option(cache: Cache) -> None:
    nested = Cache(cache.folder, {"add": Step(Nested, add)})
    before, off, on = (
        nested.key(Job("given", "add", 0, {"number": 1, "settings": settings}, {}))
        for settings in (Settings(), NewerSettings(), NewerSettings(pixel_focus=0.25))
    )
    assert before == off != on


def test_a_job_that_was_stopped_goes_on_and_its_time_counts(cache: Cache) -> None:
    job = number(13)
    with pytest.raises(KeyboardInterrupt):
        cache.run(job, lambda: None)
    assert cache.done(job) is None
    run(cache, job)
    done = cache.done(job)
    assert done is not None
    assert done.figures == {"total": 13}


def test_a_run_that_was_killed_before_it_had_begun_begins_again(cache: Cache) -> None:
    job = number(1)
    key = cache.key(job)
    (cache.folder / f"add-{key}" / "out" / "tensorboard").mkdir(parents=True)
    run(cache, job)
    assert cache.done(job) is not None


@pytest.mark.parametrize(
    ("file", "content"), [("done.json", '{"digest": '), ("done.json", "[]"), ("done.json", "{}"), ("seconds", "long")]
)
def test_a_damaged_file_is_refused_by_name(cache: Cache, file: str, content: str) -> None:
    folder = cache.folder / f"add-{cache.key(number(1))}"
    folder.mkdir(parents=True)
    (folder / file).write_text(content)
    with pytest.raises(InputError, match=f"{folder / file}: .*expected"):
        run(cache, number(1))


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    cache = Cache(tmp_path / "cache", STEPS)
    with pytest.raises(InputError, match="expected a folder to keep jobs in, got"):
        run(cache, number(1))


def test_two_at_once_never_do_the_same_job(cache: Cache) -> None:
    held, release = threading.Event(), threading.Event()

    def announce() -> None:
        held.set()
        release.wait(60)

    other = threading.Thread(target=lambda: Cache(cache.folder, STEPS).run(number(1), announce))
    other.start()
    try:
        assert held.wait(60)
        assert not cache.run(number(1), lambda: pytest.fail("began, too"))
    finally:
        release.set()
        other.join()
    assert cache.done(number(1)) is not None


@pytest.fixture
def domain(tmp_path: Path) -> Path:
    file = tmp_path / "mine.yaml"
    file.write_text((share_dir() / "config" / "domains" / "source.yaml").read_text())
    return file


@pytest.fixture
def data(domain: Path) -> Callable[[], Job]:
    options = {"domain": str(domain), "episodes": 1, "workers": 1, "image_size": 32}
    return lambda: Job("mine/data", "collect", 0, options)


def test_a_domain_file_that_says_something_else_is_other_data(cache: Cache, domain: Path, data: Any) -> None:
    key = Cache(cache.folder, STEPS).key(data())
    domain.write_text("# a comment\n" + domain.read_text())
    assert Cache(cache.folder, STEPS).key(data()) == key
    domain.write_text(domain.read_text().replace("[0.85, 0.08, 0.08]", "[0.1, 0.1, 0.8]"))
    assert Cache(cache.folder, STEPS).key(data()) != key


def test_a_photo_beside_a_domain_file_that_shows_something_else_is_other_data(
    cache: Cache, domain: Path, data: Any
) -> None:
    photo = domain.parent / "photo.png"
    photo.write_bytes(b"one")
    values = yaml.safe_load(domain.read_text())
    values["table"]["photos"] = ["photo.png", "skimage:brick"]
    domain.write_text(yaml.safe_dump(values))
    key = Cache(cache.folder, STEPS).key(data())
    assert Cache(cache.folder, STEPS).key(data()) == key
    photo.write_bytes(b"another")
    assert Cache(cache.folder, STEPS).key(data()) != key


def test_a_dataset_that_was_whole_when_the_process_ended_is_not_collected_again(
    cache: Cache, data: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run(cache, data())
    done = cache.done(data())
    assert done is not None
    (done.output.parent / "done.json").unlink()
    capsys.readouterr()
    again = Cache(cache.folder, STEPS)
    run(again, job := data())
    found = again.done(job)
    assert found is not None
    assert found.digest == done.digest
    assert "images of" not in capsys.readouterr().out


def test_what_comes_from_data_is_keyed_by_what_the_data_holds(cache: Cache, domain: Path, data: Any) -> None:
    def of(job: Job) -> Job:
        return Job("sum", "add", 0, {"number": 1}, {"add": job})

    assert cache.key(of(data())) is None  # not collected yet
    run(cache, data())
    key = cache.key(of(data()))
    assert key is not None
    domain.write_text(domain.read_text().replace("Plain simulation", "The same under another description"))
    run(cache, data())
    assert cache.key(of(data())) == key  # another file, the same pixels
    domain.write_text(domain.read_text().replace("[0.85, 0.08, 0.08]", "[0.1, 0.1, 0.8]"))
    run(cache, data())
    assert cache.key(of(data())) not in (None, key)

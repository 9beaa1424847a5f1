from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from taskgan_ros import cli
from taskgan_ros.core.config import share_dir
from taskgan_ros.data.dataset import EpisodeRecord, open_writer
from taskgan_ros.experiments import reproduce as reproduce_module
from taskgan_ros.experiments.jobs import Job, Step
from taskgan_ros.experiments.reproduce import STEPS
from taskgan_ros.experiments.studies import STUDIES, load_scale, study_jobs, with_needs
from taskgan_ros.sim.collect import CollectConfig, describe
from taskgan_ros.training.loop import Interrupted

Reproduce = Callable[..., dict[tuple[str, int], dict[str, Any]]]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests share, as studies do: each job runs once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def reproduce(cache: Path) -> Reproduce:
    def run(study: str, *options: object, status: int = 0) -> dict[tuple[str, int], dict[str, Any]]:
        words = ["reproduce", study, "--scale", "smoke", "--cache", str(cache), *map(str, options)]
        assert cli.run(words) == status
        return records(cache / "smoke" / f"{study}.json")

    return run


def records(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    found = json.loads(path.read_text())["records"]
    return {(record["name"], record["seed"]): record for record in found}


def test_figure_9_from_nothing_for_one_domain(reproduce: Reproduce, cache: Path) -> None:
    found = reproduce("reaching", "--domains", "target_a")
    measured = {name: record for (name, _), record in found.items() if name.endswith("closed-loop")}
    forward = ("benchmark", "source", "source+paired", "source+translated", "source+paired+translated")
    expected = {f"target_a/{regime}/closed-loop" for regime in (*forward, "inverse", "inverse-100")}
    assert set(measured) == {"source/source/closed-loop", *expected}
    for record in measured.values():
        assert record["figures"]["episodes"] == 2
        assert record["seconds"] > 0
    assert (cache / "smoke" / "reaching.md").is_file()


def test_what_has_run_does_not_run_again(reproduce: Reproduce, capsys: pytest.CaptureFixture[str]) -> None:
    reproduce("unseen", "--domains", "target_a")
    capsys.readouterr()
    reproduce("unseen", "--domains", "target_a")
    assert "left]" not in capsys.readouterr().out


def test_figures_outlive_the_cache(
    reproduce: Reproduce, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another machine only the data is collected anew, to see that it is the same."""
    before = reproduce("unseen", "--domains", "target_a")
    moved = tmp_path / "moved"
    shutil.copytree(cache, moved, ignore=lambda folder, names: [n for n in names if n.startswith("trans")])
    capsys.readouterr()
    assert cli.run(["reproduce", "unseen", "--scale", "smoke", "--domains", "target_a", "--cache", str(moved)]) == 0
    assert "left]" not in capsys.readouterr().out
    assert records(moved / "smoke" / "unseen.json") == before


def test_one_job_and_what_it_needs(reproduce: Reproduce) -> None:
    found = reproduce("joint-angles", "--only", "inverse-1/angles")
    ran = {name for (name, _), record in found.items() if record["figures"] is not None}
    assert "inverse-1/angles" in ran
    assert "inverse-10/angles" not in ran
    assert found["inverse-10/angles", 0]["command"].endswith("--only inverse-10/angles")


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_can_be_made_of_its_jobs(study: str) -> None:
    for scale in ("smoke", "cpu", "full"):
        jobs = with_needs(study_jobs(STUDIES[study], load_scale(scale), "default", None))
        assert len({(job.name, job.seed) for job in jobs}) == len(jobs)
        for job in jobs:
            _configured(job)


def _configured(job: Job) -> None:
    values = {**job.options, **{name: Path(name) for name in job.needs}, "out": Path("out")}
    STEPS[job.step].config(**values)


def test_full_scale_has_three_seeds_and_the_papers_numbers() -> None:
    full = load_scale("full")
    assert full.seeds >= 3
    assert (full.source_episodes * 16, full.target_episodes * 16) == (22656, 800)
    assert (full.pose_source_episodes * 16, full.task_model_steps) == (50000, 15000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("reaching", "--only", "nothing*"), "expected a pattern of some of"),
        (("reaching", "--domains", "mars"), "expected a file or one of"),
        (("reaching", "--scale", "huge"), "expected a file or one of"),
        (("reaching", "--recipe", "pie"), "expected a file or one of"),
        (("task-loss", "--domains", "target_a", "target_b"), "expected one domain"),
        (("reaching", "--domains", "target_a", "target_a"), "expected a name of its own for each"),
        (("reaching", "--domains", "target_a", "source"), "expected target domains"),
        (("methods", "--recipe", "paper"), "expected pretrain_steps above 0 for this study, got 0"),
        (("reaching", "--recipe", "rcan"), "expected steps above 0 for this study, got 0"),
    ],
)
def test_what_does_not_exist_is_refused(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["reproduce", *options, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    assert cli.run(words) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_results_of_another_scale_are_not_mixed(
    reproduce: Reproduce, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reproduce("unseen", "--domains", "target_a")
    kept = (cache / "smoke" / "unseen.json").read_bytes()
    words = ["reproduce", "unseen", "--scale", "cpu", "--cache", str(tmp_path), "--out", str(cache / "smoke")]
    assert cli.run(words) == 2
    assert "expected results of scale cpu" in capsys.readouterr().err
    assert (cache / "smoke" / "unseen.json").read_bytes() == kept


@pytest.fixture
def my_files(tmp_path: Path) -> Path:
    """Return a folder of a user's domains, of a scale, and of a domain called as a shipped one."""
    folder = tmp_path / "my files"
    for name in ("factory", "other/factory", "target_a"):
        file = folder / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((share_dir() / "config" / "domains" / "target_b.yaml").read_text())
    values = yaml.safe_load((share_dir() / "config" / "scales" / "smoke.yaml").read_text())
    (folder / "tiny.yaml").write_text(yaml.safe_dump(values))
    (folder / "cpu.yaml").write_text(yaml.safe_dump(values))
    (folder / "few.yaml").write_text(yaml.safe_dump(values | {"target_episodes": 6}))
    (folder / "lone.yaml").write_text(yaml.safe_dump(values | {"source_episodes": 1}))
    (folder / "greedy.yaml").write_text(yaml.safe_dump(values | {"translated_images": 65}))
    return folder


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--domains", "factory.yaml", "other/factory.yaml"), "expected a name of its own for each"),
        (("--domains", "target_a.yaml"), "expected another name than that of the shipped domains, got target_a"),
        (("--scale", "cpu.yaml"), "expected another name than that of the shipped scales, got cpu"),
        (("--scale", "few.yaml"), "expected at least 7 target_episodes, 100 images, got 6"),
        (("--scale", "lone.yaml"), "source_episodes: Input should be greater than or equal to 2, got 1"),
        (("--scale", "greedy.yaml"), "expected at most 64 translated_images, all of the source, got 65"),
    ],
)
def test_a_users_file_that_does_not_fit_is_refused_before_anything_runs(
    options: tuple[str, ...], said: str, my_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(my_files / word) if word.endswith(".yaml") else word for word in options]
    words = ["reproduce", "reaching", *given, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    assert cli.run(words) == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["my files"]


class Fakes:
    """Steps that take no time: datasets of one value, trainings of nothing, and measures that always give the same.

    Attributes:
        ran: the steps of all that ran, in order.
        before: called with each configuration before its work.
    """

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.before: Callable[[Any], None] = lambda config: None

    def steps(self) -> dict[str, Step]:
        return {name: Step(step.config, self._work_of(name), step.suffix) for name, step in STEPS.items()}

    def _work_of(self, name: str) -> Callable[[Any], dict[str, Any] | None]:
        def work(config: Any) -> dict[str, Any] | None:
            self.before(config)
            self.ran.append(name)
            if name == "collect":
                self._collect(config)
            return _FAKE_FIGURES.get(name)

        return work

    def _collect(self, config: CollectConfig) -> None:
        info = describe(config)
        shape = (info.images // info.episodes, info.height, info.width, 3)
        images = np.zeros(shape, np.uint8)
        actions = np.full((shape[0], len(info.action_names)), config.seed, np.float32)
        joint_pos = np.zeros((shape[0], len(info.joint_names)), np.float32)
        record = EpisodeRecord(images, actions, joint_pos, images if info.paired_domain else None)
        with open_writer(config.out, info, config.resume) as writer:
            for index in range(info.episodes):
                writer.add(index, record)


_FAKE_FIGURES: dict[str, dict[str, Any]] = {
    "translations": {"l1": 0.1, "ssim": 0.5, "kid": 0.0, "judge_error": 0.2, "judge_floor": 0.1},
    "closed-loop": {
        "successes": 1,
        "episodes": 2,
        "steps": 3,
        "threshold_m": 0.1,
        "final_distance_mean_m": 0.1,
        "final_distance_std_m": 0.0,
    },
}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Fakes:
    made = Fakes()
    monkeypatch.setattr(reproduce_module, "STEPS", made.steps())
    return made


@pytest.fixture
def unseen(my_files: Path, tmp_path: Path) -> Callable[..., int]:
    """Return a function that runs the study `unseen` with results that count."""

    def run(*options: object, cache: str = "cache", out: str = "out") -> int:
        folders = ["--cache", str(tmp_path / cache), "--out", str(tmp_path / out)]
        return cli.run(["reproduce", "unseen", "--scale", str(my_files / "tiny.yaml"), *folders, *map(str, options)])

    return run


def shown(path: Path) -> set[str]:
    return {name for (name, _), record in records(path).items() if record["figures"] and "l1" in record["figures"]}


def test_results_outlive_an_interrupt_before_the_data_is_there_again(
    fakes: Fakes, unseen: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unseen() == 0
    kept = shown(tmp_path / "out" / "unseen.json")

    def stop(config: Any) -> None:
        raise Interrupted("stopped after step 3 of 5; go on with --resume --out here")

    fakes.before = stop
    assert unseen(cache="new") == 130
    assert "stopped after step 3 of 5; the same command resumes\n" in capsys.readouterr().err
    assert shown(tmp_path / "out" / "unseen.json") == kept != set()


def test_what_has_results_is_not_trained_again_only_to_see_that_they_are_good(
    fakes: Fakes, unseen: Callable[..., int]
) -> None:
    assert unseen() == 0
    fakes.ran.clear()
    assert unseen(cache="new") == 0
    assert set(fakes.ran) == {"collect"}


def test_a_users_domain_joins_the_table(fakes: Fakes, my_files: Path, tmp_path: Path) -> None:
    folders = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    words = ["reproduce", "reaching", "--scale", str(my_files / "tiny.yaml"), *folders]
    assert cli.run([*words, "--domains", "target_a"]) == 0
    assert cli.run([*words, "--domains", str(my_files / "factory.yaml")]) == 0
    found = records(tmp_path / "out" / "reaching.json")
    for domain in ("target_a", "factory"):
        assert found[f"{domain}/inverse/closed-loop", 0]["figures"] is not None
    assert "| success | factory | target_a |" in (tmp_path / "out" / "reaching.md").read_text()


def test_two_at_once_keep_each_others_results(fakes: Fakes, unseen: Callable[..., int], tmp_path: Path) -> None:
    """The second begins and ends while the first is at work, elsewhere."""

    def another(config: Any) -> None:
        fakes.before = lambda config: None
        assert unseen("--only", "*/unseen/*", cache="second") == 0

    fakes.before = another
    assert unseen("--only", "*/seen/*", cache="first") == 0
    assert shown(tmp_path / "out" / "unseen.json") == {
        "target_wood/seen/translations",
        "target_wood/unseen/translations",
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--recipe", "{recipe}"), "expected results of recipe {recipe} to resume, got default"),
        (("--domains", "target_a"), "expected results of domain target_a to resume, got target_wood"),
    ],
)
def test_results_of_another_configuration_are_not_mixed(
    options: tuple[str, ...],
    said: str,
    fakes: Fakes,
    unseen: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text((share_dir() / "config" / "recipes" / "default.yaml").read_text())
    assert unseen() == 0
    kept = (tmp_path / "out" / "unseen.json").read_bytes()
    assert unseen(*(word.format(recipe=recipe) for word in options)) == 2
    assert said.format(recipe=recipe) in capsys.readouterr().err
    assert (tmp_path / "out" / "unseen.json").read_bytes() == kept


def test_a_place_for_results_that_is_none_is_refused_before_anything_runs(
    fakes: Fakes, unseen: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    assert unseen() == 2
    assert "expected a folder to write results to, got" in capsys.readouterr().err
    assert not fakes.ran


def test_a_method_that_diverges_does_not_stop_the_others(
    fakes: Fakes, unseen: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def diverge(config: Any) -> None:
        if "translations" in str(config.out) and config.dataset.parent.name.startswith("collect"):
            fakes.before = lambda config: None
            raise FloatingPointError("step 7: expected finite losses")

    fakes.before = diverge
    assert unseen() == 1
    assert "failed: step 7: expected finite losses" in capsys.readouterr().out
    assert len(shown(tmp_path / "out" / "unseen.json")) == 1

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.jobs import Job
from experiments.reproduce import Plan, ReproduceConfig
from experiments.studies import load_scale
from taskgan_ros import cli
from taskgan_ros.core.config import build, share_dir

ROOT = Path(__file__).parents[2]
NOTHING = "Nothing to be done"
UNSEEN = "target_wood/unseen/translations"
SEEN = "target_wood/seen/translations"
FIGURES: dict[str, dict[str, Any]] = {
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

Records = dict[tuple[str, int], dict[str, Any]]


def records(path: Path) -> Records:
    found = json.loads(path.read_text())["records"]
    return {(record["name"], record["seed"]): record for record in found}


def shown(path: Path) -> set[str]:
    return {name for (name, _), record in records(path).items() if record["figures"] and "l1" in record["figures"]}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `unseen` at scale smoke left, run as a user runs it."""
    folder = tmp_path_factory.mktemp("cache")
    assert cli.run(["reproduce", "unseen", "--scale", "smoke", "--cache", str(folder)]) == 0
    return folder


def test_figure_8_from_nothing(cache: Path) -> None:
    found = records(cache / "smoke" / "unseen.json")
    assert all(record["figures"] is not None and record["seconds"] > 0 for record in found.values())
    assert shown(cache / "smoke" / "unseen.json") == {SEEN, UNSEEN}
    assert found[SEEN, 0]["command"] == f"taskgan reproduce unseen --scale smoke --only {SEEN}"
    assert (cache / "smoke" / "unseen.md").is_file()
    assert (cache / "smoke" / "unseen" / "target_wood_seen.jpg").is_file()


def test_a_measurement_runs_again_where_it_is_forced(cache: Path) -> None:
    before = records(cache / "smoke" / "unseen.json")
    words = ["reproduce", "unseen", "--scale", "smoke", "--cache", str(cache), "--only", SEEN]
    assert cli.run(words) == 0
    assert records(cache / "smoke" / "unseen.json") == before
    assert cli.run([*words, "--force"]) == 0
    after = records(cache / "smoke" / "unseen.json")
    assert {name for name in before if before[name] != after[name]} == {(SEEN, 0)}
    assert after[SEEN, 0]["figures"] == before[SEEN, 0]["figures"]


def test_a_training_that_diverges_is_named_and_stops_no_other(
    cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    values = yaml.safe_load((share_dir() / "config" / "recipes" / "default.yaml").read_text())
    recipe = tmp_path / "wild.yaml"
    recipe.write_text(yaml.safe_dump(values | {"pixel_weight": 1e39}))
    only = "target_wood/[is]*e/closed-loop"  # f_X behind F, and f_X alone
    words = ["reproduce", "reaching", "--scale", "smoke", "--domains", "target_wood", "--recipe", str(recipe)]
    assert cli.run([*words, "--only", only, "--cache", str(cache)]) == 1
    said = capfd.readouterr().out
    assert "pretrained/translator (seed 0) failed: taskgan: step 6: expected finite losses, got" in said
    found = records(cache / "smoke" / "reaching.json")
    assert found["target_wood/source/closed-loop", 0]["figures"]["episodes"] == 2
    assert found["target_wood/inverse/closed-loop", 0]["figures"] is None


@pytest.mark.parametrize("study", [path.stem for path in sorted((ROOT / "docs" / "results").glob("*.json"))])
def test_a_fresh_clone_does_not_run_again_what_has_run(
    study: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = ROOT / "docs" / "results"
    before = (out / f"{study}.json").read_bytes()
    assert cli.run(["reproduce", study, "--out", str(out), "--cache", str(tmp_path), "--dry-run"]) == 0
    assert NOTHING in "".join(capfd.readouterr())
    assert (out / f"{study}.json").read_bytes() == before


class Killed:
    """A study of one job that trains for a while, on a domain of the user's own, which was interrupted meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.domain = folder / "mine.yaml"
        self.domain.write_text((share_dir() / "config" / "domains" / "target_a.yaml").read_text())
        scale = yaml.safe_load((share_dir() / "config" / "scales" / "smoke.yaml").read_text())
        (folder / "slow.yaml").write_text(yaml.safe_dump(scale | {"target_model_steps": 150}))
        self.out, self.run = folder / "out", folder / "cache" / "slow" / "0" / "poses" / "normal" / "task-model"
        self.words = ["reproduce", "joint-angles", "--scale", str(folder / "slow.yaml"), "--only", "normal/angles"]
        self.words += ["--domains", str(self.domain), "--cache", str(folder / "cache"), "--out", str(self.out)]

    def interrupt(self) -> str:
        """Interrupt the command while it trains, and return what it said."""
        command, log = [sys.executable, "-m", "taskgan_ros.cli", *self.words], self.run.with_name("task-model.log")
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            while process.poll() is None and not (log.exists() and "steps [" in log.read_text()):
                time.sleep(0.1)
            process.send_signal(signal.SIGINT)
            said = process.communicate()[1]
        assert process.returncode == 130
        return said


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Killed, str]:
    study = Killed(tmp_path_factory.mktemp("killed"))
    return study, study.interrupt()


def test_a_training_that_was_interrupted_is_resumed(
    killed: tuple[Killed, str], capfd: pytest.CaptureFixture[str]
) -> None:
    study, said = killed
    assert said.endswith("taskgan: interrupted; the same command resumes\n")
    stopped = study.run.with_name("task-model.log").read_text().splitlines()[-1]
    step = int(stopped.split("stopped after step ")[1].split()[0])
    assert cli.run(study.words) == 0
    assert f" {step}/150 steps" in study.run.with_name("task-model.log").read_text()
    found = records(study.out / "joint-angles.json")
    assert found["normal/angles", 0]["figures"]["images"] == 32
    assert found["inverse-1/angles", 0]["figures"] is None


def test_what_comes_from_a_file_that_was_edited_runs_again(
    killed: tuple[Killed, str], capfd: pytest.CaptureFixture[str]
) -> None:
    study, _ = killed
    study.domain.write_text("# a comment\n" + study.domain.read_text())
    assert cli.run([*study.words, "--dry-run", "--device", "cpu"]) == 0
    assert NOTHING in "".join(capfd.readouterr())
    values = yaml.safe_load(study.domain.read_text())
    study.domain.write_text(yaml.safe_dump(values | {"description": "Another"}))
    results = study.out / "joint-angles.json"
    before = results.stat().st_mtime_ns
    assert cli.run([*study.words, "--", "-n"]) == 0
    assert results.stat().st_mtime_ns == before
    listed = "".join(capfd.readouterr())
    for what in ("collect: slow/0/poses/mine/data", "task_model: slow/0/poses/normal/task-model", "normal/angles"):
        assert what in listed
    assert "Params have changed" in listed


Planned = Callable[..., Plan]


@pytest.fixture
def planned(tmp_path: Path, my_files: Path) -> Planned:
    """Return a function that plans a study at a small scale whose results count."""

    def plan(study: str = "unseen", cache: str = "cache", **options: Any) -> Plan:
        given = {"study": study, "scale": str(my_files / "tiny.yaml"), "out": str(tmp_path / "out")}
        return Plan(build(ReproduceConfig, {**given, "cache": str(tmp_path / cache), **options}, "options"))

    return plan


def finish(plan: Plan, name: str, finished: str = "2026-11-29T12:00:00Z", **changes: Any) -> None:
    """Leave what a measurement leaves once it is done."""
    job = next(job for job in plan.jobs if job.name == name)
    (plan.config.cache / job.output).mkdir(parents=True, exist_ok=True)
    done = {"seconds": 1.5, "finished": finished, "commit": "1bb25b9", "hardware": "2 CPU cores"}
    (plan.config.cache / job.record).write_text(json.dumps(done))
    (plan.config.cache / job.output / "figures.json").write_text(json.dumps(FIGURES[job.step] | changes))


def names(jobs: list[Job]) -> set[str]:
    return {job.name for job in jobs}


def test_what_the_results_alone_know_is_no_target(planned: Planned) -> None:
    plan = planned()
    assert names(plan.targets()) == {SEEN, UNSEEN}
    finish(plan, SEEN)
    plan.write()
    assert names(planned(cache="elsewhere").targets()) == {UNSEEN}
    assert names(planned(cache="elsewhere", only=["*/seen/*"]).targets()) == set()
    assert names(planned(cache="elsewhere", only=["*/seen/*"], force=True).targets()) == {SEEN}
    assert names(planned().targets()) == {SEEN, UNSEEN}  # Snakemake looks whether it is up to date


def test_several_patterns_choose_what_any_of_them_fits(planned: Planned) -> None:
    chosen = planned("adaptation", only=["hard_arm/rcan-0/*", "hard_*/goals-10/*"], domains=["hard_arm", "target_a"])
    assert names(chosen.targets()) == {"hard_arm/rcan-0/closed-loop", "hard_arm/goals-10/closed-loop"}


def test_a_record_that_is_removed_is_a_target_again(planned: Planned, tmp_path: Path) -> None:
    plan = planned()
    finish(plan, SEEN)
    finish(plan, UNSEEN)
    plan.write()
    path = tmp_path / "out" / "unseen.json"
    kept = [record for record in json.loads(path.read_text())["records"] if record["name"] != SEEN]
    path.write_text(json.dumps({"records": kept}))
    assert names(planned(cache="elsewhere").targets()) == {SEEN}


def test_the_newest_of_what_is_known_counts(planned: Planned, tmp_path: Path) -> None:
    plan = planned()
    finish(plan, SEEN, "2026-11-29T12:00:00Z", l1=0.2)
    plan.write()
    for place, finished, l1 in (("older", "2026-11-28T12:00:00Z", 0.2), ("newer", "2026-11-30T12:00:00Z", 0.3)):
        plan = planned(cache=place)
        finish(plan, SEEN, finished, l1=0.3)
        plan.write()
        assert records(tmp_path / "out" / "unseen.json")[SEEN, 0]["figures"]["l1"] == l1


def test_a_users_domain_joins_the_table(planned: Planned, my_files: Path, tmp_path: Path) -> None:
    for domain in ("target_a", str(my_files / "factory.yaml")):
        plan = planned("reaching", domains=[domain])
        finish(plan, f"{Path(domain).stem}/inverse/closed-loop")
        plan.write()
    found = records(tmp_path / "out" / "reaching.json")
    for domain in ("target_a", "factory"):
        assert found[f"{domain}/inverse/closed-loop", 0]["figures"] is not None
    assert "| success | factory | target_a |" in (tmp_path / "out" / "reaching.md").read_text()


def test_only_what_was_tried_since_and_left_nothing_failed(planned: Planned) -> None:
    plan = planned()
    for job, record, age_s in zip(plan.jobs, (False, True, False), (0, 0, 60), strict=False):
        (plan.config.cache / job.log).parent.mkdir(parents=True, exist_ok=True)
        (plan.config.cache / job.log).write_text("it began\ntaskgan: step 7: expected finite losses\n\n")
        os.utime(plan.config.cache / job.log, (time.time() - age_s,) * 2)
        if record:
            (plan.config.cache / job.record).touch()
    assert plan.failed(time.time() - 30) == [(plan.jobs[0], "taskgan: step 7: expected finite losses")]


def test_full_scale_has_three_seeds_and_the_papers_numbers() -> None:
    full = load_scale("full")
    assert full.seeds >= 3
    assert (full.source_episodes * 16, full.target_episodes * 16) == (22656, 800)
    assert (full.pose_source_episodes * 16, full.task_model_steps) == (50000, 15000)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("reaching", "--only", "nothing*", "nor*"), "expected patterns of some of"),
        (("reaching", "--domains", "mars"), "expected a file or one of"),
        (("reaching", "--scale", "huge"), "expected a file or one of"),
        (("reaching", "--recipe", "pie"), "expected a file or one of"),
        (("task-loss", "--domains", "target_a", "target_b"), "expected one domain"),
        (("reaching", "--domains", "target_a", "target_a"), "expected different names"),
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
        (("--domains", "factory.yaml", "other/factory.yaml"), "expected different names"),
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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--scale", "cpu"), "expected results of scale cpu to resume, got tiny"),
        (("--recipe", "paper"), "expected results of recipe paper to resume, got default"),
        (("--domains", "target_a"), "expected results of domain target_a to resume, got target_wood"),
    ],
)
def test_results_of_another_configuration_are_not_mixed(
    options: tuple[str, ...],
    said: str,
    planned: Planned,
    my_files: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    planned().write()
    kept = (tmp_path / "out" / "unseen.json").read_bytes()
    folders = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    assert cli.run(["reproduce", "unseen", "--scale", str(my_files / "tiny.yaml"), *folders, *options]) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "out" / "unseen.json").read_bytes() == kept


def test_a_place_for_results_that_is_none_is_refused_before_anything_runs(
    planned: Planned, my_files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").touch()
    folders = ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    assert cli.run(["reproduce", "unseen", "--scale", str(my_files / "tiny.yaml"), *folders]) == 2
    assert "expected to make a folder there, got" in capsys.readouterr().err
    assert list((tmp_path / "cache").iterdir()) == []

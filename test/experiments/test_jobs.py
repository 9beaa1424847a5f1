from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tyro

from experiments.jobs import STEPS, Job, with_needs
from experiments.measure import MEASURES
from experiments.studies import STUDIES, study_jobs
from taskgan_ros.core.config import share_dir
from taskgan_ros.sim.collect import CollectConfig
from taskgan_ros.training.steps.refine import RefineConfig
from taskgan_ros.training.steps.task_model import TaskModelConfig
from taskgan_ros.training.steps.translator import parse_translator
from taskgan_ros.training.steps.two_column import TwoColumnConfig

CONFIGS = {
    "collect": CollectConfig,
    "task-model": TaskModelConfig,
    "two-column": TwoColumnConfig,
    "refine": RefineConfig,
    **{step: kind for step, (kind, _) in MEASURES.items()},
}


def jobs(study: str, scale: str = "smoke", recipe: str = "default") -> dict[str, Job]:
    found = with_needs(study_jobs(STUDIES[study], scale, recipe, None))
    by_path = {job.path: job for job in found}
    assert len(by_path) == len(found)
    return by_path


def parse(job: Job) -> None:
    """Check the command as the tool that it starts would."""
    words = [*shlex.split(job.command)[len(STEPS[job.step].command.split()) :], "--out", "out"]
    if job.step == "translator":
        parse_translator(words)
    else:
        tyro.cli(CONFIGS[job.step], args=words)


@pytest.mark.parametrize("study", STUDIES)
def test_every_command_is_one_that_its_tool_takes(study: str) -> None:
    kinds = {(job.step, *job.options, *job.needs): job for job in jobs(study).values()}
    for job in kinds.values():
        parse(job)


@pytest.mark.parametrize("scale", ["smoke", "cpu", "full"])
def test_what_studies_share_by_path_is_one_command(scale: str) -> None:
    known: dict[str, str] = {}
    for study in STUDIES:
        for path, job in jobs(study, scale).items():
            assert known.setdefault(path, job.command) == job.command
    assert len(known) < sum(len(jobs(study, scale)) for study in STUDIES)


def test_another_scale_or_seed_is_another_path() -> None:
    full = jobs("unseen", "full")
    assert full.keys().isdisjoint(jobs("unseen", "cpu"))
    assert {job.seed for job in full.values()} == {0, 1, 2}


def test_another_recipe_is_another_path_for_what_comes_from_it_alone(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text((share_dir() / "config" / "recipes" / "default.yaml").read_text())
    shared = jobs("unseen").keys() & jobs("unseen", recipe=str(mine)).keys()
    named = {path.removeprefix("smoke/0/reach/") for path in shared}
    assert named == {"source/data", "source/task-model", "source/judge", "randomized/data"} | {
        "target_wood/data",
        "target_wood/unseen",
    }


def test_a_file_that_says_something_else_counts_and_a_comment_does_not(tmp_path: Path) -> None:
    domain = tmp_path / "mine.yaml"
    domain.write_text((share_dir() / "config" / "domains" / "source.yaml").read_text())
    job = Job("mine/data", "collect", 0, "smoke/0/reach", {"domain": str(domain)})
    before = job.named_files()
    domain.write_text("# a comment\n" + domain.read_text())
    assert job.named_files() == before
    domain.write_text(domain.read_text().replace("[0.85, 0.08, 0.08]", "[0.1, 0.1, 0.8]"))
    assert job.named_files() != before


def test_unpaired_images_of_a_lab_have_seeds_of_their_own_and_no_labels() -> None:
    found = jobs("path-traced", "cpu")
    unpaired = [job for path, job in found.items() if re.search(r"/unpaired-10-\d/translator$", path)]
    assert sorted((job.needs["target"].options["domain"], job.options["seed"]) for job in unpaired) == [
        (lab, seed) for lab in ("lab_brick", "lab_window") for seed in range(3)
    ]
    for job in unpaired:
        assert (job.options["lambda_task"], job.options["matched_poses"]) == (0, 0)
        assert not any(job.needs[what].options["paired"] for what in ("target", "validation"))
    loops = [job for path, job in found.items() if path.endswith("/closed-loop")]
    assert {job.options["episodes"] for job in loops} == {20}


def test_studies_of_one_domain_share_no_path_but_for_the_same_command() -> None:
    several = [name for name, study in STUDIES.items() if len(study.domains) > 1]
    assert "path-traced" in several
    assert "adaptation" in several
    commands: dict[str, set[str]] = {}
    for name in several:
        for job in with_needs(study_jobs(STUDIES[name], "cpu", "default", ["hard_camera"])):
            commands.setdefault(job.path, set()).add(job.command)
    assert {path: found for path, found in commands.items() if len(found) > 1} == {}


def test_joint_angles_have_steps_of_their_own() -> None:
    angles, reaching = (jobs(study, "cpu") for study in ("joint-angles", "reaching"))
    inverse = "cpu/0/poses-default/real_standin/inverse-5399"
    assert angles[f"{inverse}/translator"].options["steps"] == 1500
    assert angles[f"{inverse}/refined"].options["steps"] == 3000
    assert angles["cpu/0/poses-default/pretrained/translator"].options["pretrain_steps"] == 6000
    assert reaching["cpu/0/reach-default/target_a/inverse/translator"].options["steps"] == 750
    assert {job.options["steps"] for job in reaching.values() if job.step == "refine"} == {1000}


def test_a_repeated_study_trains_what_adaptation_does_again_from_nothing() -> None:
    once, repeated = jobs("adaptation", "cpu"), jobs("seeds", "cpu")
    seeds = {seed: {path for path, job in repeated.items() if job.seed == seed} for seed in range(3)}
    assert seeds[0] <= once.keys()
    assert {path.replace("cpu/0/", "cpu/2/", 1) for path in seeds[0]} == seeds[2]
    assert set(repeated) == set().union(*seeds.values())


def test_what_learns_without_labels_is_given_none() -> None:
    found = jobs("adaptation", "cpu")
    unlabelled = [job for path, job in found.items() if re.search(r"/unlabelled-\d+/translator$", path)]
    assert len(unlabelled) == 2 * 3
    for job in unlabelled:
        assert (job.options["lambda_task"], job.options["matched_poses"]) == (0, 0)
        assert not any(job.needs[what].options["paired"] for what in ("target", "validation"))
        assert job.needs["pretrain"].options["domain"] == "randomized"

"""The whole way from a recorded dataset to a bundle and its report, on tiny real data."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import yaml

from taskgan_ros import cli
from taskgan_ros.core.errors import InputError
from taskgan_ros.data.dataset import load_dataset, read_info
from taskgan_ros.policy.bundle import load_bundle
from taskgan_ros.training.adapt import AdaptConfig, Sizes, Step, Workplace, join, run_steps
from taskgan_ros.training.adapt_inputs import with_homes
from taskgan_ros.training.coverage import find_regions
from taskgan_ros.training.output_fit import fit_errors
from taskgan_ros.training.recorded_split import hold_out

Collected = Callable[..., Path]
SIZES = {
    "source-episodes": 3, "randomized-episodes": 2, "task-model-steps": 2, "pretrain-steps": 1, "translator-steps": 1,
    "refine-steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def recording(collected: Collected) -> Path:
    return collected("target_wood", "--paired", "source", episodes=6, seed=1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.yaml"
    generator = {"widths": [8, 16], "blocks": 1}
    settings = {
        "generator": generator,
        "batch_size": 2,
        "pretrain_batch_size": 2,
        "paired_target": True,
        "align_steps": 3,
        "sigmoid": False,
    }
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def adapted(
    recording: Path, recipe: Path, short_scene: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str]]:
    """Return the folder with the bundle, and the command that made it. Not to change."""
    folder = tmp_path_factory.mktemp("adapted")
    command = tiny_adaptation(recording, recipe, short_scene, folder / "mine")
    assert cli.run(command) == 0
    return folder, command


def tiny_adaptation(recording: Path, recipe: Path, scene: Path, out: Path) -> list[str]:
    words = ["--recording", recording, "--scene", scene, "--out", out, "--recipe", recipe, "--workers", 1]
    words += ["--device", "cpu", *(word for name, count in SIZES.items() for word in (f"--{name}", count))]
    return ["adapt", *map(str, words)]


def test_one_command_makes_a_bundle_of_a_recording(adapted: tuple[Path, list[str]]) -> None:
    folder, _ = adapted
    work = folder / "mine_adapt"
    card = load_bundle(folder / "mine").card
    assert card.target_domain == "target_wood"
    assert (card.task, card.observes, card.approach_rate) == ("joint_velocities", ("image", "joint_pos"), 1.5)
    assert card.guard is not None
    assert card.guard.scores == ("camera", "pose")
    assert (read_info(work / "target.h5").episodes, read_info(work / "held_out.h5").episodes) == (5, 1)
    domain = yaml.safe_load((work / "before_background.yaml").read_text())
    assert domain["background"]["file"] == "background.png"
    settings = yaml.safe_load((work / "translator" / "config.yaml").read_text())["config"]
    assert settings["settings"]["paired_target"] is True
    assert settings["validation"].endswith("held_out.h5")


def test_the_report_shows_held_out_frames_and_what_to_record(adapted: tuple[Path, list[str]]) -> None:
    report = adapted[0] / "mine_adapt" / "report"
    page = (report / "report.md").read_text()
    for word in ("80 frames", "label error", "SSIM", "What to record more of", "guard", "with plain renders"):
        assert word in page
    for name in ("worst.png", "evenly.png", "background.png", "errors.png"):
        assert name in page
        assert (report / name).stat().st_size > 0
    figures = json.loads((report / "held_out.json").read_text())
    errors = [frame["label_error"] for frame in figures["frames"]]
    assert errors == sorted(errors, reverse=True), "the worst first"
    assert len(errors) == figures["images"] == 16
    assert figures["units"] == "rad"  # of the goals


def test_a_recording_labelled_with_goals_gives_a_bundle_that_observes_the_arm(
    collected: Collected, recipe: Path, short_scene: Path, tmp_path: Path
) -> None:
    recording = collected("target_wood", "--task", "joint_goals", episodes=6, seed=1)
    assert cli.run(tiny_adaptation(recording, recipe, short_scene, tmp_path / "mine")) == 0
    assert load_bundle(tmp_path / "mine").card.observes == ("image", "joint_pos")
    page = (tmp_path / "mine_adapt" / "report" / "report.md").read_text()
    assert "with plain renders" in page  # the goals say where the target was
    assert "frames are aligned with their plain renders, moved by " in page or "frames are not aligned: " in page


def test_a_few_images_fit_the_output_layer(
    collected: Collected, recipe: Path, short_scene: Path, tmp_path: Path
) -> None:
    recording = collected("target_wood", "--task", "joint_goals", episodes=3, seed=1)
    assert cli.run(tiny_adaptation(recording, recipe, short_scene, tmp_path / "mine")) == 0
    work = tmp_path / "mine_adapt"
    config = yaml.safe_load((work / "refined" / "config.yaml").read_text())["config"]
    assert [Path(config[name]).name for name in ("target", "fit_output")] == ["randomized.h5", "target.h5"]
    figures = json.loads((work / "refined" / "metrics.jsonl").read_text().splitlines()[-1])
    assert f"f_X's output layer was {fit_errors(figures)}" in (work / "report" / "report.md").read_text()


@pytest.mark.parametrize(
    ("options", "arrives", "task"),
    [
        ({}, True, "joint_goals"),
        ({"reads": "labels"}, True, "joint_velocities"),
        ({"source": True}, True, "joint_velocities"),  # a plain dataset that exists decides
        ({}, False, "joint_velocities"),  # no label tells the goal
    ],
)
def test_goals_are_read_where_they_are_known_and_wanted(
    options: dict[str, Any], arrives: bool, task: str, recording: Path, short_scene: Path, source: Path,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    mine = tmp_path / "recording.h5"
    shutil.copy(recording, mine)
    with h5py.File(mine, "a") as file:
        for demo in file["data"].values() if not arrives else ():
            demo["actions"][...] += 0.5
    if options.get("source"):
        options = {"source": source}
    config = AdaptConfig((mine,), str(short_scene), tmp_path / "mine", pairs=False, **options)
    Workplace(config).open()
    assert read_info(tmp_path / "mine_adapt" / "target.h5").task == task
    unchanged = "labels are used unchanged, not as joint goals: "
    assert (f"{unchanged}{mine}: expected labels that determine each goal" in capsys.readouterr().out) != arrives


def test_a_plain_dataset_of_goals_needs_recordings_that_determine_them(
    recording: Path, collected: Collected, short_scene: Path, tmp_path: Path
) -> None:
    mine, source = tmp_path / "recording.h5", collected("source", "--task", "joint_goals")
    shutil.copy(recording, mine)
    with h5py.File(mine, "a") as file:
        for demo in file["data"].values():
            demo["actions"][...] += 0.5
    config = AdaptConfig((mine,), str(short_scene), tmp_path / "mine", source=source)
    with pytest.raises(InputError, match=f"{mine}: expected labels that determine each goal"):
        Workplace(config).open()
    assert not (tmp_path / "mine_adapt").exists()


def test_what_is_done_is_not_done_again(
    adapted: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    folder, command = adapted
    assert cli.run(command) == cli.EXIT_INPUT_ERROR
    assert "exists already" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in (folder / "mine_adapt").rglob("*.safetensors")}
    assert cli.run([*command, "--resume"]) == 0
    assert capsys.readouterr().out.count("done before") == 6
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert cli.run([*command, "--resume", "--refine-steps", "3"]) == cli.EXIT_INPUT_ERROR
    assert "expected the options it started with, {'refine_steps': 1}" in capsys.readouterr().err


def test_another_bundle_is_not_taken_for_the_result(
    adapted: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, command = adapted
    other, work = (
        shutil.copytree(folder / "mine", tmp_path / "other"),
        shutil.copytree(folder / "mine_adapt", tmp_path / "work"),
    )
    report = (work / "report" / "report.md").read_bytes()
    words = [*command, "--resume", "--work", str(work)]
    assert cli.run([*words, "--out", str(other)]) == cli.EXIT_INPUT_ERROR
    assert "expected the options it started with, {'out':" in capsys.readouterr().err
    (work / "bundle.sha256").write_text("of another")
    assert cli.run(words) == cli.EXIT_INPUT_ERROR
    assert "exists already" in capsys.readouterr().err
    assert (work / "report" / "report.md").read_bytes() == report


def test_an_interrupted_step_goes_on_where_it_was(
    collected: Collected, recipe: Path, short_scene: Path, adapted: tuple[Path, list[str]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    work, bare = adapted[0] / "mine_adapt", collected("target_wood", episodes=6, seed=1)
    command = ["adapt", "--recording", str(bare), "--scene", str(short_scene), "--out", str(tmp_path / "mine")]
    command += ["--recipe", str(recipe), "--workers", "1", "--device", "cpu", "--source", str(work / "source.h5")]
    command += ["--task-model", str(work / "task_model"), "--no-background", "--domain", "target_a"]
    command += ["--randomized-episodes", "2", "--pretrain-steps", "1", "--translator-steps", "1", "--refine-steps", "1"]

    def interrupt(config: object) -> None:
        raise KeyboardInterrupt("interrupted")

    with monkeypatch.context() as patch:
        patch.setattr("taskgan_ros.training.adapt.refine", interrupt)
        assert cli.run(command) == cli.EXIT_INTERRUPTED
    assert "--resume" in capsys.readouterr().err
    assert not (tmp_path / "mine").exists()
    assert cli.run([*command, "--resume"]) == 0
    assert load_bundle(tmp_path / "mine").card.guard is not None
    assert not (tmp_path / "mine_adapt" / "background.png").exists()
    assert read_info(bare).paired_domain == ""
    assert read_info(tmp_path / "mine_adapt" / "target.h5").paired_domain == "source", "drawn by the labels"


def test_evaluate_measures_a_bundle_on_a_recording(
    adapted: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = adapted
    held, out = folder / "mine_adapt" / "held_out.h5", tmp_path / "figures.json"
    words = ["evaluate", "--bundle", str(folder / "mine"), "--recording", str(held), "--json", str(out)]
    assert cli.run(words) == 0
    said = capsys.readouterr().out
    assert "16 frames of 1 episodes: label error" in said
    assert "worst frames:" in said
    figures = json.loads(out.read_text())
    data = load_dataset(held)
    assert figures["constant_rms"] == pytest.approx(float(data.actions.std(axis=0).__pow__(2).mean() ** 0.5), rel=1e-3)
    assert 0 <= figures["ssim"] <= 1
    assert cli.run([*words[:3]]) == cli.EXIT_INPUT_ERROR
    assert (
        "expected --domain to close the loop in, or --recording to measure on, got neither" in capsys.readouterr().err
    )


def test_a_recording_of_another_arm_is_refused_before_anything_is_made(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["adapt", "--recording", str(recording), "--scene", "poses", "--out", str(tmp_path / "mine")]
    assert cli.run(command) == cli.EXIT_INPUT_ERROR
    assert "expected the driven joints of poses" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--seed", "-1", "expected a seed of 0"),
        ("--refine-steps", "0", "refine_steps: expected 1 or more, got 0"),
        ("--source-episodes", "1", "source_episodes: expected 2 or more, got 1"),
        ("--workers", "0", "workers: expected 1 or more, got 0"),
        ("--held-out-share", "1", "held_out_share: expected a share"),
        ("--device", "tpu", "expected auto, cpu or cuda"),
        ("--recipe", "nope", "recipes: expected a file or one of"),
        ("--plain", "nope", "domains: expected a file or one of"),
        ("--source", "nope.h5", "source: nope.h5: expected a dataset file, got none"),
        ("--held-out", "nope.h5", "nope.h5: expected a recording, got nothing there"),
        ("--recording", "nope", "nope: expected a recording, got nothing there"),
        ("--out", f"{__file__}/mine", "expected only folders above it, got"),
    ],
)
def test_a_wrong_option_is_found_before_anything_is_made(
    recording: Path, short_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    option: str, value: str, message: str,
) -> None:  # fmt: skip
    command = ["adapt", "--recording", str(recording), "--scene", str(short_scene), "--out", str(tmp_path / "mine")]
    assert cli.run([*command, option, value]) == cli.EXIT_INPUT_ERROR
    assert message in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


def test_datasets_and_runs_that_do_not_fit_are_found_before_anything_is_made(
    recording: Path, collected: Collected, short_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["adapt", "--recording", str(recording), "--scene", str(short_scene), "--out", str(tmp_path / "mine")]

    def refusal(*words: object) -> str:
        assert cli.run([*command, *map(str, words)]) == cli.EXIT_INPUT_ERROR
        assert not any(tmp_path.iterdir())
        return capsys.readouterr().err

    other_size = collected("target_wood", size=40)
    assert "expected height" in refusal("--held-out", other_size)
    assert "expected height" in refusal("--source", collected(size=40))
    assert "expected the domain source, got target_wood" in refusal("--source", recording)
    assert "task_model: nope: expected a training run" in refusal("--source", collected(), "--task-model", "nope")


def test_the_same_recording_twice_is_refused(
    recording: Path, short_scene: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copy(recording, tmp_path / "copy.h5")
    command = ["adapt", "--scene", str(short_scene), "--out", str(tmp_path / "mine"), "--recording", str(recording)]
    assert cli.run([*command, str(recording.parent / "." / recording.name)]) == cli.EXIT_INPUT_ERROR
    assert "expected each recording once, got it twice" in capsys.readouterr().err
    for words in ([str(copy)], ["--held-out", str(copy)]):
        assert cli.run([*command, *words]) == cli.EXIT_INPUT_ERROR
        assert f"expected other images than those of {recording}, got 96 identical ones" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["copy.h5"]


def test_a_copy_of_a_recording_that_is_no_dataset_yet_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("first", "copy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "frames.csv").write_text("the same")
    opened = SimpleNamespace(count=20)
    monkeypatch.setattr("taskgan_ros.recordings.recording.open_recording", lambda paths, scene: opened)
    first, copy = str(tmp_path / "first"), str(tmp_path / "copy")
    command = ["adapt", "--scene", "reach", "--out", str(tmp_path / "mine"), "--recording", first]
    assert cli.run([*command, copy]) == cli.EXIT_INPUT_ERROR
    assert f"{copy}: expected each recording once, but it is the same as {first}" in capsys.readouterr().err
    opened.count = 3
    assert cli.run(command) == cli.EXIT_INPUT_ERROR
    assert "expected at least 4 images, got 3" in capsys.readouterr().err
    assert not list(tmp_path.glob("mine*"))


def test_a_corrected_command_resumes_where_nothing_was_trained(
    recording: Path, recipe: Path, short_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupt(config: object) -> None:
        raise KeyboardInterrupt("interrupted")

    monkeypatch.setattr("taskgan_ros.training.adapt.train_task_model", interrupt)
    work = tmp_path / "mine_adapt"
    command = ["adapt", "--recording", str(recording), "--scene", str(short_scene), "--out", str(tmp_path / "mine")]
    command += ["--recipe", str(recipe), "--workers", "1", "--source-episodes", "2", "--randomized-episodes", "1"]
    assert cli.run(command) == cli.EXIT_INTERRUPTED
    assert cli.run([*command, "--resume", "--held-out-share", "2"]) == cli.EXIT_INPUT_ERROR
    assert cli.run([*command, "--resume", "--held-out-share", "0.5"]) == cli.EXIT_INTERRUPTED
    assert yaml.safe_load((work / "adapt.yaml").read_text())["held_out_share"] == 0.5
    assert read_info(work / "held_out.h5").episodes == 3
    (work / "task_model").mkdir()
    assert cli.run([*command, "--resume"]) == cli.EXIT_INPUT_ERROR
    assert "expected the options it started with, {'held_out_share': 0.5}" in capsys.readouterr().err


def test_a_recording_that_cannot_be_cut_leaves_nothing(
    recording: Path, short_scene: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise InputError("expected an arm that moves, got none")

    monkeypatch.setattr("taskgan_ros.training.adapt.hold_out", refuse)
    command = ["adapt", "--recording", str(recording), "--scene", str(short_scene), "--out", str(tmp_path / "mine")]
    assert cli.run(command) == cli.EXIT_INPUT_ERROR
    assert not any(tmp_path.iterdir())


def test_homes_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    paths: dict[str, Any] = {name: Path(f"~/{name}") for name in ("out", "work", "held_out", "source", "task_model")}
    found = with_homes(AdaptConfig(recording=(Path("~/a.h5"),), scene="reach", **paths))
    assert found.recording == (Path("/home/me/a.h5"),)
    assert [getattr(found, name) for name in paths] == [Path("/home/me") / name for name in paths]


def test_several_recordings_are_one(recording: Path, collected: Collected) -> None:
    first, other = load_dataset(recording), load_dataset(collected("target_wood", seed=1))
    both = join([first, first])
    assert (len(both), both.info.episodes, len(np.unique(both.episode))) == (192, 12, 12)
    assert both.paired is not None
    mixed = join([first, other])
    assert mixed.paired is None
    assert mixed.info.paired_domain == ""
    np.testing.assert_array_equal(mixed.joint_pos[96:], other.joint_pos)


def test_few_episodes_are_held_out_in_stretches_of_time(recording: Path) -> None:
    data = load_dataset(recording)
    parts, out = hold_out(data, 0.34, 0)
    assert (len(np.unique(parts)), len(out)) == (6, 2)
    one = dataclasses.replace(data, episode=np.zeros(len(data), np.int64))
    parts, out = hold_out(one, 0.2, 0)
    assert (len(np.unique(parts)), len(out)) == (10, 2)
    assert (np.diff(parts) >= 0).all()
    with pytest.raises(InputError, match="at least 4 images"):
        hold_out(dataclasses.replace(data, images=data.images[:3], episode=data.episode[:3]), 0.2, 0)


def test_sparse_and_bad_regions_come_first() -> None:
    expert = np.random.default_rng(0).uniform(-1, 1, (2000, 2))
    recorded = expert[(expert[:, 0] < 0.5)][:300]
    held = expert[-200:]
    errors = np.where(held[:, 1] > 0.6, 3.0, 1.0)
    turned = 2 * np.pi * np.array([-1, 0])  # the base's driver counts other turns
    is_continuous = np.array([True, False])
    regions = find_regions(("base", "elbow"), is_continuous, expert, recorded + turned, held + turned, errors)
    assert regions[0].is_sparse or regions[0].errs
    assert {one.joint for one in regions if one.is_sparse} == {"base"}
    assert all(one.low > 0.4 for one in regions if one.is_sparse)
    assert [round(one.low, 1) for one in regions if one.errs] == [0.6]


def test_sizes_follow_the_frames_and_what_is_given() -> None:
    config = AdaptConfig(recording=(Path("x.h5"),), scene="reach", out=Path("y"), refine_steps=7)
    found = [Sizes.of(config, frames).translator_steps for frames in (10, 100, 800)]
    assert found == [250, 750, 1500]
    assert Sizes.of(config, 10).refine_steps == 7
    assert Sizes.of(dataclasses.replace(config, quick=True), 10).task_model_steps < 100


def test_the_time_left_counts_only_what_is_left(capsys: pytest.CaptureFixture[str]) -> None:
    done: list[str] = []
    steps = [Step("a", 600, lambda: True, lambda: None), Step("b", 1200, lambda: "b" in done, lambda: done.append("b"))]
    run_steps(steps)
    said = capsys.readouterr().out
    assert "adapt 1/2: a: done before" in said
    assert "adapt 2/2: b; about 20 min left for all steps" in said
    assert done == ["b"]

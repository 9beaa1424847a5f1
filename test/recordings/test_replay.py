"""A recording of the simulated cell through the node's own code: it leads where the recorded arm went."""

from __future__ import annotations

import csv
import dataclasses
import json
import shlex
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rosbags", reason="the `recordings` extra is needed")

import cv2
import tyro

from taskgan_ros.core.errors import InputError
from taskgan_ros.recordings.joint_readings import JointReadings
from taskgan_ros.recordings.read_options import ReadOptions
from taskgan_ros.recordings.recording import open_recording
from taskgan_ros.recordings.replay import PLOT, TABLE, ReplayConfig, messages, replay
from taskgan_ros.recordings.replay_run import ImageMessage
from taskgan_ros.recordings.source import JointTracks
from taskgan_ros.sim.cell import Cell
from taskgan_ros.sim.domain import load_domain
from taskgan_ros.tasks.reach import ReachScene
from taskgan_ros.tasks.registry import load_motion_scene

PERIOD_S, STILL, MOVING = 0.05, 20, 30


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of images of an arm that stands, and then goes to the target; a black one comes at its end."""
    folder = tmp_path_factory.mktemp("recording")
    scene = load_motion_scene("reach")
    assert isinstance(scene, ReachScene)
    episode = scene.sample_start(7, 0)
    first, last = episode.state.joint_pos, scene.finish(episode).joint_pos
    rows = []
    with Cell(scene, load_domain("target_wood"), (128, 128)) as cell:
        look = cell.sample_look(7, 0)
        for k in range(STILL + MOVING):
            share = np.clip((k - STILL) / MOVING, 0, 1)
            joint_pos = first + share * (last - first)
            name = f"{k:03}.png"
            rgb = cell.render(scene.move(episode.state, joint_pos), look, k * PERIOD_S)
            cv2.imwrite(str(folder / name), rgb[..., ::-1])
            rows.append([name, 100 + k * PERIOD_S, *joint_pos])
    with (folder / "joints.csv").open("w") as file:
        csv.writer(file).writerows([["image", "stamp", *scene.arm.joint_names], *rows])
    return folder


def config(path: Path, **fields: object) -> ReplayConfig:
    given = {"recording": ReadOptions(units="radians"), **fields}
    return ReplayConfig((path,), "reach_target_wood", **given)  # type: ignore[arg-type]


def test_commands_lead_where_the_recorded_arm_went(
    recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay(config(recording, out=tmp_path / "out", json=tmp_path / "out.json"))
    figures = json.loads((tmp_path / "out.json").read_text())
    summary = figures["summary"]
    taken = STILL + MOVING - 10  # the bundle observes joints, which settle for half a second
    assert summary["images_taken"] == taken
    assert summary["commands"] > 30, "all but those of the first half second"
    assert summary["angle_deg"]["median"] < 25
    assert summary["flagged_share"] < 0.1
    assert summary["time_shares"]["running"] > 0.6
    assert {"command", "recorded", "scores", "speed_share", "leads_outside"} <= figures["images"][0].keys()
    assert (tmp_path / "out" / PLOT).stat().st_size > 10_000
    assert len((tmp_path / "out" / TABLE).read_text().splitlines()) == taken + 1
    assert "commanded against recorded velocity" in capsys.readouterr().out


def test_parameters_of_the_node_hold_here_too(recording: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "mine.yaml"
    values = "{guard_tolerance: 0.01, fence_m: [-0.1, -0.1, 0.5, 0.1, 0.1, 0.6], speed_scale: 0.1}"
    parameters.write_text(f"/**/reach_node: {{ros__parameters: {values}}}")
    run = partial(replay, config(recording, json=tmp_path / "out.json", reach_params=parameters))
    run()
    summary = json.loads((tmp_path / "out.json").read_text())["summary"]
    assert summary["flagged_share"] == 1
    assert summary["commands"] == 0
    assert summary["recorded_outside_share"] == 1
    with pytest.raises(InputError, match=r"out\.json"):
        run()


def test_a_misspelt_parameter_is_refused_and_nothing_written(recording: Path, tmp_path: Path) -> None:
    parameters = tmp_path / "mine.yaml"
    parameters.write_text("/**/reach_node: {ros__parameters: {speed_scal: 0.1}}")
    with pytest.raises(InputError, match="did you mean speed_scale"):
        replay(config(recording, out=tmp_path / "out", reach_params=parameters))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"json": "out"}, "--json: expected another file"),
        ({"json": f"out/{TABLE}"}, "--json: expected another file"),
        ({"json": "no/figures.json"}, "a folder that exists"),
        ({"inference": float("inf")}, "--inference: expected 0 to 10 s"),
        ({"inference": 1e9}, "--inference: expected 0 to 10 s"),
    ],
)
def test_what_cannot_be_is_refused_before_the_run(fields: dict[str, object], expected: str, tmp_path: Path) -> None:
    if "json" in fields:
        fields = {"json": tmp_path / str(fields["json"])}
    with pytest.raises(InputError, match=expected):
        replay(config(tmp_path / "nothing", out=tmp_path / "out", **fields))
    assert not list(tmp_path.iterdir())


def test_a_home_is_found_and_a_file_in_the_way_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("mine")
    for name in ("~/file/out", "~/file"):
        with pytest.raises(InputError, match=f"{tmp_path}/file"):
            replay(config(tmp_path / "nothing", out=Path(name)))
        with pytest.raises(InputError, match=f"{tmp_path}/file"):
            replay(config(tmp_path / "nothing", json=Path(name)))


@pytest.mark.parametrize(
    "options",
    [
        ReadOptions(units="radians", skip=((0.2, 0.5),), skip_start=0.1, skip_end=0.3, delay=0.1),
        ReadOptions(units="radians", rate=7.0, delay=-0.05),
    ],
)
def test_the_images_are_those_of_import(options: ReadOptions, recording: Path) -> None:
    opened = open_recording([recording], load_motion_scene("reach"), options)
    names, before = opened.joint_names, opened.sources[0]
    tracks, delay_s = JointTracks(), float(options.delay)
    stamps = before.joints.track(names[0])[0]
    for stamp_s in [*np.arange(99.0, 100.0, 0.1), *stamps]:  # joint states begin long before the first image
        tracks.add(stamp_s, names, np.zeros(len(names)))
    source = dataclasses.replace(before, joints=tracks)
    opened.sources = [source]
    readings = JointReadings(source, opened.arm, options)
    stream = list(messages(source, readings, options, delay_s))
    seen = [one.stamp_s for one in stream if isinstance(one, ImageMessage)]
    imported = [frame.stamp_s - delay_s for frame in opened.frames()]
    assert [stamp_s for stamp_s in seen if readings.at(stamp_s) is not None] == pytest.approx(imported)
    assert [one.stamp_s for one in stream] == sorted(one.stamp_s for one in stream)
    assert (stream[0].stamp_s == pytest.approx(99.0)) == (options.skip_start == 0)


def test_the_command_can_be_given_again(recording: Path) -> None:
    options = ReadOptions(units="radians", skip=((0.2, 0.5), (1.0, 2.0)), rate=5.0, delay=0.01, repeated=True)
    figures = replay(config(recording, inference=0.0, recording=options))
    words = shlex.split(str(figures["command"]))[2:]
    again = tyro.cli(ReplayConfig, args=words)
    assert again.recording == options
    assert again.inference == 0

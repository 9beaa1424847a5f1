from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from taskgan_ros.demo import report
from taskgan_ros.demo.report import Episode, VideoFrame
from taskgan_ros.sim.evaluate import EvaluateConfig, summarise
from taskgan_ros.tasks.registry import load_motion_scene
from taskgan_ros.tasks.scene import MotionScene

ASKED = EvaluateConfig(bundle="tiny", domain="target_wood", episodes=2, seed=7)


@pytest.fixture(scope="module")
def scene() -> MotionScene:
    return load_motion_scene("reach")


def make_episode(index: int, final_m: float, film_px: int = 0) -> Episode:
    """Return 10 s that go from 0.4 m to `final_m` within 4 s, with 20 commands a second."""
    times_s = np.arange(0, 10.01, 0.05)
    distances_m = final_m + (0.4 - final_m) * np.clip(1 - times_s / 4, 0, None)
    frames = tuple(make_frame(time_s, film_px) for time_s in times_s[::2] if film_px)
    latencies_s = np.full(201, 0.060)
    latencies_s[-3:] = 0.100
    return Episode(index, times_s, distances_m, times_s, latencies_s, 3, 2, "held: by a person", frames)


def make_frame(time_s: float, size: int) -> VideoFrame:
    noise = np.random.default_rng(round(100 * time_s)).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    return VideoFrame(float(time_s), noise[0], noise[1])


def test_the_figures_are_those_of_evaluate_and_those_of_a_running_loop(scene: MotionScene) -> None:
    episodes = [make_episode(0, 0.02), make_episode(1, 0.30)]
    values = report.figures(episodes, scene, ASKED, "taskgan reach")
    assert set(summarise(np.ones((2, 101)), scene, ASKED)) < set(values)
    assert (values["success_rate"], values["episodes"], values["steps"]) == (0.5, 2, 100)
    assert values["final_distance_mean_m"] == pytest.approx(0.16)
    assert values["command"] == "taskgan reach"
    assert values["latency_ms"] == {"p50": 60.0, "p99": 100.0}
    assert values["rate_hz"] == pytest.approx(20)
    assert (values["dropped_frames"], values["out_of_distribution_images"]) == (6, 4)
    first, second = values["episode_details"]
    assert (first["success"], second["success"]) == (True, False)
    assert (second["node_said"], second["out_of_distribution_images"]) == ("held: by a person", 2)
    assert first["arrived_s"] == pytest.approx(4 * 0.30 / 0.38, abs=0.06)
    assert second["arrived_s"] is None
    assert first["distance_m"][20] == pytest.approx(0.21)


def test_an_episode_without_a_command_has_no_latency_and_still_is_json(scene: MotionScene, tmp_path: Path) -> None:
    nothing = replace(make_episode(0, 0.3), command_times_s=np.array([]), latencies_s=np.array([]))
    values = report.figures([nothing], scene, ASKED, "taskgan reach")
    report.write_figures(tmp_path / "reach.json", values)
    read = json.loads((tmp_path / "reach.json").read_text())
    assert read["latency_ms"] == {"p50": None, "p99": None}
    assert (read["rate_hz"], read["arrival_mean_s"]) == (0, None)


def test_passing_through_is_no_arrival(scene: MotionScene) -> None:
    episode = replace(make_episode(0, 0.0), distances_m=np.linspace(-0.3, 0.3, 201) ** 2 + 0.02)
    assert episode.distances_m.min() < scene.threshold_m < episode.final_distance_m
    assert episode.arrived_s(scene.threshold_m) is None


def test_the_animation_shows_filmed_episodes_until_they_stand_still(tmp_path: Path) -> None:
    path = tmp_path / "reach.gif"
    report.write_animation(path, [make_episode(0, 0.02, film_px=16), make_episode(1, 0.3)], 0.1)
    with Image.open(path) as film:
        shown_s = sum(page.info["duration"] for page in ImageSequence.Iterator(film)) / 1000
    assert 4.5 < shown_s < 7  # 4 s of motion, a while after it, and the last page stands


def test_the_animation_is_small_whatever_it_shows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "reach.gif"
    monkeypatch.setattr(report, "_GIF_MAX_BYTES", 1_000_000)
    report.write_animation(path, [make_episode(0, 0.02, film_px=128)], 0.1)  # noise: nothing is larger
    assert 300_000 < path.stat().st_size <= 1_000_000


def test_a_small_red_cube_stays_red_in_the_animation(tmp_path: Path) -> None:
    wood = np.random.default_rng(0).integers([80, 60, 30], [150, 110, 70], (128, 128, 3)).astype(np.uint8)
    wood[40:90, 30:60] = np.linspace(20, 90, 30)[None, :, None]  # an arm
    wood[100:108, 60:68] = 220, 20, 20
    frames = tuple(VideoFrame(time_s, wood, wood) for time_s in (0.0, 0.1))
    path = tmp_path / "reach.gif"
    report.write_animation(path, [replace(make_episode(0, 0.02), frames=frames)], 0.1)
    with Image.open(path) as film:
        pixels = np.asarray(film.convert("RGB"), np.int64)
    assert np.abs(pixels.reshape(-1, 3) - [220, 20, 20]).sum(axis=1).min() < 40


def test_nothing_filmed_is_no_animation(tmp_path: Path) -> None:
    report.write_animation(tmp_path / "reach.gif", [make_episode(0, 0.02)], 0.1)
    assert not (tmp_path / "reach.gif").exists()


def test_the_plot_is_drawn_without_a_display(tmp_path: Path) -> None:
    path = tmp_path / "distance.png"
    report.write_plot(path, [make_episode(0, 0.02), make_episode(1, 0.3)], 0.1, "title")
    with Image.open(path) as plot:
        colors = {tuple(color) for color in np.asarray(plot.convert("RGB")).reshape(-1, 3).tolist()}
    assert len(colors) > 20

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments.page import grid_path
from experiments.report import write_report
from experiments.results import Record, load_results
from taskgan_ros.core.errors import InputError

RESULTS = Path(__file__).parents[2] / "docs" / "results"
MEASURES = {"l1": 0.0115, "ssim": 0.93, "kid": 0.027, "judge_error": 0.0263, "judge_floor": 0.0108, "images": 320}


def record(study: str, name: str, figures: dict[str, Any] | None, seed: int = 0, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "study": study,
        "name": name,
        "seed": seed,
        "step": name.rsplit("/")[-1],
        "scale": "cpu",
        "figures": figures,
        "seconds": None if figures is None else 90.0,
        "commit": "" if figures is None else "1bb25b9",
        "command": f"taskgan reproduce {study} --scale cpu --only '{name}'",
        "hardware": "" if figures is None else "2 CPU cores",
        "finished": "" if figures is None else "2026-11-22T17:00:00Z",
    }
    return Record(**(values | changes))


def loop(successes: int, episodes: int = 100, mean_m: float = 0.05, std_m: float = 0.02) -> dict[str, Any]:
    figures = {"success_rate": successes / episodes, "successes": successes, "episodes": episodes, "steps": 100}
    return figures | {"threshold_m": 0.1, "final_distance_mean_m": mean_m, "final_distance_std_m": std_m}


def angles(l2: float) -> dict[str, Any]:
    degrees = 360 * l2**0.5
    joints = {"shoulder": degrees, "elbow": 2 * degrees}
    return {"l2": l2, "l2_per_joint": joints, "rms_deg": degrees, "rms_deg_per_joint": joints, "images": 640}


def report(folder: Path, records: list[Record], study: str = "reaching") -> str:
    write_report(study, records, folder)
    return (folder / f"{study}.md").read_text()


def rows(text: str, first: str) -> list[list[str]]:
    """Return the jobs of all table rows that begin with `first`."""
    found = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", text, re.MULTILINE)
    return [[job.strip() for job in line.split("|")] for line in found]


def test_success_is_pooled_over_seeds_from_the_json_alone(tmp_path: Path) -> None:
    records = [
        record("reaching", "target_a/inverse/closed-loop", loop(95, mean_m=0.02, std_m=0.03), seed=0),
        record("reaching", "target_a/inverse/closed-loop", loop(85, mean_m=0.06, std_m=0.01), seed=1),
        record("reaching", "target_a/benchmark/closed-loop", loop(30)),
        record("reaching", "target_b/benchmark/closed-loop", loop(40)),
        record("reaching", "source/source/closed-loop", loop(100, mean_m=0.01)),
    ]
    path = tmp_path / "reaching.json"
    path.write_text(json.dumps({"records": [dataclasses.asdict(item) for item in records]}))
    text = report(tmp_path, load_results(path))
    success, distance = rows(text, "inverse")
    assert success == ["90 % [85, 93]", "not run"]  # 180 of 200; in target_b there is no such record
    pooled_m = np.sqrt((0.03**2 + 0.01**2) / 2 + 0.02**2)
    assert distance == [f"0.040 ± {pooled_m:.3f}", "not run"]
    assert rows(text, "benchmark")[0] == ["30 % [22, 40]", "40 % [31, 50]"]
    assert rows(text, "inverse minus benchmark") == [["+60 [+49, +69]", "not run"]]
    assert "f_X in its own domain: 100 % [96, 100], 0.010 ± 0.020 m." in text
    assert "55 to 59 percentage points" in text
    assert (tmp_path / "reaching" / "success.png").stat().st_size > 5000


def test_a_report_says_how_its_figures_came_about(tmp_path: Path) -> None:
    name = "target_a/inverse/closed-loop"
    records = [
        record("reaching", name, loop(95), finished="2026-11-20T23:00:00Z", seconds=30.0),
        record("reaching", name, loop(85), seed=1, commit="6d2e64b", hardware="NVIDIA H100", seconds=60.0),
        record("reaching", name, None, seed=2),
        record("reaching", "source/data", {}, step="collect", seconds=4500.0),
    ]
    text = report(tmp_path, records)
    assert [job for (job,) in (rows(text, what)[0] for what in ("scale", "seeds", "jobs"))] == [
        "cpu",
        "0, 1, 2",
        "3 of 4 run",
    ]
    assert rows(text, "hardware") == [["2 CPU cores, NVIDIA H100"]]
    assert rows(text, "dates") == [["2026-11-20 to 2026-11-22"]]
    assert rows(text, "commits") == [["1bb25b9, 6d2e64b"]]
    assert rows(text, "command") == [["`taskgan reproduce reaching --scale cpu`"]]
    assert rows(text, "inverse")[0] == ["90 % [85, 93] (2 of 3 seeds)"]
    assert rows(text, "closed-loop") == [["2", "45 s", "90 s"]]
    assert rows(text, "collect") == [["1", "1 h 15 min", "1 h 15 min"]]
    assert rows(text, "all") == [["3", "26 min", "1 h 16 min"]]


def test_nothing_that_has_not_run_is_drawn_or_dropped(tmp_path: Path) -> None:
    done = record("reaching", "target_a/inverse/closed-loop", loop(95))
    report(tmp_path, [done])
    text = report(tmp_path, [dataclasses.replace(done, figures=None, seconds=None)])
    assert rows(text, "inverse") == [["not run"], ["not run"]]
    assert "success.png" not in text
    assert not (tmp_path / "reaching" / "success.png").exists()


def test_a_smoke_run_is_told_of_and_never_shown(tmp_path: Path) -> None:
    smoke = record("reaching", "target_a/inverse/closed-loop", loop(77), scale="smoke")
    text = report(tmp_path, [smoke])
    assert "A smoke run succeeded (1 jobs)" in text
    assert "77" not in text
    assert "|" not in text
    text = report(tmp_path, [smoke, record("reaching", "target_a/benchmark/closed-loop", loop(30))])
    assert "77" not in text
    assert rows(text, "benchmark")[0] == ["30 % [22, 40]"]


def ends(near: int, at_all: int, episodes: int = 50, **figures: Any) -> dict[str, Any]:
    """Return a closed loop of which so many episodes end 0.02 m from the goal, and so many within 0.1 m."""
    distances_m = [0.02] * near + [0.08] * (at_all - near) + [0.3] * (episodes - at_all)
    values = np.array(distances_m)
    counted = loop(at_all, episodes, float(values.mean()), float(values.std()))
    return {**counted, "final_distances_m": distances_m, **figures}


ADAPTED: dict[str, dict[str, Any] | None] = {
    "rcan-0": ends(20, 45),
    "rcan+refined-0": ends(22, 46),
    "goals-0": ends(40, 50),
    "unlabelled-10": ends(20, 45, kept_step=0),
    "labelled-10": ends(45, 50, kept_step=250),
    "goals-10": ends(10, 20),
    "randomized-800": None,
}


TRACED: dict[str, dict[str, Any] | None] = {
    "goals-100": ends(48, 50, kept_step=750),
    "goals-0": ends(20, 45, kept_step=0),
    "unpaired-10-1": ends(21, 44, kept_step=250),
    "fitted-10": ends(30, 46, kept_step=0),
    "unpaired-10-0": None,
}


def everything(study: str) -> list[Record]:
    """Return records of a study, of which some have not run."""
    jobs: dict[str, dict[str, dict[str, Any] | None]] = {
        "reaching": {f"target_{k}/{what}/closed-loop": loop(50) for k in "ab" for what in ("inverse", "my-regime")},
        "task-loss": {f"inverse/lambda-{weight}/translations": MEASURES for weight in ("10", "0", "0.01")}
        | {"inverse/lambda-10/closed-loop": loop(20, 50), "inverse/lambda-0/closed-loop": None}
        | {"forward/lambda-0.01/translations": MEASURES},
        "unseen": {"wood/seen/translations": MEASURES | {"l1": 0.01}, "wood/unseen/translations": MEASURES},
        "joint-angles": {"normal/angles": angles(0.008), "inverse-1/angles": angles(0.006)}
        | {"inverse-10/angles": angles(0.004), "inverse-100/angles": None, "inverse-1/translations": MEASURES}
        | {"symmetry/angles": {"difference_180": 0.0002, "difference_90": 0.0123}},
        "methods": {f"wood/{method}/translations": MEASURES for method in ("default", "rcan")}
        | {"wood/default/closed-loop": loop(48, 50, 0.03), "wood/rcan/closed-loop": loop(47, 50, 0.02)}
        | {"wood/mmd/closed-loop": loop(10, 50), "wood/cyclegan/closed-loop": None},
        "adaptation": {f"wood/{name}/closed-loop": figures for name, figures in ADAPTED.items()}
        | {"dark/rcan-0/closed-loop": None, "dark/goals-10/closed-loop": None},
        "path-traced": {f"lab/{name}/closed-loop": figures for name, figures in TRACED.items()}
        | {f"lab/{name}/translations": MEASURES for name in TRACED}
        | {"lab/goals-10/closed-loop": None},
        "seeds": {"wood/goals-0/closed-loop": ends(4, 45), "wood/goals-10/closed-loop": ends(40, 50)}
        | {"wood/goals-100/closed-loop": None},
    }
    return [record(study, name, figures) for name, figures in jobs[study].items()]


STUDIES = ("reaching", "task-loss", "unseen", "joint-angles", "methods", "adaptation", "seeds", "path-traced")


@pytest.mark.parametrize("study", STUDIES)
def test_the_same_records_in_any_order_give_the_same_bytes(study: str, tmp_path: Path) -> None:
    records = everything(study)
    for folder, given in (("one", records), ("two", records[::-1]), ("two", records)):
        write_report(study, given, tmp_path / folder)
    first, second = (
        {str(path.relative_to(tmp_path / folder)): path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
        for folder in ("one", "two")
    )
    assert first == second
    pictures = re.findall(r"\]\((.*?)\)", first[f"{study}.md"].decode())
    assert set(first) == {f"{study}.md", *pictures}


def test_weights_of_the_task_loss_stand_in_the_order_of_numbers(tmp_path: Path) -> None:
    text = report(tmp_path, everything("task-loss"), "task-loss")
    inverse, forward = text.split("### ")[1:3]
    assert re.findall(r"λ = (\S+) \|", inverse) == ["0", "0.01", "10"]
    shown = ["0.0115", "0.93", "0.027", "0.0263", "0.0108"]
    assert rows(inverse, "λ = 10") == [[*shown, "40 % [28, 54]"]]
    assert rows(inverse, "λ = 0") == [[*shown, "not run"]]
    assert rows(forward, "λ = 0.01") == [shown]  # which no job closes the loop with
    assert rows(forward, "λ = 10") == [["not run"] * 5]


def test_the_curve_of_images_is_shown_seed_by_seed(tmp_path: Path) -> None:
    records = [
        record("seeds", "lab-2/goals-0/closed-loop", ends(4, 45)),
        record("seeds", "lab-2/goals-10/closed-loop", ends(40, 50)),
        record("seeds", "lab-2/goals-10/closed-loop", ends(45, 48), seed=2),
        record("seeds", "lab-2/goals-0/closed-loop", ends(10, 44), seed=2),
        record("seeds", "lab-2/goals-10/closed-loop", ends(30, 48), seed=1),
        record("seeds", "lab-2/goals-0/closed-loop", None, seed=1),
        record("seeds", "lab-2/goals-800/closed-loop", None),
    ]
    text = report(tmp_path, records, "seeds")
    assert rows(text, "0 images")[0][:4] == ["90, –, 88", "8, –, 20", "0, –, 0", "–"]
    assert rows(text, "10 images")[0][:4] == ["100, 96, 96", "80, 60, 90", "0, 0, 0", "+72, –, +70"]
    assert rows(text, "800 images") == [["not run"] * 5]


def test_figures_of_several_seeds_are_shown_with_their_spread(tmp_path: Path) -> None:
    records = [
        record("unseen", "wood/unseen/translations", MEASURES | {"ssim": ssim}, seed)
        for seed, ssim in enumerate((0.91, 0.93, 0.95))
    ]
    text = report(tmp_path, records, "unseen")
    assert rows(text, "SSIM") == [["not run", "0.93 ± 0.02"]]


def test_grids_that_lie_beside_the_report_are_shown(tmp_path: Path) -> None:
    path = grid_path(tmp_path, "task-loss", "inverse/lambda-10/translations")
    assert path == tmp_path / "task-loss" / "inverse_lambda-10.jpg"
    path.parent.mkdir()
    Image.new("RGB", (8, 8)).save(path)
    text = report(tmp_path, everything("task-loss"), "task-loss")
    assert "(task-loss/inverse_lambda-10.jpg)" in text
    assert "inverse_lambda-0.jpg" not in text
    assert path.is_file()


def test_joint_angles_stand_beside_the_papers_and_below_what_they_are_of(tmp_path: Path) -> None:
    text = report(tmp_path, everything("joint-angles"), "joint-angles")
    assert rows(text, "normal")[0] == ["0.008", "–", "32.2", "0.00848"]
    assert rows(text, "inverse-1")[0] == ["0.006", "-25 %", "27.9", "0.00597"]
    assert rows(text, "inverse-10")[0] == ["0.004", "-50 %", "22.8", "–"]
    assert rows(text, "inverse-100")[0] == ["not run", "not run", "not run", "–"]
    assert rows(text, "inverse-1")[1] == ["27.9", "55.8"]  # joint by joint
    above = text[: text.index("| model |")].split("\n\n")[-2]
    assert "images are simulated" in above
    assert "real_standin" in above
    assert "half a turn of it changes the image by 0.0002 on average, a quarter by 0.0123" in text


def test_the_method_to_use_is_the_best_or_the_nearest_of_a_tie(tmp_path: Path) -> None:
    records = everything("methods")
    text = report(tmp_path, records, "methods")
    order = re.findall(r"^\| (\S+) \| (?:\d+ %|not run)", text, re.MULTILINE)
    assert order == ["default", "rcan", "mmd", "cyclegan"]
    assert "Use **rcan**: the intervals of rcan, default overlap the best's, a tie" in text
    assert rows(text, "mmd") == [["20 % [11, 33]", "0.050 ± 0.020", "–", "–", "–", "–", "–"]]
    assert rows(text, "cyclegan") == [["not run"] * 7]
    far = [item if "rcan" not in item.name else dataclasses.replace(item, figures=loop(20, 50)) for item in records]
    assert "Use **default**: no other method's interval reaches its." in report(tmp_path, far, "methods")


def test_the_best_is_named_by_number_of_images_with_what_ties(tmp_path: Path) -> None:
    text = report(tmp_path, everything("adaptation"), "adaptation")
    assert rows(text, "0: rcan") == [["90 % [79, 96]", "40 % [28, 54]", "0 % [0, 7]", "0.078 ± 0.079"]]
    assert rows(text, "800: randomized") == []
    assert "Not run yet: with 800 images randomized." in text
    assert "Nothing has run yet in: dark." in text
    best = "with no images **goals** (80 %); with 10 images **labelled** (90 %)."
    gain = "The best with so many images over the best with none, in points: 10: +10 [-4, +24]."
    assert f"Within 0.03 m most often: {best} {gain}" in text
    unlabelled = (
        "Unlabelled images over none (rcan), in points within 0.1 and 0.03 m: 10: +0 [-13, +13] and +0 [-19, +19]"
    )
    assert f"{unlabelled}, weights of step 0." in text
    rest = [item for item in everything("adaptation") if "goals-0" not in item.name]
    text = report(tmp_path, rest, "adaptation")
    assert "Within 0.1 m most often: with no images **rcan+refined** (92 %, a tie with rcan);" in text


def test_rows_of_traced_looks_stand_by_their_number_of_images(tmp_path: Path) -> None:
    text = report(tmp_path, everything("path-traced"), "path-traced")
    assert re.findall(r"^\| (\S+-\d\S*) \|", text, re.MULTILINE) == [
        "goals-0",
        "fitted-10",
        "unpaired-10-0",
        "unpaired-10-1",
        "goals-100",
    ]
    assert "Not run yet: goals-10." in text
    shown = ["88 % [76, 94]", "42 % [29, 56]", "0 % [0, 7]", "81.2 ± 85.5"]
    (row,) = rows(text, "unpaired-10-1")
    assert row[:4] == shown
    assert row[4:] == ["0.0115", "0.93", "0.027", "0.0263", "0.0108", "250"]
    assert rows(text, "unpaired-10-0")[0][:4] == ["not run"] * 4


def test_an_unknown_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected a study of \['adaptation', .*\], got 'walking'"):
        write_report("walking", [], tmp_path)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.json")), ids=lambda path: path.stem)
def test_the_committed_reports_are_what_their_records_give(path: Path, tmp_path: Path) -> None:
    study = path.stem
    if (RESULTS / study).is_dir():
        shutil.copytree(RESULTS / study, tmp_path / study)  # its grids
    text = report(tmp_path, load_results(path), study)
    assert text == path.with_suffix(".md").read_text(encoding="utf-8")
    for picture in re.findall(r"\]\((.*?\.(?:png|jpg))\)", text):
        assert (RESULTS / picture).is_file(), f"{picture} is not committed"

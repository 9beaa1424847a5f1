from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from experiments.results import Record, load_results, save_results
from taskgan_ros.core.errors import InputError

RECORD = Record(
    study="reaching",
    name="target_a/inverse/closed-loop",
    seed=0,
    step="closed-loop",
    scale="cpu",
    figures={
        "successes": 1,
        "episodes": 2,
        "steps": 100,
        "threshold_m": 0.1,
        "final_distance_mean_m": 0.07,
        "final_distance_std_m": 0.05,
        "final_distances_m": [0.02, 0.12],
        "per_joint": {"shoulder": 1.5},
        "none": [],
    },
    seconds=12.5,
    commit="1bb25b9",
    command="taskgan reproduce reaching --only 'a [b] {c}'",
    hardware="2 CPU cores",
    finished="2026-11-22T17:00:00Z",
)
NOT_RUN = dataclasses.replace(RECORD, name="target_a/benchmark/closed-loop", figures=None, seconds=None, finished="")


def test_what_is_saved_is_loaded_by_name_and_seed(tmp_path: Path) -> None:
    path = tmp_path / "reaching.json"
    another = dataclasses.replace(RECORD, seed=1)
    assert load_results(path) == []
    save_results(path, [another, RECORD, NOT_RUN])
    assert load_results(path) == [NOT_RUN, RECORD, another]
    assert [file.name for file in tmp_path.iterdir()] == ["reaching.json"]


def test_a_change_of_one_list_is_a_change_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "reaching.json"
    save_results(path, [RECORD, NOT_RUN])
    before = path.read_text().splitlines()
    assert '    "final_distances_m": [0.02, 0.12],' in before
    assert RECORD.figures is not None
    changed = dataclasses.replace(RECORD, figures=RECORD.figures | {"final_distances_m": [0.03, 0.1, 0.2]})
    save_results(path, [NOT_RUN, changed])
    after = path.read_text().splitlines()
    assert len(set(before) ^ set(after)) == 2
    assert len(before) == len(after)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"study": "reaching"', "expected a readable JSON file, got: "),
        ("[]", "expected a mapping with a list of records, got list"),
        ('{"study": "reaching"}', "expected a mapping with a list of records, got dict"),
        ('{"records": ["reaching"]}', "record 0: expected a mapping of Record fields, got str"),
        ('{"records": [{"study": "reaching"}]}', "record 0: name: "),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "reaching.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        load_results(path)
    assert str(caught.value).startswith(f"{path}: {message}")


@pytest.mark.parametrize(("field", "value"), [("seed", "first"), ("figures", 5), ("seconds", "long")])
def test_a_record_of_other_values_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "reaching.json"
    path.write_text(json.dumps({"records": [dataclasses.asdict(RECORD) | {field: value}]}))
    with pytest.raises(InputError, match=f"record 0: {field}: .*, got {value!r}"):
        load_results(path)


@pytest.mark.parametrize(
    ("figure", "value", "message"),
    [
        ("episodes", None, "figures: episodes: expected a number, got None"),
        ("steps", "many", "figures: steps: expected a number, got 'many'"),
        ("successes", 3, "figures: expected 0 to episodes successes, got"),
        ("episodes", 0, "figures: expected 0 to episodes successes, got"),
        ("final_distances_m", [0.1], "figures: final_distances_m: expected a list of 2 numbers, got 1"),
        ("final_distances_m", [0.1, "far"], "figures: final_distances_m: 1: expected a number, got 'far'"),
    ],
)
def test_figures_that_no_table_can_be_made_of_are_refused(
    tmp_path: Path, figure: str, value: Any, message: str
) -> None:
    path = tmp_path / "reaching.json"
    assert RECORD.figures is not None
    save_results(path, [dataclasses.replace(RECORD, figures=RECORD.figures | {figure: value})])
    with pytest.raises(InputError, match=message):
        load_results(path)


def test_a_command_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reaching.json"
    save_results(path, [dataclasses.replace(RECORD, command="taskgan 'reproduce")])
    with pytest.raises(InputError, match="record 0: command: expected a shell's words"):
        load_results(path)

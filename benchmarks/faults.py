"""Break a running loop in every way we know, over real DDS, and measure how and when the arm stops.

The real `sim_node` and `reach_node` run as processes in a ROS domain of their own; an injector between them relays
images and joint states, or what a fault makes of them. Each fault begins while the arm moves. Whether it stands is
judged by the simulated arm's own joint velocities, which no fault touches.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from bench import bench_environment
from fault_bench import FaultBench
from fault_list import DRIFTS, GOES_ON, STOPS, STOPS_HARD, TIMEOUT_S, WATCHDOG_S, Fault, make_faults
from fault_timeline import LEAD_S, TAIL_S, draw, pictured
from fault_trial import Trial, run_trial
from report import Row, report

from taskgan_ros.control.command_interfaces import JOINT_TRAJECTORY
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.interrupts import deferred
from taskgan_ros.core.progress import print_line, progress_bar
from taskgan_ros.demo.isolation import SessionError, environment, own_domain

_IN_JSON_ALONE = ("n", "worst halted ms", "state and reason", "goes on", "worst goes on ms")  # a terminal is narrow
_WITHOUT_HALT = {GOES_ON: GOES_ON, DRIFTS: "does not stop"}

Trials = dict[Fault, list[Trial]]


@dataclass(frozen=True)
class Config:
    """Break a running loop and measure the stops."""

    repeats: int = 5
    """Of each fault, each in an episode of its own."""
    only: tuple[str, ...] = ()
    """Words; faults with one of them in their names. Empty for all."""
    bundle: str = "reach_target_wood"
    """A shipped bundle's name or a folder."""
    command_interfaces: tuple[str, ...] = (JOINT_TRAJECTORY,)
    """Through which the arm is driven. Several are compared, by the time until the arm stands; one is shown in full."""
    seed: int = 1000
    """Of the episodes."""
    out: Path | None = None
    """JSON to write."""
    picture: Path | None = None
    """PNG to draw, of one more run with some of the faults in a row."""


def summary(fault: Fault, trials: Sequence[Trial]) -> Row:
    """Return what `trials` have in common and their worst, in ms and shares of the arm file's limits."""
    states = [trial.state for trial in trials if trial.state]
    failures = sorted({failure for trial in trials for failure in trial.failures})
    row: Row = {"fault": fault.name, "n": len(trials), "expected": fault.expected}
    row |= _median_and_worst("stop sent ms", [trial.stop_s - trial.cause_s for trial in trials])
    row |= _median_and_worst("halted ms", [trial.halted_s - trial.cause_s for trial in trials])
    row["state and reason"] = states[0] if states else ""
    row["goes on"] = "" if fault.expected == GOES_ON else fault.recovers
    row |= _median_and_worst("goes on ms", [trial.recovered_s - trial.mended_s for trial in trials])
    return row | {
        "speed": max(trial.speed for trial in trials),
        "acceleration": max(trial.acceleration for trial in trials),
        "rejected": sum(trial.rejected for trial in trials),
        "as expected": sum(not trial.failures for trial in trials),
        "else": "; ".join(failures),
    }


def _median_and_worst(what: str, times_s: Sequence[float]) -> Row:
    """Return both in ms; nothing where it did not come in every trial."""
    if np.isnan(times_s).any():
        return {what: "", f"worst {what}": ""}
    return {what: round(1e3 * float(np.median(times_s))), f"worst {what}": round(1e3 * max(times_s))}


def chosen(faults: Sequence[Fault], words: Sequence[str]) -> list[Fault]:
    """Return the faults with one of the words in their names.

    Raises:
        InputError: there is none.
    """
    found = [fault for fault in faults if not words or any(word in fault.name for word in words)]
    if not found:
        raise InputError(f"--only: expected words of {[fault.name for fault in faults]}, got {list(words)}")
    return found


def run_interface(config: Config, command_interface: str) -> Trials:
    """Run the faults with one command interface."""
    with (
        tempfile.TemporaryDirectory() as folder,
        own_domain() as domain_id,
        environment(bench_environment(domain_id)),
        deferred() as check_interrupt,
    ):
        listed = make_faults(Path(folder), config.bundle, command_interface)
        faults, shown = chosen(listed, config.only), pictured(listed) if config.picture else []
        trials: Trials = {fault: [] for fault in faults}
        drawn: list[tuple[Fault, Trial]] = []
        with (
            FaultBench(domain_id, Path(folder), config.seed, check_interrupt, command_interface) as bench,
            progress_bar(command_interface, len(faults) * config.repeats + len(shown), "episode") as advance,
        ):
            for fault in [fault for fault in faults for _ in range(config.repeats)]:
                trials[fault].append(run_trial(bench, fault))
                advance(1)
            for fault in shown:
                drawn.append((fault, run_trial(bench, fault, LEAD_S, TAIL_S)))
                advance(1)
        if config.picture:
            draw(config.picture, bench.log, drawn)
    return trials


def main(config: Config) -> None:
    """Run the faults, print the table, and say whether every stop came in time."""
    found = {interface: run_interface(config, interface) for interface in config.command_interfaces}
    title = f"faults in a running loop, {config.repeats} of each"
    if len(found) == 1:
        (trials,) = found.values()
        report(title, [summary(*each) for each in trials.items()], config.out, hidden=_IN_JSON_ALONE)
    else:
        summaries: Row = {name: figures(trials) for name, trials in found.items()}
        report(f"{title}: ms until the arm stands", side_by_side(found), config.out, summaries)
    for interface, trials in found.items():
        say(interface, trials)


def side_by_side(found: dict[str, Trials]) -> list[Row]:
    """Return a row for each fault, with the longest time until the arm stands for each interface, ms."""
    rows: list[Row] = []
    for several in zip(*(trials.items() for trials in found.values()), strict=True):
        row: Row = {"fault": several[0][0].name}
        wrong = []
        for interface, (fault, trials) in zip(found, several, strict=True):
            halted_ms = [1e3 * (trial.halted_s - trial.cause_s) for trial in trials]
            stands = fault.expected in (STOPS, STOPS_HARD) and not np.isnan(halted_ms).any()
            row[interface] = f"{max(halted_ms):.0f}" if stands else _WITHOUT_HALT.get(fault.expected, "")
            wrong += [f"{interface}: {failure}" for trial in trials for failure in trial.failures]
        rows.append(row | {"not as expected": "; ".join(sorted(set(wrong)))})
    return rows


def figures(trials: Trials) -> str:
    """Return how many trials of an interface were as expected, and the largest speed and acceleration."""
    every = [trial for several in trials.values() for trial in several]
    soft = [trial for fault, several in trials.items() if fault.expected in (STOPS, GOES_ON) for trial in several]
    good = sum(not trial.failures for trial in every)
    return (
        f"{good} of {len(every)} as expected; speed {max(trial.speed for trial in every):.3g} of its limit, "
        f"acceleration {max(trial.acceleration for trial in soft):.3g} (without abrupt stops), "
        f"{sum(trial.rejected for trial in every)} commands rejected"
    )


def say(command_interface: str, trials: Trials) -> None:
    """Print whether the requirement holds: each fault that the node can see stops the arm in time."""
    seen = [fault for fault in trials if fault.limit_s and fault.expected != GOES_ON]
    delays_s = [(trial.stop_s - trial.cause_s, fault.limit_s) for fault in seen for trial in trials[fault]]
    in_time = sum(delay_s <= limit_s for delay_s, limit_s in delays_s if limit_s)
    limit = f"{TIMEOUT_S:g} s and a watchdog's {WATCHDOG_S:g} s"
    seen_in_time = f"{in_time} of {len(delays_s)}"
    print_line(f"{command_interface}: stop sent within {limit} of the cause, where there is one to see: {seen_in_time}")
    wrong = sum(bool(trial.failures) for several in trials.values() for trial in several)
    print_line(f"{command_interface}: not as expected: {wrong} of {sum(map(len, trials.values()))}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config))
    except KeyboardInterrupt:
        sys.exit("interrupted; the nodes have ended")
    except (InputError, SessionError) as error:
        sys.exit(str(error))

"""docs/reliability.md, made from what the benchmarks have written to docs/reliability, and from nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from report import ROOT, as_text

HEAD = """# How reliable the node is

Every table here is what its command measured; `benchmarks/reliability_page.py` makes this page from the JSON in
`docs/reliability/`. Run the commands from the repository's root with `.venv/bin/python`, which `make setup-test` makes.
All but the first, and the Panda in the second, are of a shipped bundle `reach_target_wood` in a real `reach_node`
process, over real DDS on one machine. Tables of 2026-11-29 and before are of the bundle that was shipped then, which
predicts velocities; today's predicts the joint angles at the goal."""


@dataclass(frozen=True)
class Section:
    """One benchmark's part of the page: its JSON has `name`, and so has its script unless it is another one."""

    name: str
    heading: str
    text: str
    picture: str = ""
    options: str = ""
    script: str = ""

    @property
    def command(self) -> str:
        """The command that measures it."""
        words = [f"benchmarks/{self.script or self.name}.py", self.options, f"--out docs/reliability/{self.name}.json"]
        return " ".join(word for word in words if word)


SECTIONS = (
    Section(
        "control_limits",
        "A policy gone wild",
        """\
Random commands and stops pass the control layer alone: velocities and angles, 1/100 to 1000 times the limits, 7 to 50
Hz, for arms that follow, lag or are blocked, with the motors of several arms. The controller interpolates linearly
between points; its commands are differentiated over 10 ms. Each figure is the worst of them, as a share of its limit.
The command to a blocked arm returns to its measured pose, abruptly but no faster than its top speed. Fast arms do not
reach their top speed, because `max_step_rad` is 0.5 rad.""",
    ),
    Section(
        "servo_lag",
        "A servo that lags",
        """\
The policy drives the simulated cell's arm, a Mico and last a Panda, at 20 Hz, over DDS. The arm's controller is a
model of ros2_control's JointTrajectoryController, and its joints are first-order servos. The controller's command at
every update shows whether a message sets back a joint that should keep moving forward, and the largest speed and
acceleration; joint states show how far the arm goes, as a share of what was requested. In the rows "on arrival"
trajectories have no stamp, as happens where clocks differ: the controller starts each one at its next update, which
makes the speed uneven.""",
    ),
    Section(
        "outputs",
        "Which command interface",
        """\
The policy drives the simulated cell's arm over DDS through each `command_interface`, a Mico and last a Panda, in ten
episodes each. Tracking is how far the driven joints are from what their controller commands for that moment; jerk is
the third difference of its commands at its own rate, which is what servos get. Then the arm is stopped while it moves,
in an episode each: by `~/hold`, by a camera that falls silent (from its last image), by `kill -9` of the node. Seconds
until the arm stands, and how far a joint goes meanwhile. A forward_command_controller for velocities holds the last one
when the node is killed. In two rows joint states come late, each by a random time, in their order. joint_jog is
missing, for control_msgs was not there; the bundle before arrived with it in 10 of 10 at each lag (commit 8c24711).""",
    ),
    Section(
        "output_faults",
        "Faults with each command interface",
        """\
[The faults of the next sections](#faults-while-the-arm-moves), once with each `command_interface`: ms from the cause
until the arm stands. A cell that is killed takes its arm with it, and a fault that the arm goes on with has no such
time. A stalled or killed node says nothing: a position group rests where it was sent last, at once, as joint jogs do
after Servo's timeout; a velocity group does not stop. These may be abrupt; everything else keeps the arm file's
accelerations, to 1.3 times of them, which is how well they are known.""",
        options="--command-interfaces joint_trajectory position_group velocity_group joint_jog kinova --repeats 1",
        script="faults",
    ),
    Section(
        "malformed_images",
        "Malformed images",
        """\
Each kind of fault is drawn at random, and so that it must be refused. The node is active, has run on good images
before, and its joint states are fresh. What is lost on the way is sent again: the node has looked at every image. A
JPEG has no checksum: of those with flipped bits, only such are sent as do not decode; the others are images.""",
    ),
    Section(
        "faults",
        "Faults while the arm moves",
        """\
Each fault comes while the node drives the simulated cell's arm. Times are medians from the cause: until the stop is
sent, until the arm stands by the cell's own joint speeds, and from the fault's end until commands resume. Speed and
acceleration are the largest, as shares of the arm file's limits; by the cell's joint states, which come at uneven
times, an acceleration is known to a tenth. Commands resume by themselves, or, after a fault of the node's, from when a
person has activated it again: half a second of joint states comes first. Trainings ran on the same two cores, at the
lowest priority. A command that is stamped while the clock jumps may be rejected; the arm then stops.""",
        picture="timeline.png",
        options="--picture docs/reliability/timeline.png",
    ),
    Section(
        "soak",
        "A long run",
        """\
Expert paths are replayed forwards and backwards as images of 640x480 at 30 Hz, each with the joint angles it shows,
and joint states at 100 Hz. Every trajectory must pass the checks of a JointTrajectoryController. Trainings ran on the
same two cores, at the lowest priority.""",
        picture="soak.png",
        options="--minutes 60",
    ),
    Section(
        "guard",
        "Images unlike the training's",
        """\
The share of images that each score, and either, notices when it also objects to 1 % of good ones, and what the node
objects to by default. Cameras are moved in the simulation, pictures in the image. The last column is how far the
command is off, as a share of the usual one: what is not noticed should be small there. Each image is judged by itself;
in a row, as the node has them, more is noticed.""",
        picture="guard.png",
        options="--picture docs/reliability/guard.png",
    ),
    Section(
        "moved_camera",
        "A camera that has moved",
        """\
The simulated camera is moved, or turned about its place, in random directions; three images of an arm that stands tell
how far, by where they show it. Noticed: seen further off than 1 % of the estimates are with a camera that stands right;
the node's own limit is 0.4 % of the picture's height, and twice in a row. Errors are medians of what was noticed: the
direction's, and those of the whole estimate of place and turn.""",
    ),
    Section(
        "latency",
        "Latency and CPU",
        """\
Image stamp to command published, from a camera in another process. The node, in a process of its own, and the bare
networks (F and f_X) take turns at the same rate; so does the node of the commit that a row names. Both nodes run the
same bundle. Since its networks take less than half of the time that they took before commit e67f107, what the node adds
is a larger share: look at the milliseconds too.""",
        options="--before CHECKOUT",
    ),
    Section(
        "hops",
        "Where the time goes",
        """\
The node's functions wrapped, so that each image has a stamp at every hop; the columns with a commit are of its node.
The columns were measured one after the other, so compare the networks' row first. What follows the networks costs more
than its work, because they leave nothing else in the caches: in a trial the first call of a numpy function took six
times as long as the next. What we tried and left out: a subscription to bytes saves 0.1 to 0.2 ms of the take, and
some of that goes into reading them; the EventsExecutor of Jazzy's wheels (rclpy 7.1.6) takes a whole core and calls
nothing back. The guard stays in the way, for it must have judged an image before its command is sent.""",
        options="--before CHECKOUT",
    ),
)


def make_page(folder: Path) -> str:
    """Return the page in Markdown, of the JSON and pictures in `folder`; a benchmark without its JSON was not run."""
    parts = [HEAD]
    for section in SECTIONS:
        parts += [f"## {section.heading}", section.text]
        path = folder / f"{section.name}.json"
        if not path.is_file():
            parts.append(f"Not run: `{section.command}`")
            continue
        parts += _measured(json.loads(path.read_text(encoding="utf-8")))
        if section.picture and (folder / section.picture).is_file():
            parts.append(f"![{section.heading}](reliability/{section.picture})")
    return "\n\n".join(parts) + "\n"


def _measured(result: dict[str, Any]) -> list[str]:
    machine = result["machine"]
    where = f"{machine['machine']}, {machine['cores']} cores, Python {machine['python']}"
    commit = f", commit {result['commit']}" if result["commit"] else ""
    parts = [f"`{result['command']}`  \n{result['date']}{commit}; {where}", f"**{result['title']}**"]
    if result["summary"]:
        parts.append("\n".join(f"- {name}: {as_text(value)}" for name, value in result["summary"].items()))
    return [*parts, _table(result["rows"], result["hidden"])]


def _table(rows: list[dict[str, Any]], hidden: list[str]) -> str:
    """Return rows as a table without the columns `hidden`, numbers to the right."""
    names = [name for name in rows[0] if name not in hidden]
    rules = ["---" if isinstance(rows[0][name], str) else "---:" for name in names]
    lines = [names, rules, *([as_text(row.get(name, "")) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Config:
    """Make the page of the benchmarks' JSON."""

    folder: Path = ROOT / "docs" / "reliability"
    """Of the JSON and pictures."""
    out: Path = ROOT / "docs" / "reliability.md"
    """The page."""


def main(config: Config) -> None:
    """Write the page."""
    config.out.write_text(make_page(config.folder), encoding="utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config))

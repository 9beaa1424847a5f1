"""The command `taskgan`: each verb imports only its own package, and so needs only that package's dependencies."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from taskgan_ros.core import interrupts, streams
from taskgan_ros.core.config import share_dir
from taskgan_ros.core.errors import InputError

Verb = Callable[[Sequence[str]], int | None]
T = TypeVar("T")

EXIT_INPUT_ERROR, EXIT_INTERRUPTED = 2, 130
_ARMS = "trimesh", "fast_simplification", "yourdfpy", "xacrodoc", "collada"
_RECORDINGS = "rosbags", "scipy", "mcap", "zstandard", "pyarrow", "av"
_OF_RECORDINGS = "import", "export-dataset", "calibrate", "overlay", "replay"  # verbs that need no torch
_ROS = "rclpy", "sensor_msgs", "trajectory_msgs", "std_srvs", "std_msgs", "diagnostic_msgs", "lifecycle_msgs"


def _parse(config: type[T], arguments: Sequence[str], verb: str) -> T:
    return tyro.cli(config, prog=f"taskgan {verb}", args=list(arguments))


def _reach(arguments: Sequence[str]) -> int | None:
    """Watch the loop close over ROS 2: a simulated cell, and the node that drives it by its camera."""
    from taskgan_ros.demo.session import ReachConfig, reach

    return reach(_parse(ReachConfig, arguments, "reach"))


def _arm(arguments: Sequence[str]) -> None:
    """Show what is understood of an arm's own URDF, xacro or MJCF."""
    from taskgan_ros.sim.show_arm import STDOUT, ArmConfig, show_arm

    given = list(arguments)
    at = given.index("--json") + 1 if "--json" in given else 0
    if at and (at == len(given) or given[at].startswith("--")):
        given.insert(at, STDOUT)
    show_arm(_parse(ArmConfig, given, "arm"))


def _scene(arguments: Sequence[str]) -> None:
    """Write a first scene file for an arm, with a picture, to be edited."""
    from taskgan_ros.sim.first_scene import SceneConfig, write_first_scene

    write_first_scene(_parse(SceneConfig, arguments, "scene"))


def _collect(arguments: Sequence[str]) -> None:
    """Record episodes in a domain: the expert's, or random poses."""
    from taskgan_ros.sim.collect import CollectConfig, collect

    collect(_parse(CollectConfig, arguments, "collect"))


def _import(arguments: Sequence[str]) -> None:
    """Make a dataset from your own recordings: bags, LeRobotDatasets, folders of images."""
    from taskgan_ros.recordings.import_recording import ImportConfig, import_recording

    import_recording(_parse(ImportConfig, arguments, "import"))


def _export_dataset(arguments: Sequence[str]) -> None:
    """Write a dataset as a LeRobotDataset, for other tools."""
    from taskgan_ros.recordings.export_dataset import ExportDatasetConfig, export_dataset

    export_dataset(_parse(ExportDatasetConfig, arguments, "export-dataset"))


def _calibrate(arguments: Sequence[str]) -> None:
    """Find where a recording's camera stands, and write a scene with it."""
    from taskgan_ros.recordings.calibrate import CalibrateConfig, calibrate

    calibrate(_parse(CalibrateConfig, arguments, "calibrate"))


def _overlay(arguments: Sequence[str]) -> None:
    """Draw a scene's arm over recorded pictures."""
    from taskgan_ros.recordings.overlay import OverlayConfig, overlay

    overlay(_parse(OverlayConfig, arguments, "overlay"))


def _evaluate(arguments: Sequence[str]) -> None:
    """Close the loop in simulation and count arrivals, or measure on a recording; without ROS."""
    from taskgan_ros.sim.evaluate import EvaluateConfig, evaluate

    evaluate(_parse(EvaluateConfig, arguments, "evaluate"))


def _train_task_model(arguments: Sequence[str]) -> None:
    """Step 1: learn to predict the labels from images of one domain."""
    from taskgan_ros.training.steps.task_model import TaskModelConfig, train_task_model

    train_task_model(_parse(TaskModelConfig, arguments, "train task-model"))


def _train_translator(arguments: Sequence[str]) -> None:
    """Step 2: learn to translate the target's images into the source's, or the other way."""
    from taskgan_ros.training.steps.translator import parse_translator, train_translator

    train_translator(parse_translator(arguments))


def _train_two_column(arguments: Sequence[str]) -> None:
    """Forward direction: learn the target's task model from pairs of images of both domains."""
    from taskgan_ros.training.steps.two_column import TwoColumnConfig, train_two_column

    train_two_column(_parse(TwoColumnConfig, arguments, "train two-column"))


def _refine(arguments: Sequence[str]) -> None:
    """Step 3: continue training the task model with translated images mixed in."""
    from taskgan_ros.training.steps.refine import RefineConfig, refine

    refine(_parse(RefineConfig, arguments, "refine"))


def _export(arguments: Sequence[str]) -> None:
    """Write a bundle of ONNX graphs from trained models."""
    from taskgan_ros.training.steps.export import ExportConfig, export

    export(_parse(ExportConfig, arguments, "export"))


def _adapt(arguments: Sequence[str]) -> None:
    """Make a bundle from a recording, all steps in one command, with a report."""
    from taskgan_ros.training.adapt import AdaptConfig, adapt

    adapt(_parse(AdaptConfig, arguments, "adapt"))


def _bundle(arguments: Sequence[str]) -> None:
    """Make a bundle from your own task model, an ONNX file."""
    from taskgan_ros.training.bundle import BundleConfig, make_bundle

    make_bundle(_parse(BundleConfig, arguments, "bundle"))


def _guard(arguments: Sequence[str]) -> None:
    """Give a bundle a guard against out-of-distribution images."""
    from taskgan_ros.training.steps.fit_guard import GuardConfig, add_guard

    add_guard(_parse(GuardConfig, arguments, "guard"))


def _quantize(arguments: Sequence[str]) -> None:
    """Convert a bundle's translator to int8, which is faster on a CPU."""
    from taskgan_ros.training.quantize import QuantizeConfig, quantize

    quantize(_parse(QuantizeConfig, arguments, "quantize"))


def _upgrade(arguments: Sequence[str]) -> None:
    """Convert an older bundle to this version's format."""
    from taskgan_ros.training.upgrade import UpgradeConfig, upgrade

    upgrade(_parse(UpgradeConfig, arguments, "upgrade"))


def _replay(arguments: Sequence[str]) -> None:
    """Show what the node would have commanded, had it seen a recording."""
    from taskgan_ros.recordings.replay import ReplayConfig, replay

    replay(_parse(ReplayConfig, arguments, "replay"))


def _reproduce(arguments: Sequence[str]) -> int:
    """Rerun a study of the paper: its jobs, tables and figures."""
    root = share_dir()
    if not (root / "experiments" / "Snakefile").is_file():
        raise InputError(f"expected a checkout of the repository, whose experiments/ has the studies, got {root}")
    sys.path.insert(0, str(root))
    from experiments.reproduce import main

    return main(arguments)


VERBS: dict[tuple[str, ...], Verb] = {
    ("reach",): _reach,
    ("arm",): _arm,
    ("scene",): _scene,
    ("collect",): _collect,
    ("import",): _import,
    ("export-dataset",): _export_dataset,
    ("calibrate",): _calibrate,
    ("overlay",): _overlay,
    ("train", "task-model"): _train_task_model,
    ("train", "translator"): _train_translator,
    ("train", "two-column"): _train_two_column,
    ("refine",): _refine,
    ("adapt",): _adapt,
    ("export",): _export,
    ("bundle",): _bundle,
    ("guard",): _guard,
    ("quantize",): _quantize,
    ("upgrade",): _upgrade,
    ("evaluate",): _evaluate,
    ("replay",): _replay,
    ("reproduce",): _reproduce,
}


def _usage() -> str:
    lines = ["usage: taskgan VERB [options]; taskgan VERB --help says more", ""]
    for words, verb in VERBS.items():
        lines.append(f"  {' '.join(words):18} {(verb.__doc__ or '').strip()}")
    return "\n".join(lines)


def _find(arguments: Sequence[str]) -> tuple[Verb, Sequence[str]]:
    for words, verb in VERBS.items():
        if tuple(arguments[: len(words)]) == words:
            return verb, arguments[len(words) :]
    given = " ".join(arguments[:2]) or "nothing"
    raise InputError(f"expected one of the verbs below, got {given}\n\n{_usage()}")


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit status: 0 done, 2 bad input, 130 interrupted by Ctrl-C, SIGTERM or SIGHUP.

    If printing fails, no result is lost, and the status stays the same where the results are in files.
    """
    with streams.never_failing():
        status = _run(arguments)
        if fault := streams.fault():
            print(f"taskgan: standard output: expected to print everything there, got: {fault}", file=sys.stderr)
        return status


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in ("-h", "--help"):
        print(_usage())
        return 0
    try:
        verb, rest = _find(arguments)
        with interrupts.raised():
            return verb(rest) or 0
    except (InputError, FloatingPointError, OSError) as error:  # the others: training diverged, a disk or a permission
        _tell(error, str(error))
        return EXIT_INPUT_ERROR
    except ModuleNotFoundError as error:
        return _missing(error, arguments)
    except KeyboardInterrupt as error:
        _tell(error, str(error) or "interrupted")
        return EXIT_INTERRUPTED


def _tell(error: BaseException, what: str) -> None:
    """Print `what` and the notes that were added to the error, such as how to resume."""
    print("; ".join([f"taskgan: {what}", *getattr(error, "__notes__", [])]), file=sys.stderr)


def _missing(error: ModuleNotFoundError, arguments: Sequence[str]) -> int:
    root = (error.name or "").split(".")[0]
    if root == "taskgan_ros":
        raise error
    of_extra = {"ros-wheels": _ROS, "arms": _ARMS, "recordings": _RECORDINGS, "experiments": ("skimage", "snakemake")}
    extras = {module: extra for extra, modules in of_extra.items() for module in modules}
    extra = extras.get(root, "recordings" if root == "h5py" and arguments[0] in _OF_RECORDINGS else "training")
    hint = f"pip install -e '.[{extra}]'"
    if root in _ROS:
        hint = f"source a ROS 2 installation, or {hint}"
    print(f"taskgan: expected the Python module {root}, got none: {hint}", file=sys.stderr)
    return EXIT_INPUT_ERROR


def main() -> None:
    """Run `taskgan` with the process's arguments."""
    streams.open_standard()
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()

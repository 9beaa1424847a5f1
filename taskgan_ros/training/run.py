"""A run folder: resolved configuration, metrics, TensorBoard, pictures, checkpoints and weights."""

from __future__ import annotations

import io
import json
import math
import platform
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import torch
import yaml
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter

import taskgan_ros
from taskgan_ros.core import interrupts
from taskgan_ros.core.config import load
from taskgan_ros.core.errors import InputError
from taskgan_ros.core.files import check_free, lock, remove_partials, whole, write_bytes, write_text
from taskgan_ros.core.schema import Field, config_dataclass, to_plain
from taskgan_ros.training import distributed

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, lt=1)]

# Options that older runs lack, with their former behaviour, so that such a run can be resumed, and found by a study.
NEWER: Final = {
    "task_model": None,
    "pixel_focus": 0.0,
    "keep_best": False,
    "merges": False,
    "optimiser": "adam",
    "pretrain_optimiser": "adam",
    "align_steps": 0,
}
CONFIG, METRICS, CHECKPOINT = "config.yaml", "metrics.jsonl", "checkpoint.pt"


@config_dataclass
class RunOptions:
    """The options of every training run."""

    out: Path
    """The run's folder; must not exist unless resuming."""
    seed: int = 0
    """Seed of the split, the initial weights and every batch."""
    device: str = "auto"
    """auto, cpu or cuda."""
    resume: bool = False
    """Go on from the run's last checkpoint."""
    log_every: Count = 50
    """Steps between figures."""
    show_every: Count = 500
    """Steps between validations and pictures."""
    save_every: Count = 500
    """Steps between checkpoints."""


@config_dataclass
class Description:
    """What a run's `config.yaml` says: the training step, the versions that did it, and its options."""

    kind: str
    taskgan_version: str
    torch: str
    config: dict[str, Any]


@contextmanager
def open_run(kind: str, config: RunOptions) -> Iterator[Run]:
    """Open a run's folder, and close it after the block; an interrupt then says how to resume.

    Raises:
        InputError: as `Run`.
    """
    threading.excepthook = _report_fault
    try:
        with interrupts.deferred():  # so that the folder is complete
            run = Run(kind, config)
        try:
            yield run
        finally:
            run.close()
    except KeyboardInterrupt as error:
        error.add_note("resume with the same command and --resume")
        raise
    finally:
        threading.excepthook = threading.__excepthook__


def _report_fault(fault: threading.ExceptHookArgs) -> None:
    """Print what ended a thread, except TensorBoard's writer on a full disk, whose error `Run` raises again."""
    if not (isinstance(fault.exc_value, OSError) and type(fault.thread).__name__ == "_AsyncWriterThread"):
        threading.__excepthook__(fault)


class Run:
    """One training run's folder, open for writing; of several processes, the first alone touches it.

    Attributes:
        path: the folder.
        step: how many steps its checkpoint has done, 0 in a new run.
    """

    def __init__(self, kind: str, config: RunOptions) -> None:
        """Create the folder, or open the one to resume.

        Raises:
            OutputExistsError: it exists and resuming was not requested.
            InputError: nothing to resume there, it was started with another configuration, or another command is
                training it.
        """
        self.path, self.step = config.out, 0
        self._state: dict[str, Any] | None = None
        self._board: SummaryWriter | None = None
        self._lock: BinaryIO | None = None
        distributed.agree()  # all inputs are checked before anything is made
        if distributed.is_first():
            self._open(kind, config)

    def _open(self, kind: str, config: RunOptions) -> None:
        path = self.path
        plain = {name: value for name, value in to_plain(config).items() if name not in ("out", "resume", "device")}
        if config.resume:
            self._check_same(kind, plain)
            self._lock = _lock(path)
            remove_partials(path)
            self._state = load_checkpoint(path) if (path / CHECKPOINT).exists() else None  # stopped before the first
        else:
            check_free(path)
            path.mkdir(parents=True)
            versions = {"taskgan_version": taskgan_ros.__version__, "torch": str(torch.__version__)}
            described = Description(kind=kind, **versions, config=plain)
            write_text(path / CONFIG, yaml.safe_dump(to_plain(described), sort_keys=False))
            self._lock = _lock(path)
        if self._state:
            self.step = self._state["step"]
        self._drop_later_metrics()
        with self._writing("TensorBoard's curves"):
            self._board = SummaryWriter(str(path / "tensorboard"), purge_step=self.step)

    def restore(self, trainer: Any) -> None:
        """Give `trainer` the state of the checkpoint; nothing in a new run. All processes get the first's."""
        if distributed.world_size() > 1:
            self._state = distributed.first(lambda: self._state or {"step": 0, "trainer": trainer.state_dict()})
        if self._state:
            self.step = self._state["step"]
            trainer.load_state_dict(self._state["trainer"])
            self._state = None  # two copies of every weight are not needed again

    def log(self, step: int, figures: dict[str, float]) -> None:
        """Append figures to `metrics.jsonl` and TensorBoard."""
        with self._writing(METRICS), (self.path / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **figures}) + "\n")
        with self._writing("TensorBoard's curves") as board:
            for name, value in figures.items():
                board.add_scalar(name, value, step)

    def show(self, step: int, name: str, image: Tensor) -> None:
        """Save a picture (3, H, W) in [0, 1] to `images/` and TensorBoard."""
        from PIL import Image

        folder = self.path / "images"
        folder.mkdir(exist_ok=True)
        pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
        with whole(folder / f"{name}_{step:06d}.png") as partial:
            Image.fromarray(pixels).save(partial)
        with self._writing("TensorBoard's pictures") as board:
            board.add_image(name, image, step)

    def save(self, step: int, trainer: Any) -> None:
        """Write weights and checkpoint, each whole or not at all; a checkpoint's weights are never older than it is."""
        for name, network in trainer.networks().items():
            save_weights(self.path / f"{name}.safetensors", network)
        save_atomically(self.path / CHECKPOINT, {"step": step, "trainer": trainer.state_dict()})
        with self._writing("TensorBoard's curves") as board:
            board.flush()

    def close(self) -> None:
        """Close what is open, and let another command train the run."""
        if self._board:
            with suppress(OSError):  # a full disk; `save` has reported it
                self._board.close()
        if self._lock:
            self._lock.close()

    @contextmanager
    def _writing(self, what: str) -> Iterator[Any]:
        """Yield TensorBoard's writer, which writes in a thread and reports later why it could not."""
        try:
            yield self._board
        except OSError as error:
            raise InputError(
                f"{self.path}: expected to write {what} there, got: {error}; the last checkpoint is intact"
            ) from error

    def _check_same(self, kind: str, plain: dict[str, Any]) -> None:
        described = read_description(self.path)
        if described.kind != kind:
            raise InputError(f"{self.path}: expected a run of {kind} to resume, got one of {described.kind}")
        before, after = _flat(described.config), _flat(plain)
        before = {name: NEWER.get(name.rsplit(".")[-1]) for name in after} | before
        differing = sorted(name for name, value in after.items() if before[name] != value)
        if differing:
            was = {name: before[name] for name in differing}
            now = {name: after[name] for name in differing}
            raise InputError(f"{self.path}: expected the configuration it started with, {was}, got {now}")

    def _drop_later_metrics(self) -> None:
        """Forget figures after the checkpoint, and lines cut short: those steps are done again."""
        path = self.path / METRICS
        if path.is_file():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) <= self.step]
            write_text(path, "".join(line + "\n" for line in kept))


def _lock(path: Path) -> BinaryIO:
    """Return a file of the run with an exclusive lock until it is closed."""
    try:
        return lock(path / CONFIG)
    except BlockingIOError as error:
        raise InputError(f"{path}: expected no other command to be training this run, but one is") from error
    except OSError as error:
        raise InputError(f"{path}: expected a run to write to, got: {error}") from error


def _step_of(line: str) -> float:
    """Return the step of a line of figures; infinity of what a crash or a full disk left of one."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, KeyError):
        return math.inf


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested dicts by dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in values.items():
        leaves |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return leaves


def read_description(path: Path) -> Description:
    """Return a run's `config.yaml`.

    Raises:
        InputError: no run there, or a file that no run wrote.
    """
    file = path / CONFIG
    if not file.is_file():
        raise InputError(f"{path}: expected a training run (a folder with {CONFIG}), got none")
    return load(Description, file)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return a run's last checkpoint.

    Raises:
        InputError: none there, or a damaged one.
    """
    file = path / CHECKPOINT
    if not file.is_file():
        raise InputError(f"{path}: expected {CHECKPOINT} to resume from, got none: start again without --resume")
    try:
        state: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a damaged file
        raise InputError(f"{file}: expected a whole checkpoint, got a damaged one: {error}") from error
    return state


def save_atomically(path: Path, state: dict[str, Any]) -> None:
    """Write `state` so that `path` is always the old file or the new one; errors as `write_bytes`."""
    buffer = io.BytesIO()  # torch's own writer hides why it failed
    torch.save(state, buffer)
    write_bytes(path, buffer.getvalue())


def save_weights(path: Path, network: nn.Module) -> None:
    """Write a network's weights as safetensors, whole or not at all; errors as `write_bytes`."""
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_bytes(path, save(weights))


def load_weights(path: Path, network: nn.Module) -> None:
    """Read a network's weights.

    Raises:
        InputError: no such file, or weights of another network.
    """
    set_weights(network, read_weights(path), path)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return weights by name.

    Raises:
        InputError: no such file, or another kind of file.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected weights, got no file: has that run saved yet?")
    try:
        weights: dict[str, Tensor] = load_file(path)
    except Exception as error:  # safetensors raises types of its own
        raise InputError(f"{path}: expected weights, got another file: {error}") from error
    return weights


def set_weights(network: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Give a network the weights that were read from `path`.

    Raises:
        InputError: they are of another network.
    """
    try:
        network.load_state_dict(weights)
    except Exception as error:  # torch raises several types
        raise InputError(f"{path}: expected weights of {type(network).__name__}, got others: {error}") from error


def pick_device(name: str) -> torch.device:
    """Return the device that `name` requests; `auto` takes a GPU where there is one, and each process its own.

    Raises:
        InputError: a GPU was requested and there is none, or something else than a CPU or a GPU was.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"expected a CUDA GPU for device {name!r}, got none on this machine ({platform.node()})")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"expected auto, cpu or cuda as device, got {name!r}")
    device = torch.device(name)
    return distributed.own_device(device) if device.type == "cuda" else device

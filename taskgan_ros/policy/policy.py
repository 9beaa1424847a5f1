"""A bundle's graphs at work: observation to action."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from taskgan_ros.core.errors import InputError
from taskgan_ros.policy.bundle import (
    COMMAND,
    FINITE,
    IMAGE,
    JOINT_POS,
    POLICY,
    TASK_MODEL,
    TRANSLATED,
    TRANSLATOR,
    Bundle,
)

CPU = "CPUExecutionProvider"

Options = Mapping[str, Mapping[str, str]]  # of each provider, the preferred first

_GREY = 128  # mid-range, as networks may saturate at the ends of the pixel range


@dataclass(frozen=True)
class Prediction:
    """What the policy makes of N observations.

    Attributes:
        commands: (N, K, J) in the card's `units` and order of `joint_names`, exactly as the network gave them: not
            limited, and NaN for an image if any value between it and its commands was not finite. K is 1 but for
            bundles with a `chunk`.
        step_s: s that each of the K commands is meant for, the first from the image's time on; None for a single
            one, which holds until the next.
        translated: (N, H, W, 3) uint8 RGB, F(image); None unless asked for.
    """

    commands: NDArray[np.float64]
    step_s: float | None
    translated: NDArray[np.uint8] | None


class Policy:
    """f_X(F(image)), or f_X(image) alone; safe to call from several threads.

    Attributes:
        card: the bundle's.
        translate: whether F is in it.
        home: (n,) rad, the arm's joints.
        fallen_back: the reason for each requested execution provider that is not in use.
    """

    def __init__(
        self,
        bundle: Bundle,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        translate: bool = True,
        provider_options: Sequence[str] = (),
        allow_fallback: bool = False,
    ) -> None:
        """Load the graphs that are needed: the policy's, or where there is none the translator's and the task model's.

        Args:
            bundle: from `load_bundle`.
            providers: of onnxruntime, the preferred first. Each must be usable: none is replaced silently.
            threads: for one image; None for one per core.
            translate: False feeds the image to the task model (f_X) as it is, for images from the simulation. So does
                True where the bundle has no translator.
            provider_options: each `provider.option=value`, as onnxruntime names them.
            allow_fallback: use those of `providers` that start, or the CPU if none does; `fallen_back` says why.

        Raises:
            InputError: a provider that is not usable here, an option of another form or of a provider that is not
                asked for, a thread count below 1, or a file that is gone since.
        """
        self.card = bundle.card
        self.translate = translate and TRANSLATOR in bundle.card.files
        self.home = np.array(bundle.arm.home)
        self._observed = bundle.arm.indices(bundle.card.joint_pos_names)
        graphs = [bundle.path / name for name in _graphs(bundle, self.translate)]
        wanted = _read_options(provider_options, providers)
        self.fallen_back: Mapping[str, str] = {}
        try:
            sessions = _open(graphs, wanted, threads)
        except InputError:
            if not (allow_fallback and wanted):
                raise
            sessions, self.fallen_back = _open_what_starts(graphs, wanted, threads)
        *translators, self._session = sessions
        self._translator = translators[0] if translators else None

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, the preferred first."""
        return tuple(self._session.get_providers())

    @property
    def takes_joint_pos(self) -> bool:
        """Whether `act` needs the joint positions too."""
        return self._observed.size > 0

    def warm_up(self) -> None:
        """Run the first inference, which is slow, on a grey image with the arm at home.

        Raises:
            InputError: its command is not finite.
        """
        grey = np.full((1, *self.card.image.shape, 3), _GREY, np.uint8)
        commands = self.act(grey, self.home[None]).commands
        if not np.isfinite(commands).all():
            raise InputError(
                f"bundle {self.card.name}: expected weights and activations that are finite on {self.providers[0]}, "
                f"got the command {commands[0].tolist()} from a grey image"
            )

    def act(
        self, images: NDArray[np.uint8], joint_pos: NDArray[np.float64] | None = None, want_translated: bool = False
    ) -> Prediction:
        """Return the commands for N observations, and on demand what the translator made of their images.

        Args:
            images: (N, H, W, 3) uint8 RGB, N ≥ 1, of the card's height and width.
            joint_pos: (N, n) rad, all of the arm's joints when the images were taken; needed if `takes_joint_pos`.
            want_translated: also return F(image). The graph always turns it into bytes, as only training builds
                of onnxruntime leave out nodes whose output nobody wants: 0.16 ms of 46 ms at 128×128.

        Raises:
            InputError: images or joint positions of another type or shape, or a translation asked of a policy
                without one.
        """
        self._check(images)
        if want_translated and not self.translate:
            raise InputError("want_translated: expected a policy with a translator, got one without")
        inputs: dict[str, NDArray[Any]] = {IMAGE: images, **self._read_joint_pos(joint_pos, len(images))}
        if self._translator:
            return self._act_in_two(self._translator, inputs, want_translated)
        command, *rest = self._run(self._session, [COMMAND, TRANSLATED] if want_translated else [COMMAND], inputs)
        return self._prediction(command, rest[0] if rest else None)

    def _act_in_two(
        self, translator: ort.InferenceSession, inputs: Mapping[str, NDArray[Any]], want_translated: bool
    ) -> Prediction:
        """Run the translator, then the task model: 0.1 ms of 11.8 more than one graph of both at 128×128."""
        translated, is_finite = self._run(translator, [TRANSLATED, FINITE], {IMAGE: inputs[IMAGE]})
        (command,) = self._run(self._session, [COMMAND], {**inputs, IMAGE: translated})
        command[~is_finite] = np.nan  # the translation as bytes hides its NaN
        return self._prediction(command, translated if want_translated else None)

    def _prediction(self, command: NDArray[np.float32], translated: NDArray[np.uint8] | None) -> Prediction:
        chunk = self.card.chunk
        commands = command.reshape(len(command), -1, len(self.card.joint_names)).astype(np.float64)
        return Prediction(commands, chunk.step_s if chunk else None, translated)

    def _run(
        self, session: ort.InferenceSession, wanted: list[str], inputs: Mapping[str, NDArray[Any]]
    ) -> list[NDArray[Any]]:
        if self.providers[0] == CPU:  # nothing is copied there, and a binding took 0.06 ms more of 11.7
            return session.run(wanted, dict(inputs))
        binding = session.io_binding()  # one per call: threads may share the session, not this
        for name, values in inputs.items():
            binding.bind_cpu_input(name, np.ascontiguousarray(values))
        for name in wanted:
            binding.bind_output(name)  # to the CPU's memory
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    def _check(self, images: NDArray[np.uint8]) -> None:
        size = (*self.card.image.shape, 3)
        is_array = isinstance(images, np.ndarray)
        if is_array and images.dtype == np.uint8 and images.shape[1:] == size and len(images) > 0:
            return
        expected = f"expected uint8 [N, {size[0]}, {size[1]}, 3] with N >= 1"
        raise InputError(f"images: {expected}, got {_described(images)}")

    def _read_joint_pos(self, joint_pos: NDArray[np.float64] | None, count: int) -> dict[str, NDArray[np.float32]]:
        """Return the observed joints' angles as the graph's input, or no input where it takes none."""
        if not self.takes_joint_pos:
            return {}
        shape = (count, len(self.home))
        is_array = isinstance(joint_pos, np.ndarray) and np.issubdtype(joint_pos.dtype, np.floating)
        if joint_pos is None or not is_array or joint_pos.shape != shape:
            raise InputError(f"joint_pos: expected float {list(shape)}, got {_described(joint_pos)}")
        return {JOINT_POS: joint_pos[:, self._observed].astype(np.float32)}


def _graphs(bundle: Bundle, translate: bool) -> tuple[str, ...]:
    """Return the files to run, one after the other."""
    if not translate:
        return (TASK_MODEL,)
    return (POLICY,) if POLICY in bundle.card.files else (TRANSLATOR, TASK_MODEL)


def _described(values: object) -> str:
    return f"{values.dtype} {list(values.shape)}" if isinstance(values, np.ndarray) else type(values).__name__


def _read_options(entries: Sequence[str], providers: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the options of each provider, in the order of `providers`."""
    options: dict[str, dict[str, str]] = {name: {} for name in providers}
    for entry in entries:
        match = re.fullmatch(r"(\w+)\.(\w+)=(.+)", entry)
        if not match:
            raise InputError(f"provider_options: expected provider.option=value, got {entry!r}")
        provider, option, value = match.groups()
        if provider not in options:
            raise InputError(f"provider_options: expected options of {list(options)}, got {entry!r}")
        options[provider][option] = value
    return options


def _open_what_starts(
    graphs: Sequence[Path], providers: Options, threads: int | None
) -> tuple[list[ort.InferenceSession], dict[str, str]]:
    """Return sessions with those providers that start alone, and why the others do not."""
    why: dict[str, str] = {}
    for name, options in providers.items():
        try:
            _open(graphs, {name: options}, threads)
        except InputError as error:
            why[name] = str(error)
    rest = {name: options for name, options in providers.items() if name not in why}
    return _open(graphs, rest or {CPU: {}}, threads), why


def _open(graphs: Sequence[Path], providers: Options, threads: int | None) -> list[ort.InferenceSession]:
    available, names = ort.get_available_providers(), list(providers)
    if not names or not set(names) <= set(available):
        raise InputError(f"providers: expected some of {available}, got {names}")
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected at least 1, or none given for one per core, got {threads}")
    return [_open_one(path, providers, threads) for path in graphs]


def _open_one(path: Path, providers: Options, threads: int | None) -> ort.InferenceSession:
    names, each = list(providers), [dict(given) for given in providers.values()]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # Waiting threads sleep instead of spinning: with other processes running, this halved latency and CPU time.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(path, options, providers=names, provider_options=each, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no other base class
        raise InputError(f"{path}: expected it to load with {names}, got: {error}") from error
    if not set(names) <= set(session.get_providers()):  # its driver or libraries are missing: onnxruntime goes on
        raise InputError(f"providers: expected {names} to start, got {session.get_providers()}")
    return session

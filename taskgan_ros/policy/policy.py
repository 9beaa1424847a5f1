"""A bundle's graphs at work: camera image to joint command."""

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
from taskgan_ros.policy.bundle import COMMAND, IMAGE, POLICY, TASK_MODEL, TRANSLATED, Bundle

CPU = "CPUExecutionProvider"

Options = Mapping[str, Mapping[str, str]]  # of each provider, the preferred first

_GREY = 128  # not at a limit of the pixels' range, where networks may be at a limit of theirs


@dataclass(frozen=True)
class Prediction:
    """What the policy makes of N images.

    Attributes:
        commands: (N, J) in the card's `units` and order of `joint_names`, exactly as the network gave them: not
            limited, and NaN for an image if any value between it and its command was not finite.
        translated: (N, H, W, 3) uint8 RGB, F(image); None unless asked for.
    """

    commands: NDArray[np.float64]
    translated: NDArray[np.uint8] | None


class Policy:
    """f_X(F(image)), or f_X(image) alone; safe to call from several threads.

    Attributes:
        card: the bundle's.
        translate: whether F is in it.
        fallen_back: why not, for each execution provider that was asked for and is not in use.
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
        """Load the one graph that is needed.

        Args:
            bundle: from `load_bundle`.
            providers: of onnxruntime, the preferred first. Each must be usable: none is replaced silently.
            threads: for one image; None for one a core.
            translate: False feeds the image to the task model (f_X) as it is, for images from the simulation.
            provider_options: each `provider.option=value`, as onnxruntime names them.
            allow_fallback: go on with those of `providers` that start, with the CPU if none does, and say in
                `fallen_back` why.

        Raises:
            InputError: a provider that is not usable here, an option of another form or of a provider that is not
                asked for, a thread count below 1, or a file that is gone since.
        """
        self.card = bundle.card
        self.translate = translate
        path = bundle.path / (POLICY if translate else TASK_MODEL)
        wanted = _read_options(provider_options, providers)
        self.fallen_back: Mapping[str, str] = {}
        try:
            self._session = _open(path, wanted, threads)
        except InputError:
            if not (allow_fallback and wanted):
                raise
            self._session, self.fallen_back = _open_what_starts(path, wanted, threads)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, the preferred first."""
        return tuple(self._session.get_providers())

    def warm_up(self) -> None:
        """Run the first inference, which is slow, on a grey image.

        Raises:
            InputError: its command is not finite.
        """
        grey = np.full((1, *self.card.image.shape, 3), _GREY, np.uint8)
        commands = self.act(grey).commands
        if not np.isfinite(commands).all():
            raise InputError(
                f"bundle {self.card.name}: expected weights and activations that are finite on {self.providers[0]}, "
                f"got the command {commands[0].tolist()} from a grey image"
            )

    def act(self, images: NDArray[np.uint8], want_translated: bool = False) -> Prediction:
        """Return the commands for `images`, and on demand what the translator made of them.

        Args:
            images: (N, H, W, 3) uint8 RGB, N ≥ 1, of the card's height and width.
            want_translated: also return F(image). The graph always turns it into bytes, as only training builds
                of onnxruntime leave out nodes whose output nobody wants: 0.16 ms of 46 ms at 128×128.

        Raises:
            InputError: images of another type or shape, or a translation asked of a policy without one.
        """
        self._check(images)
        if want_translated and not self.translate:
            raise InputError("want_translated: expected a policy with translate=True, got translate=False")
        wanted = [COMMAND, TRANSLATED] if want_translated else [COMMAND]
        command, *rest = self._run(wanted, images)
        return Prediction(command.astype(np.float64), rest[0] if rest else None)

    def _run(self, wanted: list[str], images: NDArray[np.uint8]) -> list[NDArray[Any]]:
        if self.providers[0] == CPU:  # nothing is copied there, and a binding took 0.06 ms more of 11.7
            return self._session.run(wanted, {IMAGE: images})
        binding = self._session.io_binding()  # one a call: threads may share the session, not this
        binding.bind_cpu_input(IMAGE, np.ascontiguousarray(images))
        for name in wanted:
            binding.bind_output(name)  # to the CPU's memory
        self._session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()

    def _check(self, images: NDArray[np.uint8]) -> None:
        size = (*self.card.image.shape, 3)
        is_array = isinstance(images, np.ndarray)
        if is_array and images.dtype == np.uint8 and images.shape[1:] == size and len(images) > 0:
            return
        expected = f"expected uint8 [N, {size[0]}, {size[1]}, 3] with N >= 1"
        got = f"{images.dtype} {list(images.shape)}" if is_array else type(images).__name__
        raise InputError(f"images: {expected}, got {got}")


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
    path: Path, providers: Options, threads: int | None
) -> tuple[ort.InferenceSession, dict[str, str]]:
    """Return a session with those providers that start alone, and why the others do not."""
    why: dict[str, str] = {}
    for name, options in providers.items():
        try:
            _open(path, {name: options}, threads)
        except InputError as error:
            why[name] = str(error)
    rest = {name: options for name, options in providers.items() if name not in why}
    return _open(path, rest or {CPU: {}}, threads), why


def _open(path: Path, providers: Options, threads: int | None) -> ort.InferenceSession:
    available, names = ort.get_available_providers(), list(providers)
    if not names or not set(names) <= set(available):
        raise InputError(f"providers: expected some of {available}, got {names}")
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected at least 1, or none given for one a core, got {threads}")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # Waiting threads sleep instead of spinning: beside other processes that halved latency and CPU time here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    each = [dict(given) for given in providers.values()]
    try:
        session = ort.InferenceSession(path, options, providers=names, provider_options=each, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no other base class
        raise InputError(f"{path}: expected it to load with {names}, got: {error}") from error
    if not set(names) <= set(session.get_providers()):  # its driver or libraries are missing: onnxruntime goes on
        raise InputError(f"providers: expected {names} to start, got {session.get_providers()}")
    return session

"""A bundle's graphs at work: camera image to joint command."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from taskgan_ros.errors import InputError
from taskgan_ros.policy.bundle import COMMAND, IMAGE, POLICY, TASK_MODEL, TRANSLATED, Bundle

CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Prediction:
    """What the policy makes of N images.

    Attributes:
        commands: (N, J) in the card's `units` and order of `joint_names`, exactly as the network gave them:
            not limited, and not finite if the network failed.
        translated: (N, H, W, 3) uint8 RGB, F(image); None unless asked for.
    """

    commands: NDArray[np.float64]
    translated: NDArray[np.uint8] | None


class Policy:
    """f_X(F(image)), or f_X(image) alone; safe to call from several threads."""

    def __init__(
        self,
        bundle: Bundle,
        providers: Sequence[str] = (CPU,),
        threads: int | None = None,
        translate: bool = True,
    ) -> None:
        """Load the one graph that is needed.

        Args:
            bundle: from `load_bundle`.
            providers: of onnxruntime, the preferred first. Each must be usable: none is replaced silently.
            threads: for one image; None for one a core.
            translate: False feeds the image to the task model (f_X) as it is, for images from the simulation.

        Raises:
            InputError: a provider that is not usable here, a thread count below 1, or a file that is gone since.
        """
        self.card = bundle.card
        self.translate = translate
        self._session = _open(bundle.path / (POLICY if translate else TASK_MODEL), tuple(providers), threads)

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, the preferred first."""
        return tuple(self._session.get_providers())

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
        command, *rest = self._session.run(wanted, {IMAGE: images})
        return Prediction(command.astype(np.float64), rest[0] if rest else None)

    def _check(self, images: NDArray[np.uint8]) -> None:
        size = (self.card.image.height, self.card.image.width, 3)
        is_array = isinstance(images, np.ndarray)
        if is_array and images.dtype == np.uint8 and images.shape[1:] == size and len(images) > 0:
            return
        expected = f"expected uint8 [N, {size[0]}, {size[1]}, 3] with N >= 1"
        got = f"{images.dtype} {list(images.shape)}" if is_array else type(images).__name__
        raise InputError(f"images: {expected}, got {got}")


def _open(path: Path, providers: tuple[str, ...], threads: int | None) -> ort.InferenceSession:
    available = ort.get_available_providers()
    unusable = [name for name in providers if name not in available]
    if unusable or not providers:
        raise InputError(f"providers: expected some of {available}, got {list(providers)}")
    if threads is not None and threads < 1:
        raise InputError(f"threads: expected at least 1, or none given for one a core, got {threads}")
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads or 0
    # Waiting threads sleep instead of spinning: beside other processes that halved latency and CPU time here.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(path, options, providers=list(providers), enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions share no other base class
        raise InputError(f"{path}: expected it to load with {list(providers)}, got: {error}") from error
    unused = [name for name in providers if name not in session.get_providers()]
    if unused:  # installed, but its driver or libraries are missing: onnxruntime goes on without it
        raise InputError(f"providers: expected {list(providers)} to start, got {session.get_providers()}")
    return session

"""Checks, by its stamp, that an image is current and not a repetition."""

from __future__ import annotations

import math

from taskgan_ros.core.errors import InputError

_REPLAYED_S = 1.0  # an image older than the last by up to this is a replay; by more, the clock was set back


class OldImageError(InputError):
    """An image's stamp is further from the ROS clock than is allowed."""


class StampCheck:
    """Checks that each image is current, and newer than the last."""

    def __init__(self) -> None:
        """Start before the first image."""
        self._last_s = -math.inf

    def check(self, stamp_s: float, age_s: float, limit_s: float) -> None:
        """Check an image's stamp, and compare the next one with it.

        Args:
            stamp_s: s, on the ROS clock.
            age_s: s, how long before it came that was; negative if it is in the future.
            limit_s: s, the largest age, either way.

        Raises:
            OldImageError: the age is beyond the limit.
            InputError: the stamp repeats the last one, or is slightly before it.
        """
        behind_s = self._last_s - stamp_s
        if behind_s == 0:
            raise InputError("image: expected a new stamp, got the previous one again: is the camera frozen?")
        if abs(age_s) > limit_s:
            age = f"{age_s:.3f} s old" if age_s > 0 else f"{-age_s:.3f} s in the future"
            raise OldImageError(
                f"image: expected a stamp within {limit_s:g} s (image_age_s) of this node's clock, got one {age}: "
                "an old image, or the clocks of camera and node differ"
            )
        if 0 < behind_s <= _REPLAYED_S:
            raise InputError(
                f"image: expected a newer stamp, got one {behind_s:.3f} s before the last: is there a second camera?"
            )
        self._last_s = stamp_s

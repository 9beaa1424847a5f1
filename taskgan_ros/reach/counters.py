"""What `reach_node` counts and times since it was activated, for diagnostics."""

from __future__ import annotations

from taskgan_ros.reach.metrics import Latency, Rate


class Counters:
    """Counters and timers, from now on.

    Attributes:
        images, joint_states, commands: those received, and those sent.
        latency: image stamp to command published.
        processing: of it, from the image's arrival on.
        inference: of that, the networks alone.
        bad_images: unreadable.
        old_images: with a stamp too far from the clock.
        out_of_distribution_images: according to the guard.
        dropped_images: replaced by newer ones.
        holds: stops sent.
    """

    def __init__(self, now_s: float) -> None:
        """Start at nothing."""
        self.images, self.joint_states, self.commands = Rate(now_s), Rate(now_s), Rate(now_s)
        self.latency, self.processing, self.inference = Latency(), Latency(), Latency()
        self.bad_images = self.old_images = self.out_of_distribution_images = self.dropped_images = self.holds = 0

    def values(self, now_s: float) -> dict[str, float | int]:
        """Return them by the names that diagnostics have."""
        return {
            "image_rate_hz": self.images.hz(now_s),
            "joint_state_rate_hz": self.joint_states.hz(now_s),
            "command_rate_hz": self.commands.hz(now_s),
            **self.latency.quantiles_ms("latency"),
            **self.processing.quantiles_ms("processing"),
            **self.inference.quantiles_ms("inference"),
            "images": self.images.count,
            "dropped_images": self.dropped_images,
            "bad_images": self.bad_images,
            "old_images": self.old_images,
            "out_of_distribution_images": self.out_of_distribution_images,
            "commands": self.commands.count,
            "holds": self.holds,
        }

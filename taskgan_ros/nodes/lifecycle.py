"""A lifecycle node that survives a transition that is not possible now."""

from __future__ import annotations

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode


class ForgivingLifecycleNode(LifecycleNode):
    """Answers a request for a transition that is not possible now with failure.

    In rclpy 7, activate before configure, say, raises through the executor: that ends the process and leaves the
    caller waiting.
    """

    # The name is the one that rclpy's mixin registers.
    def _LifecycleNodeMixin__on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        try:
            return super()._LifecycleNodeMixin__on_change_state(request, response)  # type: ignore[misc]
        except rclpy_implementation.RCLError:
            requested = request.transition.label or request.transition.id
            _, label = self._state_machine.current_state
            self.get_logger().error(f"expected a transition from {label}, got {requested}")
            response.success = False
            return response

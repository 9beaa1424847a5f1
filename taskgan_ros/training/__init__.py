"""Networks, objectives and loops of the three training steps, and export to ONNX."""

from taskgan_ros.core import threads

threads.spin_briefly()

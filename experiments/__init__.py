"""The paper's tables and figures: what is measured, what came out, and the reports that are made from it."""

from taskgan_ros.core import threads

threads.spin_briefly()

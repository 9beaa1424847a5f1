"""TaskGAN on ROS 2: a robot arm that acts on what its camera sees, trained in simulation."""

__version__ = "0.1.0"

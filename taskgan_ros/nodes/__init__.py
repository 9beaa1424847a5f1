"""The ROS 2 nodes: all ROS and nothing else."""

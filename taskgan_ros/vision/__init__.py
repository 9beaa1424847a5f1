"""A message's bytes to RGB and the size that a bundle takes. No ROS types."""

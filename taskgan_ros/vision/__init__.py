"""Image bytes → RGB at a bundle's input size; camera models. No ROS types."""

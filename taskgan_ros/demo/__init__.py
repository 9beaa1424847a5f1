"""`taskgan reach`: the loop over ROS 2, shown and reported."""

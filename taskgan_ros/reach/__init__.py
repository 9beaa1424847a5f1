"""The logic between `reach_node`'s subscriptions and publishers. No ROS: a replay of a recording runs it too."""

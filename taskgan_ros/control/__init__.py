"""From a network's command to a joint trajectory that is safe to send."""

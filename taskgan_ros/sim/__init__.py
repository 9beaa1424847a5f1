"""The simulated cell: domains, camera, servos, closed-loop rollouts, and pictures of arms and scenes."""

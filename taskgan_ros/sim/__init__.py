"""The simulated cell: scene, domains, expert, camera and closed-loop rollouts."""

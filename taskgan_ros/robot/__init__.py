"""An arm: its chain and limits as numbers, kinematics, and what reads them from a robot's own description."""

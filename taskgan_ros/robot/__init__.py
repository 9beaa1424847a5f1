"""An arm as data: joints, limits, kinematics and its MuJoCo model."""

"""A bundle of ONNX models on the robot's computer: verify, load, image to command."""

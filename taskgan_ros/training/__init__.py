"""Networks, objectives and loops of the three training steps, and export to ONNX."""

"""Models in and out: ONNX files for other programs, and nets that were trained elsewhere."""

"""What other programs read: programs as ONNX models."""

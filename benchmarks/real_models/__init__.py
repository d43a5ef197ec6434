"""Larger models in each engine, beside the naive app and ONNX Runtime."""

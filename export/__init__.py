"""Exporters (ONNX, TensorRT, inference servers); installed as ``fastdiff.export``.

The room is laid out here so that its import path is settled; what it holds is listed in
docs/architecture.md, "Layout".
"""

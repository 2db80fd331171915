"""Inference: prediction, post-processing, test-time augmentation and ONNX export."""

from lad.inference.postprocess import detect
from lad.inference.predictor import predict, predict_stream

__all__ = [
    "detect",
    "predict",
    "predict_stream",
]

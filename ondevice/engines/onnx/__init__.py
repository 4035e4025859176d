"""ONNX Runtime through the C interface of onnxruntime-genai."""

from ondevice.engines.onnx.engine import OnnxEngine

__all__ = ["OnnxEngine"]

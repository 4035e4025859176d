"""Model folders of ONNX Runtime GenAI: read and checked before any native code sees them."""

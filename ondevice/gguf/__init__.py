"""GGUF files: a bounded reader of their headers, and random weights in the shape of real models."""

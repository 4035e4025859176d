"""llama.cpp through its C interface.

The high-level class of llama-cpp-python costs 13 % of decode speed and hides the timings.
"""

from ondevice.engines.llamacpp.engine import LlamaCppEngine

__all__ = ["LlamaCppEngine"]

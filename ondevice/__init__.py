"""ondevice: run small language models on this machine, and see what that costs and saves."""

__version__ = "0.1.0"

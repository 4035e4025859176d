"""Engines load a model and generate; the layers above use them only through `base.Engine`."""

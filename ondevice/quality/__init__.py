"""How good a model file is at a text, and how alike two of them are."""

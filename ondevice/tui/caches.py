"""What Textual and Rich keep of what is no longer on the screen.

These caches are bounded, but they fill for hours: 4 MB in a day of chatting (docs/results.md).
"""

from __future__ import annotations

from rich.cells import cached_cell_len
from textual._styles_cache import StylesCache
from textual.geometry import Region

_REGIONS = [method for method in vars(Region).values() if hasattr(method, "cache_clear")]


def clear() -> None:
    """Empty them. The next frame fills them with what is on the screen."""
    # Textual 8.2 keys this one by the widget: it keeps the lines of 1,024 that are gone.
    StylesCache.get_inner_outer.cache_clear()
    cached_cell_len.cache_clear()
    for method in _REGIONS:
        method.cache_clear()

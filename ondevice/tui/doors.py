"""What the app asks the world outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ondevice.catalog import Catalog
from ondevice.domain.cost import Price
from ondevice.domain.model import ModelFile, ModelSpec


@dataclass(frozen=True, slots=True)
class Doors:
    """Filled in by the CLI; a test opens others."""

    catalog: Callable[[], Catalog]
    resolve: Callable[[str], ModelFile]
    find: Callable[[ModelSpec], ModelFile | None]
    baselines: Callable[[], list[tuple[str, str, str]]]
    """(key, title, why)"""
    price: Callable[[str], Price]
    baseline: str
    """What costs are compared with at first."""
    frontier: str
    """The baseline shown beside the chosen one."""

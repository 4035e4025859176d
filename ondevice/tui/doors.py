"""What the app asks the world outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ondevice.domain.cost import Price
from ondevice.domain.device import GpuLayers
from ondevice.domain.generation import Adapter
from ondevice.domain.ledger import Entry
from ondevice.domain.model import ModelFile
from ondevice.settings import SettingsFile
from ondevice.tui.downloads import Command

if TYPE_CHECKING:  # loaded when somebody looks at models
    from ondevice.acquire import PullPlan


@dataclass(frozen=True, slots=True)
class Doors:
    """Filled in by the CLI; a test opens others."""

    resolve: Callable[[str], ModelFile]
    baselines: Callable[[], list[tuple[str, str, str]]]
    """(key, title, why)"""
    price: Callable[[str], Price]
    baseline: str
    """What costs are compared with where the settings name nothing."""
    frontier: str
    """The baseline shown beside the chosen one."""
    shelf: Callable[[], list[PullPlan]]
    """Every form of every model, and what having it takes."""
    accept_terms: Callable[[str], None]
    judge: Callable[[PullPlan], PullPlan]
    """Asks the hub about what the catalogue does not know; `problem` says why it could not."""
    remove: Callable[[PullPlan], int]
    """Returns the bytes that are free again."""
    fetch: Command
    settings: SettingsFile
    adapters: tuple[Adapter, ...]
    """Of the model that is named at the start."""
    gpu_layers: GpuLayers | None
    """As the command says that opened the app; None leaves it to the settings."""
    accounts: Callable[[], list[Entry]]
    """The ledger; raises StorageTrouble."""

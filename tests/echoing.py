"""The echo engine in a child process, and what a caller of the upper rooms sees of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from ondevice.domain.cost import Price
from ondevice.domain.generation import EngineInfo, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.engines.base import Engine

_numbers = itertools.count()

PRICE = Price(
    baseline="test",
    title="A test",
    input_usd_per_mtok=Decimal("0.1"),
    output_usd_per_mtok=Decimal("0.3"),
    cached_usd_per_mtok=None,
    cache_min_tokens=None,
    price_date=date(2026, 11, 24),
    source="a test",
)


def echo_file(folder: Path, random_weights: bool = False, **script: Any) -> ModelFile:
    """An echo engine's script as a model file; the fields are those of EchoScript."""
    path = folder / f"script-{next(_numbers)}.json"
    path.write_text(json.dumps(script))
    return ModelFile(path, "echo", "echo", random_weights=random_weights)


@dataclass
class Loaded:
    """An engine and what its loading returned."""

    engine: Engine
    info: EngineInfo


@contextmanager
def echo(folder: Path, **script: Any) -> Iterator[Loaded]:
    """A loaded echo engine, closed at the end."""
    engine = registry.in_child("echo")
    try:
        yield Loaded(engine, engine.load(echo_file(folder, **script), LoadOptions(n_ctx=256)))
    finally:
        engine.close()

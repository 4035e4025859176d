"""The logits of every id that is read, for engines.scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ondevice.engines.onnx.context import Context
from ondevice.onnx.memory import BATCH


class Logits:
    """Keeps `engines.scoring.LogitsSource`."""

    step = BATCH

    def __init__(self, context: Context) -> None:
        self._context = context

    def begin(self) -> None:
        self._context.rewind(0)

    def read(self, ids: Sequence[int]) -> bool:
        return self._context.evaluate(ids)

    def logits(self, ids: Sequence[int]) -> NDArray[Any] | None:
        return self._context.all_logits() if self._context.evaluate(ids) else None

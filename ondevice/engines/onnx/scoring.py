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
        # Where a model has several end tokens, the library makes all but one impossible in the
        # logits of a step of one id. Such a step is the last one, so another id does no harm.
        if not self._context.evaluate([*ids, *ids] if len(ids) == 1 else ids):
            return None
        return self._context.all_logits()[: len(ids)]

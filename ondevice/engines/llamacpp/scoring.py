"""The logits of every id that is read, for engines.scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ondevice.engines.llamacpp.context import Context
from ondevice.engines.llamacpp.stopping import StopFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Logits:
    """Keeps `engines.scoring.LogitsSource`."""

    def __init__(self, context: Context, stop: StopFlag) -> None:
        self._context, self._stop = context, stop
        self.step = context.batch

    def begin(self) -> None:
        self._context.rewind(0)

    def read(self, ids: Sequence[int]) -> bool:
        return not self._stop.ended(self._context.evaluate(ids))

    def logits(self, ids: Sequence[int]) -> NDArray[Any] | None:
        if self._stop.ended(self._context.evaluate(ids, all_logits=True)):
            return None
        return self._context.logits(len(ids))

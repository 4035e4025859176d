"""The logits of every id that is read, for engines.scoring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ondevice.engines.llamacpp.batches import LEAST_ON_DEVICE
from ondevice.engines.llamacpp.context import Context
from ondevice.engines.llamacpp.stopping import StopFlag

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Logits:
    """Keeps `engines.scoring.LogitsSource`.

    A device stops only between two steps, so there they are small; not by how fast it is, as for a
    prompt, since the same ids must be read in the same steps whenever that is.
    """

    def __init__(self, context: Context, stop: StopFlag, on_device: bool) -> None:
        self._context, self._stop = context, stop
        self.step = min(context.batch, LEAST_ON_DEVICE) if on_device else context.batch

    def begin(self) -> None:
        self._context.rewind(0)

    def read(self, ids: Sequence[int]) -> bool:
        answer = self._context.evaluate(ids)
        self._context.wait()  # or steps would pile up on a device, which a stop would wait for
        return not self._stop.ended(answer)

    def logits(self, ids: Sequence[int]) -> NDArray[Any] | None:
        if self._stop.ended(self._context.evaluate(ids, all_logits=True)):
            return None
        return self._context.logits(len(ids))

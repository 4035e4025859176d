"""The model that answers, and the engine it runs in."""

from __future__ import annotations

import threading

from ondevice.domain.generation import EngineInfo, LoadOptions
from ondevice.domain.model import ModelFile
from ondevice.engines import registry
from ondevice.engines.base import Engine, LoadProgress
from ondevice.errors import EngineClosed, OnDeviceError


class Served:
    """One at a time: loading a model ends the one before, as both may not fit into memory."""

    def __init__(self) -> None:
        self.file: ModelFile | None = None
        """Loaded, or being loaded. Where that fails it is the one before, which no engine runs
        then; without one it is the one that failed."""
        self.info: EngineInfo | None = None
        """None until it is loaded, and after its engine stopped."""
        self.options = LoadOptions()
        """Those of the model that was loaded last."""
        self.engine: Engine | None = None
        self._engine_name = ""
        self._left = False
        self._swap = threading.Lock()
        """Held while the engine is replaced or ended."""
        self._before: ModelFile | None = None
        """The last one that was loaded; None once it does not load any more as it was."""

    def load(
        self, file: ModelFile, options: LoadOptions, progress: LoadProgress
    ) -> tuple[Engine, EngineInfo]:
        """See `Chat.load`."""
        with self._swap:
            if self._left:
                raise EngineClosed("the chat is being left")
            engine = self.engine
            if engine is None or self._engine_name != file.engine:
                self._end()
                self.engine = engine = registry.in_child(file.engine)
                self._engine_name = file.engine
            self.file, self.info = file, None
        try:
            info = engine.load(file, options, progress)
        except OnDeviceError:
            if self.file is file:  # else another one was chosen meanwhile
                if (file, options) == (self._before, self.options):
                    self._before = None
                self.file = self._before or file
            raise
        if self.file is not file:
            raise EngineClosed("another model was chosen meanwhile")
        self.info, self.options, self._before = info, options, file
        return engine, info

    def refuse(self) -> None:
        """Load nothing from now on: the chat is being left."""
        with self._swap:
            self._left = True

    def end(self) -> None:
        """End the engine, whatever it does."""
        with self._swap:
            self._end()

    def _end(self) -> None:
        if self.engine is not None:
            self.engine.close()
        self.engine = self.info = None

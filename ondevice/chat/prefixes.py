"""What the model has read of a session, kept over the end of its engine.

held     the session whose conversation the engine's state is of
settle   save what is held, then take up what was kept of the session that is shown

Nothing here may cost a turn: what cannot be saved or taken up is told, and read again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ondevice.domain.generation import EngineInfo, EngineNotice
from ondevice.domain.model import ModelFile
from ondevice.engines.base import Engine, Snapshots
from ondevice.errors import (
    EngineClosed,
    EngineCrashed,
    EngineTimedOut,
    EngineTrouble,
    OnDeviceError,
    StorageTrouble,
    UnknownSession,
)
from ondevice.storage.sessions import Sessions

ModelHash = Callable[[ModelFile, bool], str | None]
"""The sha256 of a model file, or None; only where the flag is set is it read for that, which takes
seconds. Raises OSError."""

MostBytes = Callable[[], int | None]
"""What all states may take, as the settings say by now; 0 keeps none, None is unknown."""

_Mark = tuple[tuple[int, int, int, int], ...]


@dataclass(slots=True)
class _Serving:
    """The engine of now, and what it holds."""

    engine: Snapshots
    file: ModelFile
    mark: _Mark | None
    """Of what was loaded: another file may lie under that name since."""
    settled: int | None = None
    """The session that was settled last: it is not tried twice."""
    held: int | None = None
    saved: bool = True
    """Whether the file is as new as what is held."""
    asked: bool = False
    """A turn has begun, so what is held is not certain."""


class Prefixes:
    """Saves and takes up states. Safe from any thread; one thing at a time.

    Without `sessions` or `model_hash` nothing is kept.
    """

    def __init__(
        self,
        sessions: Sessions | None,
        model_hash: ModelHash | None,
        most_bytes: MostBytes | None = None,
    ) -> None:
        """Without `most_bytes` what `use` was told last holds until it is told otherwise."""
        self._keep = True
        self._sessions, self._hash, self._most_bytes = sessions, model_hash, most_bytes
        self._lock = threading.RLock()
        self._due: tuple[ModelFile, _Mark | None] | None = None
        """The one that is being loaded, with its mark from before."""
        self._serving: _Serving | None = None
        self._fatal: set[_Mark | None] = set()
        """States with which an engine ended: they are not tried again. They stay for the next
        start, as a kill or a full memory may have been the reason."""

    def use(self, most_bytes: int) -> None:
        """What the settings say; what is kept beyond that goes."""
        self._keep = most_bytes > 0
        if self._sessions is not None:
            self._sessions.states.most_bytes = most_bytes
            with suppress(StorageTrouble):  # tried again when something would be saved
                self._sessions.states.shrink()

    # The engine comes and goes

    @property
    def serving(self) -> bool:
        """Whether there is an engine that can save its state."""
        return self._serving is not None

    def serve(self, engine: Engine, info: EngineInfo, file: ModelFile) -> None:
        """`engine` has loaded `file` and holds nothing; unless another one is due meanwhile."""
        with self._lock:
            due, mark = self._due or (None, None)
            if due is file and "snapshots" in info.capabilities and isinstance(engine, Snapshots):
                self._serving = _Serving(engine, file, mark)

    def release(self, coming: ModelFile | None = None) -> None:
        """Save what is held, as the engine goes; `coming` is loaded next."""
        with self._lock:
            self._due = (coming, _mark_of(*coming.paths)) if coming else None
            with suppress(OnDeviceError):  # it is only read again
                self._save()
            self._serving = None

    def lose(self) -> None:
        """The engine is gone, or is being ended while somebody saves."""
        self._due = self._serving = None

    # Sessions

    def note_asked(self) -> None:
        """The engine is about to be asked: what it holds is certain when the turn has ended."""
        if self._serving is not None:
            self._serving.asked = True

    def note_refused(self) -> None:
        """It took nothing of what it was asked."""
        if self._serving is not None:
            self._serving.asked = False

    def note_turn(self, session_id: int | None) -> None:
        """Its state is now of this session; None for one that is not stored."""
        serving = self._serving
        if serving is not None:
            serving.settled = serving.held = session_id
            serving.saved, serving.asked = session_id is None, False

    def settle(self, session_id: int | None) -> list[EngineNotice]:
        """Before a turn of this session; None for one that is new or private.

        Raises EngineCrashed or EngineTimedOut where one of the two ended the engine, EngineClosed
        where somebody closed it meanwhile.
        """
        told: list[EngineNotice] = []
        with self._lock:
            serving = self._serving
            if serving is None or serving.settled == session_id:
                return told
            try:
                self._save()
            except (EngineCrashed, EngineTimedOut, EngineClosed):
                raise
            except (EngineTrouble, StorageTrouble) as error:
                told.append(EngineNotice("state", error.message))
            serving.settled = session_id
            if session_id is not None and session_id != serving.held:
                told += self._restore(serving, session_id)
        return told

    def save(self) -> None:
        """Write what is held now, so that nothing is left to do when the engine goes. Raises
        EngineTrouble or StorageTrouble.
        """
        with self._lock:
            self._save()

    def identify(self) -> None:
        """Find the model's hash while nobody waits, so that leaving need not."""
        serving = self._serving
        if serving is not None and self._hash is not None and self._keep:
            with suppress(OSError):
                self._hash(serving.file, True)

    # Files

    def _look_at_settings(self) -> None:
        """Another process, or an editor, may have changed them."""
        most_bytes = self._most_bytes() if self._most_bytes is not None else None
        if most_bytes is not None:
            self.use(most_bytes)

    def _save(self) -> None:
        """Write what is held, if that is new. Raises EngineTrouble or StorageTrouble."""
        sessions, serving = self._sessions, self._serving
        if sessions is None:
            return
        self._look_at_settings()
        if not self._keep:
            sessions.states.shrink()
            return
        if serving is None or serving.held is None or serving.saved or serving.asked:
            return
        serving.saved = True  # or given up: the next turn makes it new
        if not _is_there(sessions, serving.held):
            return
        sha256 = self._sha256(serving, True)
        size = serving.engine.state_bytes() if sha256 else 0
        path = sessions.states.make_room(serving.held, sha256, size) if sha256 and size else None
        if sha256 and path is not None:
            serving.engine.save_state(path, sha256)
            if not _is_there(sessions, serving.held):  # another process deleted it meanwhile
                sessions.states.delete(serving.held)
            self._look_at_settings()
            sessions.states.shrink()

    def _restore(self, serving: _Serving, session_id: int) -> list[EngineNotice]:
        self._look_at_settings()
        sha256 = self._sha256(serving, False) if self._keep else None
        if self._sessions is None or sha256 is None:
            return []
        path = self._sessions.states.find(session_id, sha256)
        mark = _mark_of(path) if path else None
        if path is None or mark in self._fatal:
            return []
        serving.held = None
        try:
            serving.engine.restore_state(path, sha256)
        except (EngineCrashed, EngineTimedOut):
            self._fatal.add(mark)
            raise
        except EngineClosed:
            raise
        except EngineTrouble as error:  # refused; the next save puts another one in its place
            return [EngineNotice("state", error.message)]
        serving.held, serving.saved = session_id, True
        return []

    def _sha256(self, serving: _Serving, read: bool) -> str | None:
        """Of what the engine has loaded; None where that is unknown, or no longer lies there."""
        if self._hash is None:
            return None
        try:
            found = self._hash(serving.file, read)
        except OSError:
            return None
        # afterwards: it may have been replaced while it was hashed
        same = serving.mark is not None and serving.mark == _mark_of(*serving.file.paths)
        return found if same else None


def _mark_of(*paths: Path) -> _Mark | None:
    """What tells files from others under their names; None where one is missing."""
    try:
        found = [path.stat() for path in paths]
    except OSError:
        return None
    return tuple((each.st_dev, each.st_ino, each.st_size, each.st_mtime_ns) for each in found)


def _is_there(sessions: Sessions, session_id: int) -> bool:
    try:
        sessions.get(session_id)
    except UnknownSession:
        return False
    return True

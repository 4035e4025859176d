"""The text that was copied last, in a private file: a terminal never says whether it took it."""

from __future__ import annotations

from pathlib import Path

from ondevice.hardware.system import write_private
from ondevice.storage.troubles import named


class Copied:
    """The file of one user. What is in it may be of any session, so it goes with each of them."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "copied.txt"

    def keep(self, text: str) -> Path:
        """Write `text` in the place of the one before; says where. Raises OSError."""
        return write_private(self.path, text)

    def forget(self) -> None:
        """Delete it, and what a kill left of one. Raises StorageTrouble where it stays."""
        for path in self.path.parent.glob(f"{self.path.name}*"):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise named(error, path) from error

"""Files one process has to itself; the system lets go of them however the process ends.

POSIX has advisory locks for that. Windows refuses to delete or rename a file that is open.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import BinaryIO

if sys.platform == "win32":

    def hold(lock: Path) -> BinaryIO:
        """Create `lock` and keep it taken until the file is closed."""
        return lock.open("xb")

    def is_free(lock: Path) -> bool:
        """Whether nobody holds `lock` any more; False when it is missing."""
        try:
            lock.unlink()
        except OSError:
            return False
        return True

    def claim(path: Path) -> BinaryIO:
        """Open `path` for writing, empty; raises `OSError` while another process has it."""
        path.unlink(missing_ok=True)
        return path.open("xb")

    def publish(file: BinaryIO, path: Path, target: Path) -> None:
        """Give the claimed `path` its final name and close it."""
        file.close()
        path.replace(target)

    def discard(file: BinaryIO, path: Path) -> None:
        """Remove the claimed `path` and close it."""
        with contextlib.suppress(OSError):
            file.close()
        path.unlink(missing_ok=True)

else:
    import fcntl

    def hold(lock: Path) -> BinaryIO:
        """Create `lock` and keep it taken until the file is closed."""
        # Locked before it has the name that `is_free` looks for.
        unnamed = lock.with_name(lock.name + ".new")
        file = unnamed.open("xb")
        fcntl.flock(file, fcntl.LOCK_EX)
        unnamed.rename(lock)
        return file

    def is_free(lock: Path) -> bool:
        """Whether nobody holds `lock` any more; False when it is missing."""
        try:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def claim(path: Path) -> BinaryIO:
        """Open `path` for writing, empty; raises `OSError` while another process has it."""
        file = path.open("ab")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have published it between the two lines above.
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                raise BlockingIOError
            file.truncate(0)
        except OSError:
            file.close()
            raise
        return file

    def publish(file: BinaryIO, path: Path, target: Path) -> None:
        """Give the claimed `path` its final name and close it."""
        file.flush()
        path.replace(target)
        file.close()

    def discard(file: BinaryIO, path: Path) -> None:
        """Remove the claimed `path` and close it."""
        path.unlink(missing_ok=True)
        # What is still in its buffer may not fit on the disk.
        with contextlib.suppress(OSError):
            file.close()

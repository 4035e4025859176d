"""Where things are kept. Asking makes nothing; who writes first makes folders only we can enter."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ondevice.errors import UsageTrouble


@dataclass(frozen=True, slots=True)
class Paths:
    """The three folders of one user."""

    config: Path
    data: Path
    cache: Path

    @property
    def settings(self) -> Path:
        return self.config / "settings.toml"

    @property
    def user_catalogue(self) -> Path:
        """The user's own models.toml, which adds to and overrides the built-in one."""
        return self.config / "models.toml"

    @property
    def database(self) -> Path:
        return self.data / "ondevice.db"


def user_paths() -> Paths:
    """The folders of this user; ONDEVICE_HOME puts all three under one folder.

    Raises UsageTrouble for a user without a home, such as a bare number in a container.
    """
    home = os.environ.get("ONDEVICE_HOME")
    if home:
        base = Path(os.path.expanduser(home)).absolute()  # noqa: PTH111 - pathlib's raises
        return Paths(base / "config", base / "data", base / "cache")
    import platformdirs  # deferred: 15 ms

    folders = platformdirs.PlatformDirs("ondevice", appauthor=False)
    try:
        found = Paths(folders.user_config_path, folders.user_data_path, folders.user_cache_path)
    except RuntimeError as error:  # newer platformdirs; older ones answer `~/...` as it stands
        raise _homeless() from error
    if not all(path.is_absolute() for path in (found.config, found.data, found.cache)):
        raise _homeless()
    return found


def _homeless() -> UsageTrouble:
    hint = "Set ONDEVICE_HOME to a folder you may write."
    return UsageTrouble("this user has no home folder", hint)

"""Where things are kept. Asking makes nothing; folders are made private by who writes first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


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
    """The folders of this user; ONDEVICE_HOME puts all three under one folder."""
    home = os.environ.get("ONDEVICE_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        return Paths(base / "config", base / "data", base / "cache")
    import platformdirs  # deferred: 15 ms

    folders = platformdirs.PlatformDirs("ondevice", appauthor=False)
    return Paths(folders.user_config_path, folders.user_data_path, folders.user_cache_path)

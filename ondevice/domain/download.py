"""What happens while a file is fetched.

RemoteFile  one file of a repository at one commit, whose content is known by its hash
rate        bytes per second over the last seconds; None before the first are over
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ondevice.domain.model import EngineName


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as a hub has it. Its content never changes: another one has another hash."""

    repository: str
    path: str
    commit: str
    """Forty hexadecimal digits."""
    size_bytes: int
    content_hash: str
    """sha256 for a large file (64 digits), the hash git gives a small one (40 digits)."""


@dataclass(frozen=True, slots=True)
class DownloadProgress:
    """So much has come; it never goes backwards within one file."""

    done_bytes: int
    total_bytes: int
    rate_bytes_per_s: float | None
    again_bytes: int = 0
    """Of those done: thrown away since, so they have to come again."""

    @property
    def fraction(self) -> float:
        """From 0 to 1."""
        return self.done_bytes / self.total_bytes if self.total_bytes else 1.0

    @property
    def left_bytes(self) -> int:
        """What has yet to come; 0 at the end."""
        return self.total_bytes - self.done_bytes + self.again_bytes

    @property
    def eta_s(self) -> float | None:
        return self.left_bytes / self.rate_bytes_per_s if self.rate_bytes_per_s else None


@dataclass(frozen=True, slots=True)
class DownloadNotice:
    """Something a person may want to know while waiting."""

    code: str
    """Stable: `waiting`, `retry`, `restart`, `resumed`, `unrecorded`, `token`."""
    message: str


@dataclass(frozen=True, slots=True)
class Downloaded:
    """The last event: the whole file, verified, in its place."""

    path: Path
    fetched_bytes: int
    """Of this run, those included that were thrown away; 0 when the file was here."""


DownloadEvent = DownloadProgress | DownloadNotice | Downloaded


@dataclass(frozen=True, slots=True)
class HubForm:
    """One form of a model that a repository offers: a GGUF file, its parts, or an ONNX folder."""

    engine: EngineName
    quantization: str
    """Out of the file's name; empty where that does not say."""
    path: str
    """As `FileSpec.path` has it: the file, its first part, or the folder."""
    size_bytes: int | None
    """Of all its files."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """A repository of a hub, as the hub describes it. Texts are the hub's: clean before showing."""

    repository: str
    commit: str | None
    """What the asked revision is now."""
    licence: str | None
    terms: str | None
    """Address of terms beyond a plain open licence; its page where no licence is named."""
    gated: bool
    downloads: int | None
    modified: str | None
    """Day of the last change, as `2026-11-24`."""
    forms: tuple[HubForm, ...]

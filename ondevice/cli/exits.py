"""Exit codes, all of them."""

from __future__ import annotations

from enum import IntEnum

from ondevice import errors


class Exit(IntEnum):
    """What the command's exit code says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    MODEL = 3
    ENGINE = 4
    STORAGE = 5
    DOWNLOAD = 6
    CANCELLED = 130
    TERMINATED = 143
    """By SIGTERM, where a command says what it kept before it ends."""


def exit_for(error: errors.OnDeviceError) -> Exit:
    """The code for an error of our tree."""
    match error:
        case errors.UsageTrouble():
            return Exit.USAGE
        case errors.ModelTrouble():
            return Exit.MODEL
        case errors.EngineTrouble():
            return Exit.ENGINE
        case errors.StorageTrouble():
            return Exit.STORAGE
        case errors.DownloadTrouble():
            return Exit.DOWNLOAD
    return Exit.FAILED

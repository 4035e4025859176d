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
    CANCELLED = 130


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
    return Exit.FAILED

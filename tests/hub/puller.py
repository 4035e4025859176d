"""Pull one file as a process of its own: CACHE REPOSITORY PATH REVISION [SHA256 SIZE].

The environment says from where. Prints one JSON document per event that is not progress; an error
is one line on stderr and ends with 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ondevice.domain.download import Downloaded, DownloadNotice, RemoteFile
from ondevice.errors import OnDeviceError
from ondevice.hub.cache import HubCache
from ondevice.hub.patience import Patience
from ondevice.hub.pull import pull
from ondevice.hub.remote import from_environment

QUICK = Patience(attempts=3, backoff_s=0.0, longest_wait_s=0.0)


def main(cache: str, repository: str, path: str, revision: str, *known: str) -> None:
    """The hub is asked what the file is, where that is not known."""
    with from_environment(told) as hub:
        if known:
            file = RemoteFile(repository, path, revision, int(known[1]), known[0])
        else:
            file = hub.look_up(repository, path, revision)
        for event in pull(hub, [file], HubCache(Path(cache)), QUICK):
            if isinstance(event, DownloadNotice):
                told(event)
            elif isinstance(event, Downloaded):
                found = {"path": str(event.path), "fetched_bytes": event.fetched_bytes}
                print(json.dumps(found), flush=True)


def told(notice: DownloadNotice) -> None:
    print(json.dumps({"notice": notice.code, "message": notice.message}), flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except OnDeviceError as error:
        sys.exit(f"{type(error).__name__}: {error.message} | {error.hint}")

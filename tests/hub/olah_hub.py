"""Olah, a server of the hub's protocol that others wrote (PyPI: olah), in processes of its own.

As Folder it serves a git repository whose large files are beside it, as git-lfs lays them, and
has no network. As Mirror it keeps blocks of what another hub has: here of the first one. So nothing
of what a client meets is ours. What it cannot do, the real hub can: Folder knows no ranges, Mirror
lists nothing of a hub without a network, and neither knows the sizes of a listing, searches, gates
or redirects to a second host.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

README = b"---\nlicense: mit\n---\nA model.\n"
_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"
_GIT = ("git", "-c", "user.name=someone", "-c", "user.email=someone@example.org")


class Olah:
    """One server, until it is closed."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir()
        (folder / "config.toml").write_text(f"[basic]\nrepos-path = '{folder / 'repos'}'\n{config}")
        told = {"OLAH_CONFIG": str(folder / "config.toml"), "OLAH_LOG_PATH": str(folder / "logs")}
        serve = ["-m", "uvicorn", "olah.server:app", "--host", "127.0.0.1", "--port", "0"]
        self._process = subprocess.Popen(
            [sys.executable, *serve],
            cwd=folder,
            env=os.environ | told | {"NO_PROXY": "127.0.0.1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.host = self._until_it_serves()
        self.address = f"http://{self.host}"

    def _until_it_serves(self) -> str:
        said = []
        assert self._process.stderr is not None
        for line in self._process.stderr:
            said.append(line)
            if found := re.search(r"running on http://(127\.0\.0\.1:\d+)", line):
                # whatever else it says is read, so that it never waits for a reader
                threading.Thread(target=self._process.stderr.read, daemon=True).start()
                return found[1]
        raise AssertionError("".join(said))

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(20)


class Folder(Olah):
    """Serves one repository of one large file and a README."""

    def __init__(self, folder: Path, repository: str, path: str, content: bytes) -> None:
        lies = folder.with_name(f"{folder.name}-mirrors") / "models" / repository
        self.commit = _commit(lies, path, content)
        mirrors = lies.parent.parent.parent
        super().__init__(folder, f"mirrors-path = ['{mirrors}']\n[accessibility]\noffline = true\n")


class Mirror(Olah):
    """Keeps what it was asked for once of another hub."""

    def __init__(self, folder: Path, upstream: Olah) -> None:
        super().__init__(folder, f"hf-scheme = 'http'\nhf-netloc = '{upstream.host}'\n")


def _commit(lies: Path, path: str, content: bytes) -> str:
    """Lay the repository, with `content` as git-lfs keeps it; the hash of its commit."""
    digest = hashlib.sha256(content).hexdigest()
    lies.mkdir(parents=True)
    (lies / path).write_text(_POINTER.format(digest, len(content)))
    (lies / "README.md").write_bytes(README)

    def git(*arguments: str) -> str:
        return subprocess.run(
            [*_GIT, *arguments], cwd=lies, check=True, capture_output=True, text=True
        ).stdout.strip()

    git("init", "--quiet", "--initial-branch=main")
    git("add", ".")
    git("commit", "--quiet", "--message", "A model")
    kept = lies / ".git" / "lfs" / "objects" / digest[:2] / digest[2:4] / digest
    kept.parent.mkdir(parents=True)
    kept.write_bytes(content)
    return git("rev-parse", "HEAD")

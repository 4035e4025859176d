"""A hub over a real file, as fast as the kernel copies: for kills, many clients, and benchmarks.

Run as a program it serves the file it is given and prints where: `serving.py FILE`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import ssl
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedReader
from pathlib import Path
from urllib.parse import urlsplit

from loopback import COMMIT, PATH, REPOSITORY, TAGS

from ondevice.domain.download import RemoteFile

PIECE_BYTES = 1 << 18


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FileHub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path, dict(self.headers)))
        if self.path.startswith("/bytes/"):
            self._bytes()
        elif self.path.startswith("/api/models"):
            self._api()
        else:
            file = self.hub.file
            self._say(
                302,
                {
                    "Location": f"{self.hub.bytes_address}/bytes/{file.content_hash}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Size": str(file.size_bytes),
                    "X-Linked-Etag": f'"{file.content_hash}"',
                    "Content-Length": "0",
                },
            )

    def _api(self) -> None:
        """The one repository, by its name or as what a search finds."""
        file = self.hub.file
        lfs = {"sha256": file.content_hash, "size": file.size_bytes, "pointerSize": 134}
        siblings = [{"rfilename": file.path, "size": file.size_bytes, "lfs": lfs}]
        said = {"id": file.repository, "sha": COMMIT, "tags": TAGS, "siblings": siblings}
        name = urlsplit(self.path).path.removeprefix("/api/models").strip("/")
        known = name.partition("/revision/")[0] in ("", file.repository)
        body = json.dumps(said if name else [said]).encode() if known else b""
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self._say(200 if known else 404, headers)
        self.wfile.write(body)

    def _bytes(self) -> None:
        size = self.hub.file.size_bytes
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        headers = {"Content-Length": str(size - start), "ETag": f'"{self.hub.file.content_hash}"'}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        self._say(206 if asked else 200, headers)
        if self.command == "GET":
            self._send(start)

    def _say(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, at: int) -> None:
        with self.hub.content.open("rb") as content:
            while sent := self._piece(content, at):
                at += sent
                self.hub.count(sent)

    def _piece(self, content: BufferedReader, at: int) -> int:
        if isinstance(self.connection, ssl.SSLSocket):
            return self.connection.sendfile(content, at, PIECE_BYTES)
        return os.sendfile(self.connection.fileno(), content.fileno(), at, PIECE_BYTES)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """A client that is killed is no news."""


class FileHub:
    """Serves `content` as the one file of a hub until it is closed."""

    def __init__(
        self, content: Path, repository: str = REPOSITORY, tls: ssl.SSLContext | None = None
    ) -> None:
        with content.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        self.content = content
        self.file = RemoteFile(repository, PATH, COMMIT, content.stat().st_size, digest)
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.sent = 0
        """Bytes of the file handed to the kernel; some of them may never have been read."""
        self.watch: Callable[[int], None] = lambda _sent: None
        """Told `sent` after every piece."""
        self._lock = threading.Lock()
        handler = type("Handler", (_Answering,), {"hub": self})
        self._servers = [_Server(("127.0.0.1", 0), handler) for _ in range(2)]
        scheme = "https" if tls else "http"
        self.address, self.bytes_address = (
            f"{scheme}://127.0.0.1:{server.server_address[1]}" for server in self._servers
        )
        for server in self._servers:
            if tls:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def count(self, sent: int) -> None:
        with self._lock:
            self.sent += sent
            total = self.sent
        self.watch(total)

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


if __name__ == "__main__":
    served = FileHub(Path(sys.argv[1]))
    print(served.address, served.file.content_hash, flush=True)
    sys.stdin.read()  # until whoever started this ends
    served.close()

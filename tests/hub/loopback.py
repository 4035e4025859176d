"""A hub on 127.0.0.1, in two hosts as the real ones are: one knows the files, one has the bytes."""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from ondevice.domain.download import RemoteFile

COMMIT = "c" * 40
REPOSITORY = "someone/small-GGUF"
PATH = "small.Q4_0.gguf"
TAGS = ["gguf", "license:mit"]

Fault = Callable[["Answering"], bool]
"""Spoils one answer with bytes; True when it answered, False to go on as if nothing were."""


class Answering(BaseHTTPRequestHandler):
    """One request; which host it is for says the port."""

    protocol_version = "HTTP/1.1"
    hub: Loopback
    content = b""
    start = 0

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path, dict(self.headers)))
        if self.path.startswith("/bytes/"):
            self._bytes(self.path.removeprefix("/bytes/"))
        elif self.path.startswith("/api/"):
            self._api()
        else:
            self._file()

    def _file(self) -> None:
        if self.hub.file_faults and self.hub.file_faults.popleft()(self):
            return
        name = self.path.partition("/resolve/")[2].partition("/")[2]
        if name not in self.hub.files:
            self.say(404, {"X-Error-Code": "EntryNotFound"})
            return
        content = self.hub.files[name]
        if name in self.hub.small and self.hub.status == 302:
            self._small(content)
            return
        digest = hashlib.sha256(content).hexdigest()
        headers = {
            "Location": f"{self.hub.bytes_address}/bytes/{digest}",
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(content)),
            "X-Linked-Etag": f'"{digest}"',
        } | self.hub.said
        self.say(self.hub.status, headers)

    def _bytes(self, digest: str) -> None:
        contents = [c for c in self.hub.files.values() if hashlib.sha256(c).hexdigest() == digest]
        self.content = contents[0]
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.start = int(asked[1]) if asked else 0
        if self.command == "GET" and self.hub.faults and self.hub.faults.popleft()(self):
            return
        if begun := re.fullmatch(r"bytes=0-(\d+)", self.headers.get("Range", "")):
            last = min(int(begun[1]), len(self.content) - 1)
            said: dict[str, str | None] = {
                "Content-Range": f"bytes 0-{last}/{len(self.content)}",
                "ETag": self.hub.etag,
            }
            self.say(206, said, self.content[: last + 1])
            return
        self.send(self.content[self.start :])

    def _small(self, content: bytes) -> None:
        """Small files are the hub's own and are named as git names them."""
        self.content = content
        if self.command == "GET" and self.hub.faults and self.hub.faults.popleft()(self):
            return
        self.say(200, {"ETag": f'"{git_hash(content)}"', "X-Repo-Commit": COMMIT}, content)

    def _api(self) -> None:
        """What the hub says of repositories, as JSON."""
        address = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(address.query).items()}
        name = address.path.removeprefix("/api/models").strip("/").partition("/revision/")[0]
        if self.hub.api_faults and self.hub.api_faults.popleft()(self):
            return
        if not name:
            answer: object = self.hub.found_by(asked)
        elif name in self.hub.repositories:
            answer = self.hub.listing(name, sizes="blobs" in asked)
        else:
            self.say(404, {"X-Error-Code": "RepoNotFound"})
            return
        self.say(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def send(self, body: bytes, headers: dict[str, str | None] | None = None) -> None:
        """The rest of the file, with `body` in its place and other headers; None leaves one out."""
        whole, rest = len(self.content), len(self.content) - self.start
        usual: dict[str, str | None] = {"Content-Length": str(rest), "ETag": self.hub.etag}
        if self.start:
            usual["Content-Range"] = f"bytes {self.start}-{whole - 1}/{whole}"
        usual |= headers or {}
        self.say(206 if self.start else 200, usual, body)

    def say(self, status: int, headers: dict[str, str | None], body: bytes = b"") -> None:
        """An answer; the connection ends with it."""
        self.send_response(status)
        for name, value in (
            {"Content-Length": str(len(body)), "Connection": "close"} | headers
        ).items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            for at in range(0, len(body), 1 << 16):
                self.wfile.write(body[at : at + (1 << 16)])
                self.hub.count(len(body[at : at + (1 << 16)]))
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no news."""


class Loopback:
    """Serves `files` until it is closed."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.files: dict[str, bytes] = {}
        self.faults: deque[Fault] = deque()
        self.said: dict[str, str] = {}
        """Headers of what the hub knows, in place of the true ones."""
        self.status = 302
        self.etag: str | None = '"of-the-bytes"'
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.sent = 0
        self.small: set[str] = set()
        """Files that are not kept beside git."""
        self.repositories: dict[str, dict[str, object]] = {REPOSITORY: {}}
        """What the hub says of each beside its files, which are `files` where it does not say."""
        self.api_faults: deque[Fault] = deque()
        self.file_faults: deque[Fault] = deque()
        """Of the answers that say what and where a file is."""
        self.closing = threading.Event()
        """What an answer waits for that never ends by itself."""
        self._lock = threading.Lock()
        handler = type("Handler", (Answering,), {"hub": self})
        self._servers = [_Server(("127.0.0.1", 0), handler) for _ in range(2)]
        scheme = "https" if tls else "http"
        self.address, self.bytes_address = (
            f"{scheme}://127.0.0.1:{server.server_address[1]}" for server in self._servers
        )
        for server in self._servers:
            if tls:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def offer(self, content: bytes, path: str = PATH) -> RemoteFile:
        """Put a file on the hub."""
        self.files[path] = content
        digest = hashlib.sha256(content).hexdigest()
        return RemoteFile(REPOSITORY, path, COMMIT, len(content), digest)

    def offer_small(self, content: bytes, path: str) -> RemoteFile:
        """Put a small file on the hub."""
        self.files[path] = content
        self.small.add(path)
        return RemoteFile(REPOSITORY, path, COMMIT, len(content), git_hash(content))

    def listing(self, name: str, sizes: bool) -> dict[str, object]:
        """A repository in the words of the hub."""
        siblings: list[dict[str, object]] = []
        for path, content in self.files.items():
            sibling: dict[str, object] = {"rfilename": path}
            if sizes:
                sibling |= {"size": len(content), "blobId": git_hash(content)}
                digest = hashlib.sha256(content).hexdigest()
                if path not in self.small:
                    sibling["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
            siblings.append(sibling)
        said = {"id": name, "sha": COMMIT, "gated": False, "downloads": 7, "tags": TAGS}
        return (
            said
            | {"lastModified": "2026-10-01T10:00:00.000Z", "siblings": siblings}
            | (self.repositories[name])
        )

    def found_by(self, asked: dict[str, str]) -> list[dict[str, object]]:
        listed = [self.listing(name, sizes=False) for name in self.repositories]
        return [
            each
            for each in listed
            if asked.get("search", "").lower() in str(each["id"]).lower()
            and asked["filter"] in each["tags"]  # type: ignore[operator]
        ][: int(asked["limit"])]

    def count(self, sent: int) -> None:
        with self._lock:
            self.sent += sent

    def tokens(self) -> list[tuple[str, str | None]]:
        """(path, what the client said it may) of every request."""
        return [(path, headers.get("Authorization")) for _, path, headers in self.requests]

    def close(self) -> None:
        self.closing.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()


def git_hash(content: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


# Faults


def cut_after(count: int) -> Fault:
    """The connection ends after `count` bytes."""

    def answer(request: Answering) -> bool:
        request.send(request.content[request.start :][:count])
        return True

    return answer


def stop_after(count: int) -> Fault:
    """`count` bytes, and then nothing more for as long as the hub lives."""

    def answer(request: Answering) -> bool:
        rest = request.content[request.start :]
        request.send_response(206 if request.start else 200)
        request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[:count])
        request.hub.count(count)
        request.hub.closing.wait()
        request.close_connection = True
        return True

    return answer


def drip(begin: bytes, drop: bytes = b"a", gap_s: float = 0.02) -> Fault:
    """`begin` in place of an answer, and then `drop` now and then, as long as somebody listens."""

    def answer(request: Answering) -> bool:
        request.close_connection = True
        try:
            request.wfile.write(begin)
            while not request.hub.closing.wait(gap_s):
                request.wfile.write(drop)
        except OSError:
            return True
        return True

    return answer


def flip(bit: int) -> Fault:
    """One bit of the file is another one."""

    def answer(request: Answering) -> bool:
        body = bytearray(request.content[request.start :])
        body[bit // 8 % len(body)] ^= 1 << bit % 8
        request.send(bytes(body))
        return True

    return answer


def answers(status: int, **headers: str) -> Fault:
    """Another status, with headers whose `_` is a `-`."""

    def answer(request: Answering) -> bool:
        request.say(status, {name.replace("_", "-"): value for name, value in headers.items()})
        return True

    return answer


def with_headers(**headers: str | None) -> Fault:
    """The bytes, with other headers."""

    def answer(request: Answering) -> bool:
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        request.send(request.content[request.start :], changed)
        return True

    return answer


def no_ranges(request: Answering) -> bool:
    """All of the file, whatever was asked for."""
    request.start = 0
    return False


def too_much(request: Answering) -> bool:
    """More than the file has, without saying how much."""
    request.send(request.content[request.start :] + b"more", {"Content-Length": None})
    return True


def web_page(request: Answering) -> bool:
    """What a hotel's network sends."""
    page = b"<html>Please log in</html>"
    request.start = 0
    request.send(
        page, {"Content-Type": "text/html; charset=utf-8", "Content-Length": str(len(page))}
    )
    return True


def round_and_round(request: Answering) -> bool:
    """A redirect to the same place."""
    request.say(302, {"Location": request.path})
    return True

"""Talk to a hub: what a file is, and its bytes. Redirects are followed here, one by one.

A token goes to the hub's own origin and nowhere else, whatever it redirects to.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import quote

import httpx2 as httpx

from ondevice import __version__
from ondevice.domain.download import RemoteFile
from ondevice.domain.text import clean_line
from ondevice.errors import (
    HubBusy,
    HubMisbehaved,
    HubRefused,
    HubUnreachable,
    NotOnHub,
)
from ondevice.hub import names
from ondevice.hub.local import expand

DEFAULT_ENDPOINT = "https://huggingface.co"
MOST_REDIRECTS = 5
CONNECT_S = 10.0
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)", re.ASCII)
_SERVER_ERRORS = range(500, 600)


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a file from `start` on."""

    start: int
    etag: str | None
    """Of the host that serves the bytes, where it is a strong one."""
    response: httpx.Response

    def chunks(self) -> Iterator[bytes]:
        """As they come. Raises HubUnreachable when the connection breaks."""
        try:
            yield from self.response.iter_raw()
        except httpx.HTTPError as error:
            hint = "What was fetched is kept; pull again."
            raise HubUnreachable(f"the connection broke: {_reason(error)}", hint) from error


class RangeRefused(Exception):
    """The rest of the file cannot be had; it must be fetched from its beginning."""


class Hub:
    """One hub, over one pool of connections; closes with `with`."""

    def __init__(self, endpoint: str, token: str | None = None, read_s: float = 30.0) -> None:
        self.endpoint = endpoint.rstrip("/")
        try:
            self._origin = _origin(httpx.URL(self.endpoint))
            timeout = httpx.Timeout(read_s, connect=CONNECT_S)
            self._client = httpx.Client(timeout=timeout, follow_redirects=False)
        except (httpx.InvalidURL, ValueError) as error:  # the latter: a proxy that is none
            hint = "Check HF_ENDPOINT and the proxy variables."
            raise HubUnreachable(f"the hub's address is not usable: {error}", hint) from error
        self._token = token

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._client.close()

    def look_up(self, repository: str, path: str, revision: str) -> RemoteFile:
        """What the hub says `path` is at `revision`, a branch or a commit.

        Raises NotOnHub, HubRefused, HubBusy, HubUnreachable, or HubMisbehaved for an answer that
        does not say what the file is.
        """
        with self._send("HEAD", self._address(repository, path, revision), {}, leave=False) as head:
            _check_status(head, f"{repository}/{path}", self.endpoint, repository)
            said = head.headers
            own = "" if head.is_redirect else said.get("Content-Length", "")
            size = str(said.get("X-Linked-Size") or own)
            if not size.isdecimal():
                raise HubMisbehaved(f"the hub does not say how large {path} is")
            return RemoteFile(
                repository,
                path,
                names.commit(said.get("X-Repo-Commit", "")),
                int(size),
                names.content_hash(str(said.get("X-Linked-Etag") or said.get("ETag", ""))),
            )

    @contextlib.contextmanager
    def open(self, file: RemoteFile, start: int, etag: str | None) -> Iterator[Body]:
        """The bytes of `file` from `start` on, or from 0 if the server knows no ranges.

        Raises RangeRefused when the server has another idea of the rest, and what `look_up` does.
        """
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and etag:
            headers["If-Range"] = etag
        address = self._address(file.repository, file.path, file.commit)
        with self._send("GET", address, headers, leave=True) as response:
            if response.status_code == 416:
                raise RangeRefused("the server has no such range")
            label = f"{file.repository}/{file.path}"
            _check_status(response, label, self.endpoint, file.repository)
            begin = _begin(response, file, start)
            found = response.headers.get("ETag", "")
            strong = found if found.startswith('"') else None
            if begin and etag and strong != etag:
                raise RangeRefused("the file changed on the server")
            yield Body(begin, strong, response)

    def _address(self, repository: str, path: str, revision: str) -> str:
        names.repository(repository), names.file_path(path)
        return f"{self.endpoint}/{repository}/resolve/{quote(revision, safe='')}/{quote(path)}"

    @contextlib.contextmanager
    def _send(
        self, method: str, address: str, headers: dict[str, str], leave: bool
    ) -> Iterator[httpx.Response]:
        """The answer after redirects; without `leave`, only those that stay with the hub."""
        url = httpx.URL(address)
        headers |= {"Accept-Encoding": "identity", "User-Agent": f"ondevice/{__version__}"}
        for _ in range(MOST_REDIRECTS + 1):
            with self._once(method, url, headers) as response:
                goal = self._redirect(response, url) if response.is_redirect else None
                if goal is None or not (leave or _origin(goal) == self._origin):
                    yield response
                    return
            url = goal
        raise HubMisbehaved("the hub redirects without end")

    @contextlib.contextmanager
    def _once(
        self, method: str, url: httpx.URL, headers: dict[str, str]
    ) -> Iterator[httpx.Response]:
        own = {}
        if self._token and _origin(url) == self._origin:
            own["Authorization"] = f"Bearer {self._token}"
        try:
            request = self._client.build_request(method, url, headers=headers | own)
            response = self._client.send(request, stream=True, auth=None)
        except httpx.HTTPError as error:
            hint = "Check the connection; what was fetched is kept."
            raise HubUnreachable(f"{url.host} does not answer: {_reason(error)}", hint) from error
        try:
            yield response
        finally:
            response.close()

    def _redirect(self, response: httpx.Response, url: httpx.URL) -> httpx.URL:
        try:
            goal = url.join(response.headers["Location"])
        except (KeyError, httpx.InvalidURL) as error:
            raise HubMisbehaved("the hub redirects to nowhere") from error
        if goal.scheme not in ("http", "https") or (url.scheme, goal.scheme) == ("https", "http"):
            raise HubMisbehaved(
                f"the hub redirects to {clean_line(goal.scheme, 20)}, which is unsafe"
            )
        return goal


def from_environment() -> Hub:
    """The hub that HF_ENDPOINT names, with the token of HF_TOKEN or of the tools' token file.

    Raises HubUnreachable when HF_HUB_OFFLINE forbids the network.
    """
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise HubUnreachable("HF_HUB_OFFLINE forbids the network", hint="Unset it to download.")
    return Hub(os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT, _token())


def _token() -> str | None:
    token = os.environ.get("HF_TOKEN")
    if token is None and os.environ.get("HF_HUB_DISABLE_IMPLICIT_TOKEN") != "1":
        home = os.environ.get("HF_HOME") or "~/.cache/huggingface"
        path = expand(os.environ.get("HF_TOKEN_PATH") or f"{home}/token")
        with contextlib.suppress(OSError, UnicodeDecodeError):
            token = path.read_text(encoding="utf-8")
    token = (token or "").strip()
    return token if token.isascii() and token.isprintable() and token else None


def _begin(response: httpx.Response, file: RemoteFile, start: int) -> int:
    """Where the body begins; refuses one that cannot be the file's."""
    said = response.headers
    if said.get("Content-Encoding", "identity") != "identity":
        raise HubMisbehaved(f"the server packs {file.path}, which was not asked for")
    if said.get("Content-Type", "").startswith("text/html"):
        raise HubMisbehaved(
            "the server sent a web page instead of the file",
            hint="A proxy or a login page of this network may stand between.",
        )
    begin = 0
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(said.get("Content-Range", ""))
        if not found or (int(found[1]), int(found[3])) != (start, file.size_bytes):
            raise RangeRefused("the server sent another range than the one asked for")
        begin = start
    length = said.get("Content-Length")
    if length is not None and length != str(file.size_bytes - begin):
        raise HubMisbehaved(
            f"the server has {length} bytes of {file.path} where {file.size_bytes - begin} are due"
        )
    return begin


def _check_status(response: httpx.Response, label: str, endpoint: str, repository: str) -> None:
    status, code = response.status_code, response.headers.get("X-Error-Code", "")
    if status < 400:
        return
    page = f"{endpoint}/{repository}"
    if status in (401, 403) and code != "RepoNotFound":
        raise HubRefused(
            f"{label} is given only to those who accepted its terms",
            hint=f"Accept them at {page}, then set HF_TOKEN to a token of that account.",
        )
    if status in (401, 403, 404, 410):
        raise NotOnHub(f"the hub has no {label}", hint=f"See {page}; a private one needs HF_TOKEN.")
    if status == 429 or status in _SERVER_ERRORS:
        after = response.headers.get("Retry-After", "")
        hint = "Try again later; what was fetched is kept."
        wait = float(after) if after.isdecimal() else None
        raise HubBusy(f"the hub answers {status}", hint, wait)
    raise HubMisbehaved(f"the hub answers {status} for {label}")


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _reason(error: Exception) -> str:
    return clean_line(str(error) or type(error).__name__, 200)

"""Judge what a hub answers, before a byte of it is used."""

from __future__ import annotations

import errno
import re
import shlex
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2 as httpx

from ondevice import units
from ondevice.domain.download import RemoteFile
from ondevice.domain.text import clean_line
from ondevice.errors import (
    DownloadStalled,
    DownloadTrouble,
    HubBusy,
    HubMisbehaved,
    HubRefused,
    HubUnreachable,
    NoNetwork,
    NotOnHub,
)
from ondevice.hub.deadline import Deadline

READ_BYTES = 1 << 18
MOST_ANSWER_BYTES = 16 << 20
ANSWER_S = 60.0
NUMBER = re.compile(r"\d{1,18}", re.ASCII)
"""One in a header. Python refuses to read one of 5,000 digits."""
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_SERVER_ERRORS = range(500, 600)
_BAD_TOKEN = "Invalid credentials"
"""How the hub's words for a token begin that it does not know, as its own library has them."""
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
CHECK = "Check the connection."


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes of a file from `start` on."""

    start: int
    etag: str | None
    """Of the host that serves the bytes, where it is a strong one."""
    response: httpx.Response
    deadline: Deadline
    piece_s: float
    """So long may a piece take: chunks without end could make none."""

    def chunks(self) -> Iterator[bytes]:
        """As they come. Raises HubUnreachable when the connection breaks or ends early, and
        DownloadStalled when no piece comes.
        """
        try:
            pieces = self._pieces()
            first = next(pieces, b"")
            yield first
            left = int(self.response.headers.get("Content-Length", 0)) - len(first)
            connection = self._socket()
            if connection is None or left <= 0 or "Transfer-Encoding" in self.response.headers:
                yield from pieces
                return
            # The first piece emptied the parser, and a body of known length is only its bytes:
            # reading them here costs 0.7 s of a core per GB, through the parser 1.7 s.
            while left > 0 and (data := connection.recv(min(left, READ_BYTES))):
                left -= len(data)
                yield data
        except (httpx.HTTPError, OSError) as error:
            if self.deadline.is_over:
                stalled = f"hardly a byte in {units.duration(self.piece_s)}"
                raise DownloadStalled(stalled, CHECK) from error
            raise HubUnreachable(f"the connection broke: {reason(error)}", CHECK) from error
        if left > 0:
            raise HubUnreachable("the connection ended early", CHECK)

    def _pieces(self) -> Iterator[bytes]:
        """Through the client's parser, each in time."""
        pieces = self.response.iter_raw()
        while True:
            with self.deadline.within(self.piece_s):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def _socket(self) -> socket.socket | None:
        """Where the body comes from; None where only the client can read it (TLS inside TLS)."""
        stream = self.response.extensions["network_stream"]
        found = stream.get_extra_info("socket")
        plain = stream.get_extra_info("ssl_object") is None or isinstance(found, ssl.SSLSocket)
        return found if plain and isinstance(found, socket.socket) else None


class RangeRefused(Exception):
    """The rest of the file cannot be had; it must be fetched from its beginning."""


def begin(response: httpx.Response, file: RemoteFile, start: int) -> int:
    """Where the body begins; refuses one that cannot be the file's."""
    said = response.headers
    check_form(response, file.path)
    at = 0
    if response.status_code == httpx.codes.PARTIAL_CONTENT:
        found = _RANGE.fullmatch(said.get("Content-Range", ""))
        if not found or (int(found[1]), int(found[3])) != (start, file.size_bytes):
            raise RangeRefused("the server sent another range than the one asked for")
        at = start
    length = said.get("Content-Length")
    if length is not None and length != str(file.size_bytes - at):
        name = shlex.quote(f"{file.repository}/{file.path}")
        raise HubMisbehaved(
            f"the server has {length} bytes of {file.path} where {file.size_bytes - at} are due",
            hint=f"It is another file now. Where its hash was recorded here, "
            f"to delete it and take the new one: ondevice rm --forget-pin {name}",
        )
    return at


def check_form(response: httpx.Response, name: str) -> None:
    """Refuses bytes that are packed, and web pages."""
    said = response.headers
    if said.get("Content-Encoding", "identity") != "identity":
        raise HubMisbehaved(f"the server packs {name}, which was not asked for")
    if said.get("Content-Type", "").startswith("text/html"):
        raise HubMisbehaved(
            "the server sent a web page instead of the file",
            hint="A proxy or a login page of this network may stand between.",
        )


def bounded(body: Body) -> bytes:
    """All of an answer that is read into memory."""
    answer, deadline = bytearray(), time.monotonic() + ANSWER_S
    for chunk in body.chunks():
        answer += chunk
        if len(answer) > MOST_ANSWER_BYTES or time.monotonic() > deadline:
            raise HubMisbehaved("the hub's answer is without end")
    return bytes(answer)


def check_status(response: httpx.Response, label: str, endpoint: str, repository: str) -> None:
    """Raises what another status than success means."""
    status, page = response.status_code, f"{endpoint}/{repository}"
    if status < 400:
        return
    if status in (401, 403):
        raise _refusal(response, label, endpoint, page)
    if status in (404, 410):
        raise _not_there(label, page)
    if status == 429 or status in _SERVER_ERRORS:
        after = response.headers.get("Retry-After", "")
        wait = float(after) if NUMBER.fullmatch(after) else None
        raise HubBusy(f"the hub answers {status}", "Try again later.", wait)
    raise HubMisbehaved(f"the hub answers {status} for {label}")


def _refusal(response: httpx.Response, label: str, endpoint: str, page: str) -> DownloadTrouble:
    """What 401 and 403 mean: only the hub knows of terms and tokens, not what stands before it."""
    said, url, hub = response.headers, response.request.url, httpx.URL(endpoint)
    code = said.get("X-Error-Code", "")
    if code == "RepoNotFound":
        return _not_there(label, page)
    if code != "GatedRepo":
        if (url.scheme, url.host, url.port) != (hub.scheme, hub.host, hub.port):
            return HubRefused(
                f"{clean_line(url.host, 100)}, where the hub sends us, refuses {label}",
                hint="A firewall or proxy of this network may stand between; or try again later.",
            )
        if said.get("X-Error-Message", "").startswith(_BAD_TOKEN):
            return HubRefused(
                "the hub does not know the token that it was shown",
                hint="It may have expired: set HF_TOKEN to another one, or log in again.",
            )
        if response.status_code == 401:
            return HubRefused(
                f"the hub wants to know who asks for {label}",
                hint=f"Set HF_TOKEN to a token of an account that may see {page}.",
            )
    return HubRefused(
        f"{label} is given only to those who accepted its terms",
        hint=f"Accept them at {page}, then set HF_TOKEN to a token of that account.",
    )


def _not_there(label: str, page: str) -> NotOnHub:
    return NotOnHub(f"the hub has no {label}", hint=f"See {page}; a private one needs HF_TOKEN.")


def no_answer(error: Exception, host: str) -> HubUnreachable:
    """What it means that `host` was not reached, or did not answer."""
    hint = "Is the network up? Otherwise check HF_ENDPOINT and the proxy variables."
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, OverflowError):
        return HubUnreachable(f"{clean_line(host, 100)} has no such port", hint)
    if isinstance(cause, socket.gaierror) or isinstance(error, UnicodeError):  # or no name at all
        return NoNetwork(f"cannot find the host {clean_line(host, 100)}", hint)
    if cause is not None and cause.errno in _NO_WAY:
        return NoNetwork(f"cannot reach the host {clean_line(host, 100)}", hint)
    return HubUnreachable(f"{clean_line(host, 100)} does not answer: {reason(error)}", CHECK)


def reason(error: Exception) -> str:
    """What a client's error says, in one line."""
    return clean_line(str(error) or type(error).__name__, 200)

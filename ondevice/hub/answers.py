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

from ondevice.domain.download import RemoteFile
from ondevice.domain.text import clean_line
from ondevice.errors import (
    HubBusy,
    HubMisbehaved,
    HubRefused,
    HubUnreachable,
    NoNetwork,
    NotOnHub,
)

READ_BYTES = 1 << 18
MOST_ANSWER_BYTES = 16 << 20
ANSWER_S = 60.0
NUMBER = re.compile(r"\d{1,18}", re.ASCII)
"""One in a header. Python refuses to read one of 5,000 digits."""
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_SERVER_ERRORS = range(500, 600)
_NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
CHECK = "Check the connection."


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
            pieces = self.response.iter_raw()
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
            raise HubUnreachable(f"the connection broke: {reason(error)}", CHECK) from error

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
        wait = float(after) if NUMBER.fullmatch(after) else None
        raise HubBusy(f"the hub answers {status}", "Try again later.", wait)
    raise HubMisbehaved(f"the hub answers {status} for {label}")


def no_answer(error: httpx.HTTPError, host: str) -> HubUnreachable:
    """What it means that `host` was not reached, or did not answer."""
    hint = "Is the network up? Otherwise check HF_ENDPOINT and the proxy variables."
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, socket.gaierror):
        return NoNetwork(f"cannot find the host {clean_line(host, 100)}", hint)
    if cause is not None and cause.errno in _NO_WAY:
        return NoNetwork(f"cannot reach the host {clean_line(host, 100)}", hint)
    return HubUnreachable(f"{clean_line(host, 100)} does not answer: {reason(error)}", CHECK)


def reason(error: Exception) -> str:
    """What a client's error says, in one line."""
    return clean_line(str(error) or type(error).__name__, 200)

"""Talk to a hub: what a file is, and its bytes. Redirects are followed here, one by one.

A token, or the password in the hub's address, goes to the hub's own origin and nowhere else,
whatever it redirects to; neither is ever part of a message.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote, urlencode

import httpx2 as httpx

from ondevice import __version__, units
from ondevice.domain.download import RemoteFile
from ondevice.domain.text import clean_line
from ondevice.errors import DownloadStalled, EnvironmentUnusable, HubMisbehaved, HubUnreachable
from ondevice.hub import answers, credentials, names
from ondevice.hub.answers import Body, RangeRefused
from ondevice.hub.deadline import Deadline
from ondevice.hub.patience import QUESTION, Patience, Told, again

DEFAULT_ENDPOINT = "https://huggingface.co"
MOST_REDIRECTS = 5
CONNECT_S = 10.0

_T = TypeVar("_T")


class Hub:
    """One hub, over one pool of connections, for one thread; closes with `with`.

    Its client is made when something is asked: what is here takes none, nor a proxy that works.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | None = None,
        read_s: float = 30.0,
        patience: Patience = QUESTION,
        told: Told = lambda _notice: None,
    ) -> None:
        """`patience` is for questions, whose retries are `told`; bytes have their own.

        `read_s` is for every read, and twice that for all until the headers are here.
        """
        address = _parsed(endpoint)
        self._read_s, self._deadline = read_s, Deadline()
        self._client: httpx.Client | None = None
        self.endpoint = str(address.copy_with(userinfo=b""))
        """Without name and password, so that it may be shown and kept."""
        self._origin = _origin(address)
        self._secret = credentials.shown_to(address, token)
        self._patience, self._told = patience, told

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._deadline.close()
        if self._client is not None:
            self._client.close()

    def look_up(self, repository: str, path: str, revision: str) -> RemoteFile:
        """What the hub says `path` is at `revision`, a branch or a commit.

        Raises NotOnHub, HubRefused, HubBusy, HubUnreachable, or HubMisbehaved for an answer that
        does not say what the file is.
        """
        return self.again(lambda: self._look_up(repository, path, revision))

    def again(self, ask: Callable[[], _T]) -> _T:
        """What `ask` answers, with the patience that questions have."""
        return again(ask, self._patience, self._told)

    def _look_up(self, repository: str, path: str, revision: str) -> RemoteFile:
        with self._send("HEAD", self._address(repository, path, revision), {}, leave=False) as head:
            answers.check_status(head, f"{repository}/{path}", self.endpoint, repository)
            said = head.headers
            own = "" if head.is_redirect else said.get("Content-Length", "")
            size = str(said.get("X-Linked-Size") or own)
            if not answers.NUMBER.fullmatch(size):
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
            answers.check_status(response, label, self.endpoint, file.repository)
            begin = answers.begin(response, file, start)
            found = response.headers.get("ETag", "")
            strong = found if found.startswith('"') else None
            if begin and etag and strong != etag:
                raise RangeRefused("the file changed on the server")
            yield self._body(response, begin, strong)

    def _body(self, response: httpx.Response, begin: int = 0, etag: str | None = None) -> Body:
        return Body(begin, etag, response, self._deadline, self._read_s)

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
        if self._secret and _origin(url) == self._origin:
            own["Authorization"] = self._secret
        if self._client is None:
            self._client = _client(self._read_s)
        heard = {"trace": self._deadline.note}
        request = self._client.build_request(method, url, headers=headers | own, extensions=heard)
        try:
            with self._deadline.within(2 * self._read_s):
                response = self._client.send(request, stream=True, auth=None)
        except (httpx.HTTPError, UnicodeError, OverflowError) as error:
            if self._deadline.is_over:
                late = f"{clean_line(url.host, 100)} does not answer"
                late += f" within {units.duration(2 * self._read_s)}"
                raise DownloadStalled(late, answers.CHECK) from error
            raise answers.no_answer(error, url.host) from error
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
        return goal.copy_with(userinfo=b"")  # a hub does not say who we are elsewhere

    def ask(self, path: str, **query: str) -> bytes:
        """The JSON at `/api/PATH`: not packed, from the hub itself, of a size that can be read."""
        return self.again(lambda: self._ask(path, query))

    def _ask(self, path: str, query: dict[str, str]) -> bytes:
        address = f"{self.endpoint}/api/{quote(path)}?{urlencode(query)}"
        with self._send("GET", address, {}, leave=False) as response:
            subject = path.removeprefix("models/").partition("/revision/")[0]
            answers.check_status(response, subject, self.endpoint, subject)
            if response.is_redirect:
                raise HubMisbehaved("the hub wants its own answers to be fetched elsewhere")
            answers.check_form(response, "its answer")
            return answers.bounded(self._body(response))

    @contextlib.contextmanager
    def beginning(self, file: RemoteFile, most_bytes: int) -> Iterator[Body]:
        """The first `most_bytes` of `file`, for its header; nothing vouches for them."""
        address = self._address(file.repository, file.path, file.commit)
        headers = {"Range": f"bytes=0-{most_bytes - 1}"}
        with self._send("GET", address, headers, leave=True) as response:
            label = f"{file.repository}/{file.path}"
            answers.check_status(response, label, self.endpoint, file.repository)
            answers.check_form(response, file.path)
            yield self._body(response)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def offline(act: str = "download") -> HubUnreachable:
    """What to raise where a hub would have to be asked, to do `act`."""
    return HubUnreachable("HF_HUB_OFFLINE forbids the network", hint=f"Unset it to {act}.")


def from_environment(told: Told = lambda _notice: None) -> Hub:
    """The hub that HF_ENDPOINT names, with the person's token where it is meant for that hub.

    `told` hears what a person may want to know while waiting for an answer. Raises HubUnreachable
    when HF_HUB_OFFLINE forbids the network.
    """
    if is_offline():
        raise offline()
    endpoint = os.environ.get("HF_ENDPOINT") or DEFAULT_ENDPOINT
    return Hub(endpoint, credentials.token_for(_parsed(endpoint), told), told=told)


def _parsed(endpoint: str) -> httpx.URL:
    try:
        address = httpx.URL(endpoint.rstrip("/"))
    except (httpx.InvalidURL, ValueError):  # the latter for what is no text
        raise _unusable() from None
    if address.scheme not in ("http", "https") or not address.host:
        raise _unusable()
    return address


def _client(read_s: float) -> httpx.Client:
    """Raises EnvironmentUnusable for proxies and certificates that the environment names."""
    timeout = httpx.Timeout(read_s, connect=CONNECT_S)
    try:
        return httpx.Client(timeout=timeout, follow_redirects=False)
    except ImportError:
        unset = _given(lambda name, value: name.endswith("_PROXY") and value.startswith("socks"))
        raise EnvironmentUnusable(
            "a SOCKS proxy takes a package that is not installed",
            hint='pip install "httpx2[socks]"' + (f", or unset {unset}." if unset else ""),
        ) from None
    except OSError as error:
        named = _given(lambda name, _: name in ("SSL_CERT_FILE", "SSLKEYLOGFILE"))
        why = clean_line(error.strerror or str(error), 100)
        raise EnvironmentUnusable(
            f"what TLS is to use cannot be read: {why}",
            hint=f"Check {named}." if named else "Check the certificates of this system.",
        ) from None
    except (httpx.InvalidURL, ValueError):  # a proxy that is none
        raise _unusable() from None


def _given(is_it: Callable[[str, str], bool]) -> str:
    """Names of variables that are set, by NAME and value."""
    given = {name: value.lower() for name, value in os.environ.items() if value}
    return " and ".join(name for name, value in given.items() if is_it(name.upper(), value))


def _unusable() -> EnvironmentUnusable:
    """What is wrong with it is not told: the words could hold a password."""
    return EnvironmentUnusable(
        "the hub's address is not usable", hint="Check HF_ENDPOINT and the proxy variables."
    )


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port

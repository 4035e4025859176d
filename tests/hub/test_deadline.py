"""An answer that never gets to its end is given up, wherever in it the bytes trickle."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from loopback import PATH, REPOSITORY, Fault, Loopback, drip
from proxying import certificate

from ondevice.domain.download import Downloaded, DownloadNotice
from ondevice.errors import DownloadStalled
from ondevice.hub.cache import HubCache
from ondevice.hub.header import remote_header
from ondevice.hub.listing import describe
from ondevice.hub.patience import Patience
from ondevice.hub.pull import pull
from ondevice.hub.remote import Hub

CONTENT = random.Random(3).randbytes(100_000)
ONCE = Patience(attempts=1, backoff_s=0.0)
TWICE = Patience(attempts=2, backoff_s=0.0)
READ_S = 1.0

HEADER = drip(b"HTTP/1.1 200 OK\r\nX-Slow: ")
"""Every read brings a byte, and no line ends."""
CONTINUE = drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
"""Whole answers that are none yet."""
CHUNK = drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;")
"""How long the first piece is, without end."""

ASKED: dict[str, tuple[Fault, Callable[[Loopback, Hub], object]]] = {
    "what a file is, header": (HEADER, lambda _, hub: hub.look_up(REPOSITORY, PATH, "main")),
    "what a file is, continue": (CONTINUE, lambda _, hub: hub.look_up(REPOSITORY, PATH, "main")),
    "what there is, header": (HEADER, lambda _, hub: describe(hub, REPOSITORY)),
    "what there is, chunk": (CHUNK, lambda _, hub: describe(hub, REPOSITORY)),
    "a model's header, chunk": (CHUNK, lambda loop, hub: remote_header(hub, loop.offer(CONTENT))),
}


@pytest.mark.parametrize(("fault", "ask"), ASKED.values(), ids=ASKED)
def test_a_question_is_given_up(
    fault: Fault, ask: Callable[[Loopback, Hub], object], loopback: Loopback
) -> None:
    loopback.offer(CONTENT)
    for faults in (loopback.file_faults, loopback.api_faults, loopback.faults):
        faults.append(fault)
    with (
        Hub(loopback.address, read_s=READ_S, patience=ONCE) as hub,
        pytest.raises(DownloadStalled) as raised,
    ):
        ask(loopback, hub)
    assert raised.value.hint == "Check the connection."


@pytest.mark.parametrize("fault", [HEADER, CHUNK], ids=["header", "chunk"])
def test_a_file_is_asked_for_again(fault: Fault, loopback: Loopback, cache: Path) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.append(fault)
    with Hub(loopback.address, read_s=READ_S) as hub:
        *told, last = pull(hub, [file], HubCache(cache), TWICE)
    assert isinstance(last, Downloaded)
    assert last.path.read_bytes() == CONTENT
    assert [each.code for each in told if isinstance(each, DownloadNotice)] == ["retry"]


def test_tls_is_no_hiding_place(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, trusted = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Loopback(tls)
    file = server.offer(CONTENT)
    server.faults.extend([HEADER, CHUNK])
    with Hub(server.address, read_s=READ_S) as hub:
        *_, last = pull(hub, [file], HubCache(cache), Patience(attempts=3, backoff_s=0.0))
    server.close()
    assert isinstance(last, Downloaded)
    assert last.path.read_bytes() == CONTENT
    assert not server.faults

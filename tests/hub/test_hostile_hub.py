"""A hub that means harm, or is only broken: nothing outside the store, no token to anybody else."""

from __future__ import annotations

import gzip
import random
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from loopback import (
    COMMIT,
    PATH,
    REPOSITORY,
    Answering,
    Fault,
    Loopback,
    answers,
    cut_after,
    no_ranges,
    web_page,
    with_headers,
)
from proxying import certificate
from pulls import ask_and_start, fail
from serving import FileHub

from ondevice.domain.download import RemoteFile
from ondevice.errors import (
    DownloadTrouble,
    HubBusy,
    HubMisbehaved,
    HubRefused,
    HubUnreachable,
    NotOnHub,
)
from ondevice.hub import listing
from ondevice.hub.cache import HubCache
from ondevice.hub.patience import Patience
from ondevice.hub.pull import pull
from ondevice.hub.remote import Hub

QUICK = Patience(attempts=3, backoff_s=0.0, longest_wait_s=0.0)
CONTENT = random.Random(8).randbytes(100_000)
SECRET = "hf_secret"
UNKNOWN_TOKEN = "Invalid credentials in Authorization header"


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


def tree(folder: Path) -> dict[str, int]:
    """Every file below `folder` with its size."""
    return {str(each): each.lstat().st_size for each in folder.rglob("*") if not each.is_dir()}


def ask_and_pull(loopback: Loopback, store: HubCache, path: str = PATH) -> None:
    """What `ondevice pull` does with a file that is not pinned, with a token."""
    with Hub(loopback.address, token=SECRET, read_s=2.0) as hub:
        list(pull(hub, [hub.look_up(REPOSITORY, path, "main")], store, QUICK))


def only_the_hub_saw_the_token(loopback: Loopback) -> None:
    for path, shown in loopback.tokens():
        assert shown in (None, f"Bearer {SECRET}")
        assert shown is None or path.startswith(f"/{REPOSITORY}/"), path


UP = "../" * 12 + "tmp/escaped"
HOSTILE_HEADERS = {
    "ETag up": {"X-Linked-Etag": f'"{UP}"'},
    "ETag absolute": {"X-Linked-Etag": '"/tmp/escaped"'},
    "ETag with a NUL": {"X-Linked-Etag": '"' + "0" * 63 + "%00" + '"'},
    "ETag of another length": {"X-Linked-Etag": '"' + "0" * 63 + '"'},
    "ETag in capitals": {"X-Linked-Etag": '"' + "A" * 64 + '"'},
    "no ETag": {"X-Linked-Etag": '""'},
    "revision up": {"X-Repo-Commit": UP},
    "revision absolute": {"X-Repo-Commit": "/tmp/escaped"},
    "revision of dots": {"X-Repo-Commit": ".."},
    "revision with a tail": {"X-Repo-Commit": COMMIT + "/../../x"},
    "no revision": {"X-Repo-Commit": ""},
    "size of 5,000 digits": {"X-Linked-Size": "9" * 5000},
    "size with a sign": {"X-Linked-Size": "+5"},
    "size in other digits": {"X-Linked-Size": "\u0661"},
}


@pytest.mark.parametrize("said", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS)
def test_a_hostile_header_writes_nothing_anywhere(
    loopback: Loopback, store: HubCache, tmp_path: Path, said: dict[str, str]
) -> None:
    loopback.offer(CONTENT)
    loopback.said = {name: value.encode().decode("latin-1") for name, value in said.items()}
    before = tree(tmp_path)
    with pytest.raises(HubMisbehaved) as raised:
        ask_and_pull(loopback, store)
    assert raised.value.message.isprintable()
    assert tree(tmp_path) == before
    assert not Path("/tmp/escaped").exists()


@pytest.mark.parametrize(
    "path",
    [f"{UP}.gguf", "/tmp/escaped.gguf", "a/../../x.gguf", "..\\x.gguf", "C:x.gguf", "~/x.gguf",
     "x.gguf\n", "x\x1b[2J.gguf", "a//x.gguf", "./x.gguf", "x.py", ".gguf", "-o.gguf", "x.gguf "],
)  # fmt: skip
def test_a_hostile_file_name_writes_nothing_and_asks_nobody(
    loopback: Loopback, store: HubCache, tmp_path: Path, path: str
) -> None:
    file = loopback.offer(CONTENT)
    before = tree(tmp_path)
    with Hub(loopback.address, token=SECRET) as hub:
        with pytest.raises(HubMisbehaved) as raised:
            hub.look_up(REPOSITORY, path, "main")
        hostile = RemoteFile(REPOSITORY, path, COMMIT, file.size_bytes, file.content_hash)
        with pytest.raises(HubMisbehaved):
            list(pull(hub, [hostile], store, QUICK))
    assert raised.value.message.isprintable()
    assert tree(tmp_path) == before
    assert loopback.requests == []


BOMB = gzip.compress(bytes(300_000_000), compresslevel=1)


def gzip_bomb(request: Answering) -> bool:
    """1.3 MB that unpack to 300."""
    request.send(BOMB, {"Content-Encoding": "gzip", "Content-Length": str(len(BOMB))})
    return True


def unsaid_gzip_bomb(request: Answering) -> bool:
    """The same, without a word about it."""
    request.send(BOMB, {"Content-Length": None})
    return True


def packed_transfer(request: Answering) -> bool:
    """A packing of the way, not of the content."""
    request.send(BOMB, {"Transfer-Encoding": "gzip, chunked", "Content-Length": None})
    return True


@pytest.mark.parametrize("fault", [gzip_bomb, unsaid_gzip_bomb, packed_transfer])
def test_a_bomb_is_refused_and_never_larger_than_the_file(
    loopback: Loopback, store: HubCache, fault: Fault
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend([fault] * 20)
    with pytest.raises(DownloadTrouble):
        ask_and_pull(loopback, store)
    assert sum(tree(store.root).values()) <= len(CONTENT)
    assert not store.blob(file).exists()


def in_chunks(request: Answering) -> bool:
    """A length and chunks: the chunks count, and their frames are not the file's."""
    frames = b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (CONTENT[at : at + 999] for at in range(0, len(CONTENT), 999))
    )
    request.send(frames + b"0\r\n\r\n", {"Transfer-Encoding": "chunked"})
    return True


def test_chunks_beside_a_length_are_unpacked(loopback: Loopback, store: HubCache) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.append(in_chunks)
    ask_and_pull(loopback, store)
    assert store.snapshot(file).read_bytes() == CONTENT
    assert loopback.faults == deque()


class TestARedirect:
    @pytest.fixture
    def other(self) -> Iterator[Loopback]:
        """A host that would like to have the token."""
        server = Loopback()
        yield server
        server.close()

    @pytest.mark.parametrize(
        "goal",
        [
            "{other}/stolen",
            "//{other_host}/stolen",
            "http://{hub_host}@{other_host}/stolen",
            "http://localhost:{port}/stolen",
        ],
        ids=["another port", "no scheme", "the hub's name as a user", "another name"],
    )
    def test_to_another_host_carries_no_token(
        self, loopback: Loopback, other: Loopback, store: HubCache, goal: str
    ) -> None:
        loopback.offer(CONTENT)
        other_host = other.address.removeprefix("http://")
        loopback.said["Location"] = goal.format(
            other=other.address,
            other_host=other_host,
            hub_host=loopback.address.removeprefix("http://"),
            port=other_host.partition(":")[2],
        )
        with pytest.raises(NotOnHub):  # it has no such file
            ask_and_pull(loopback, store)
        assert [path for _, path, _ in other.requests] == ["/stolen"]
        assert SECRET not in str(other.requests)
        assert sum(tree(store.root).values()) == 0

    def test_from_tls_to_none_is_not_followed(
        self, loopback: Loopback, store: HubCache, tmp_path: Path
    ) -> None:
        content = tmp_path / "content"
        content.write_bytes(CONTENT)
        tls, trusted = certificate(tmp_path)
        hub = FileHub(content, tls=tls)
        hub.bytes_address = loopback.address
        env = {"HF_TOKEN": SECRET, "SSL_CERT_FILE": str(trusted)}
        line = fail(ask_and_start(hub, store, **env))
        hub.close()
        assert line.startswith("HubMisbehaved: the hub redirects to http, which is unsafe")
        assert loopback.requests == []


def whole_and_cut(request: Answering) -> bool:
    """Not the range that was asked for, and never to its end."""
    no_ranges(request)
    return cut_after(1000)(request)


def lasting(error: type[DownloadTrouble], said: str, *faults: Fault) -> tuple[object, ...]:
    return error, said, faults


LASTING = {
    "416": lasting(HubMisbehaved, "no such range", cut_after(1000), *[answers(416)] * 9),
    "416 at once": lasting(HubMisbehaved, "no such range", *[answers(416)] * 9),
    "500": lasting(HubBusy, "500", *[answers(500)] * 9),
    "503 with Retry-After": lasting(HubBusy, "503", *[answers(503, Retry_After="7")] * 9),
    "429": lasting(HubBusy, "429", *[answers(429, Retry_After="60")] * 9),
    "401 of another host": lasting(HubRefused, "where the hub sends us, refuses", answers(401)),
    "403 gated": lasting(HubRefused, "terms", answers(403, X_Error_Code="GatedRepo")),
    "404": lasting(NotOnHub, "has no", answers(404)),
    "a page": lasting(HubMisbehaved, "web page", web_page),
    "Range ignored, and cut": lasting(HubUnreachable, "ended early", *[whole_and_cut] * 9),
    "wrong Content-Range": lasting(
        HubMisbehaved,
        "another range",
        cut_after(1000),
        *[with_headers(Content_Range="bytes 5-9/10"), cut_after(1000)] * 9,
    ),
    "Content-Range of 5,000 digits": lasting(
        HubMisbehaved,
        "another range",
        cut_after(1000),
        *[with_headers(Content_Range=f"bytes 1000-99999/{'9' * 5000}"), cut_after(1000)] * 9,
    ),
    "gzip": lasting(HubMisbehaved, "packs", with_headers(Content_Encoding="gzip")),
}


@pytest.mark.parametrize(("error", "said", "faults"), LASTING.values(), ids=LASTING)
def test_an_answer_that_stays_wrong_has_a_name(
    loopback: Loopback,
    store: HubCache,
    error: type[DownloadTrouble],
    said: str,
    faults: tuple[Fault, ...],
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend(faults)
    with pytest.raises(error, match=said) as raised:
        ask_and_pull(loopback, store)
    assert raised.value.message.isprintable()
    assert not store.blob(file).exists()
    only_the_hub_saw_the_token(loopback)


REFUSALS = {
    "an expired token": (401, {"X-Error-Message": UNKNOWN_TOKEN}, "the token", "HF_TOKEN"),
    "nobody in particular": (401, {}, "who asks for", "an account that may see"),
    "terms": (403, {}, "accepted its terms", "Accept them at"),
    "terms by their code": (401, {"X-Error-Code": "GatedRepo"}, "its terms", "Accept them at"),
}


@pytest.mark.parametrize(("status", "said", "why", "hint"), REFUSALS.values(), ids=REFUSALS)
def test_a_hub_that_refuses_says_why(
    loopback: Loopback, status: int, said: dict[str, str], why: str, hint: str
) -> None:
    headers = {name.replace("-", "_"): value for name, value in said.items()}
    loopback.file_faults.append(answers(status, **headers))
    loopback.api_faults.append(answers(status, **headers))
    with Hub(loopback.address, token=SECRET) as hub:
        for ask in (
            lambda: hub.look_up(REPOSITORY, PATH, "main"),
            lambda: listing.describe(hub, REPOSITORY),
        ):
            with pytest.raises(HubRefused) as raised:
                ask()
            assert why in raised.value.message
            assert hint in raised.value.hint


def test_another_host_that_refuses_is_named_and_knows_of_no_terms(
    loopback: Loopback, store: HubCache
) -> None:
    loopback.offer(CONTENT)
    loopback.bytes_address = loopback.bytes_address.replace("127.0.0.1", "localhost")
    loopback.faults.append(answers(403, X_Error_Message=UNKNOWN_TOKEN))
    with pytest.raises(HubRefused, match=r"^localhost, where the hub sends") as raised:
        ask_and_pull(loopback, store)
    assert "terms" not in raised.value.hint


def test_a_busy_hub_says_when_to_come_back(loopback: Loopback, store: HubCache) -> None:
    loopback.offer(CONTENT)
    loopback.faults.extend([answers(503, Retry_After="7")] * 9)
    with pytest.raises(HubBusy) as raised:
        ask_and_pull(loopback, store)
    assert raised.value.retry_after_s == 7

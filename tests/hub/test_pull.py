"""Fetching a file over real sockets: whole or not at all, and nothing to anybody it is not for."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
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
    flip,
    no_ranges,
    round_and_round,
    too_much,
    web_page,
    with_headers,
)

from ondevice.domain.download import (
    Downloaded,
    DownloadEvent,
    DownloadNotice,
    DownloadProgress,
    RemoteFile,
)
from ondevice.domain.model import FileSpec
from ondevice.errors import (
    CorruptDownload,
    DiskTooSmall,
    DownloadStalled,
    DownloadTrouble,
    HubBusy,
    HubMisbehaved,
    HubRefused,
    HubUnreachable,
    NoNetwork,
    NotAModelFile,
    NotOnHub,
)
from ondevice.hub import local
from ondevice.hub import remote as remote_module
from ondevice.hub.cache import HubCache
from ondevice.hub.header import remote_header
from ondevice.hub.listing import describe, remote_files, search
from ondevice.hub.patience import Patience
from ondevice.hub.pull import pull
from ondevice.hub.remote import Hub

QUICK = Patience(attempts=3, backoff_s=0.0, longest_wait_s=0.0)
CONTENT = random.Random(1).randbytes(300_000)


@pytest.fixture
def store(cache: Path) -> HubCache:
    return HubCache(cache)


def events(
    loopback: Loopback, file: RemoteFile, store: HubCache, patience: Patience = QUICK
) -> list[DownloadEvent]:
    with Hub(loopback.address, read_s=2.0) as hub:
        return list(pull(hub, [file], store, patience))


def done(found: Sequence[DownloadEvent]) -> Downloaded:
    assert isinstance(found[-1], Downloaded)
    return found[-1]


def notice(event: DownloadEvent) -> str:
    assert isinstance(event, DownloadNotice)
    return event.code


def files_in(store: HubCache) -> list[str]:
    """Everything in the cache that is not a lock."""
    found = [path for path in store.root.rglob("*") if not path.is_dir()]
    return sorted(path.name for path in found if path.suffix != ".lock")


class TestAFile:
    def test_is_found_by_every_tool_of_the_cache(self, loopback: Loopback, store: HubCache) -> None:
        from huggingface_hub import try_to_load_from_cache

        file = loopback.offer(CONTENT)
        path = done(events(loopback, file, store)).path
        assert path.read_bytes() == CONTENT
        spec = FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH, COMMIT, len(CONTENT))
        assert local.find_file(spec) == path
        found = try_to_load_from_cache(REPOSITORY, PATH, cache_dir=store.root, revision=COMMIT)
        assert found == str(path)

    def test_is_private_and_leaves_nothing_beside_it(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        path = done(events(loopback, file, store)).path
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        made = [store.root.parent, store.root, *store.root.rglob("*")]
        folders = {each: each.stat().st_mode & 0o777 for each in made if each.is_dir()}
        assert set(folders.values()) == {0o700}, folders
        assert files_in(store) == sorted([file.content_hash, PATH])

    def test_of_which_no_byte_came_leaves_nothing(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        loopback.faults.extend([answers(503)] * QUICK.attempts)
        with pytest.raises(HubBusy):
            events(loopback, file, store)
        assert [each.name for each in store.root.rglob("*")] == [".locks"]
        done(events(loopback, file, store))

    def test_that_one_gave_up_comes_to_who_waited(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        """The first deletes its lock, which the other one waits for."""
        file = loopback.offer(CONTENT)
        loopback.faults.append(answers(503))
        with Hub(loopback.address, read_s=2.0) as one, Hub(loopback.address, read_s=2.0) as other:
            first, second = (pull(hub, [file], store, QUICK) for hub in (one, other))
            assert notice(next(first)) == "retry"
            assert notice(next(second)) == "waiting"
            first.close()
            assert store.folders() == []
            assert done(list(second)).fetched_bytes == len(CONTENT)

    def test_that_is_here_is_not_fetched_again(self, loopback: Loopback, store: HubCache) -> None:
        file = loopback.offer(CONTENT)
        events(loopback, file, store)
        assert done(events(loopback, file, store)).fetched_bytes == 0
        assert loopback.sent == len(CONTENT)

    def test_goes_on_where_an_earlier_run_was_closed(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        store.make_folders(file)
        store.part(file).write_bytes(CONTENT[:200_000])
        found = events(loopback, file, store)
        assert done(found).fetched_bytes == 100_000
        assert loopback.sent == 100_000
        assert [each.code for each in found if isinstance(each, DownloadNotice)] == ["resumed"]

    def test_progress_ends_whole_and_never_goes_back(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        loopback.faults.extend([cut_after(250_000), no_ranges, cut_after(10), flip(9)])
        found = events(loopback, file, store)
        bytes_done = [each.done_bytes for each in found if isinstance(each, DownloadProgress)]
        assert bytes_done == sorted(bytes_done)
        assert bytes_done[-1] == len(CONTENT)

    @pytest.mark.parametrize(
        ("faults", "notices"),
        [([flip(9)], ["restart"]), ([cut_after(250_000), no_ranges], ["retry", "restart"])],
        ids=["damaged", "no ranges"],
    )
    def test_progress_tells_what_is_left_also_after_a_restart(
        self, faults: list[Fault], notices: list[str], loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        loopback.faults.extend(faults)
        patience = replace(QUICK, limit_bytes_per_s=500_000)  # so that there is some to tell
        told: list[str] = []
        left: list[int] = []
        with Hub(loopback.address, read_s=2.0) as hub:
            for event in pull(hub, [file], store, patience):
                if isinstance(event, DownloadNotice):
                    told.append(event.code)
                elif isinstance(event, DownloadProgress):
                    left.append(event.left_bytes)
                    assert left[-1] == len(CONTENT) - store.part(file).stat().st_size
        assert told == notices
        assert left[-1] == 0

    def test_counts_what_came_also_of_what_was_thrown_away(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        store.make_folders(file)
        store.part(file).write_bytes(bytes(200_000))  # damaged: nothing of it is of the file
        found = events(loopback, file, store)
        assert done(found).fetched_bytes == 100_000 + len(CONTENT) == loopback.sent

    def test_of_no_bytes_is_a_file(self, loopback: Loopback, store: HubCache) -> None:
        file = loopback.offer(b"", "empty.txt")
        assert done(events(loopback, file, store)).path.read_bytes() == b""

    def test_twice_in_one_set_is_fetched_once_and_has_both_names(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        one, other = loopback.offer(CONTENT), loopback.offer(CONTENT, "copy.gguf")
        with Hub(loopback.address, read_s=2.0) as hub:
            found = list(pull(hub, [one, other], store, QUICK))
        assert done(found).fetched_bytes == len(CONTENT) == loopback.sent
        assert store.snapshot(one).read_bytes() == store.snapshot(other).read_bytes() == CONTENT

    def test_is_not_written_through_a_link_in_place_of_its_partial(
        self, loopback: Loopback, store: HubCache, tmp_path: Path
    ) -> None:
        file = loopback.offer(CONTENT)
        store.make_folders(file)
        other = tmp_path / "of-somebody-else"
        other.write_bytes(b"precious")
        store.part(file).symlink_to(other)
        with pytest.raises(DiskTooSmall):
            events(loopback, file, store)
        assert other.read_bytes() == b"precious"

    def test_cancelled_keeps_what_has_come(self, loopback: Loopback, store: HubCache) -> None:
        file = loopback.offer(CONTENT)
        loopback.faults.extend([cut_after(100_000)])
        with Hub(loopback.address) as hub:
            running = pull(hub, [file], store, QUICK)
            with closing(running):
                while not isinstance(next(running), DownloadNotice):
                    pass
        assert store.part(file).read_bytes() == CONTENT[:100_000]
        assert not store.blob(file).exists()
        assert done(events(loopback, file, store)).fetched_bytes == len(CONTENT) - 100_000


def changed_etag(request: Answering) -> bool:
    """The rest is said to be of another file."""
    request.send(request.content[request.start :], {"ETag": '"of-something-else"'})
    return True


def no_ranges_and_cut(request: Answering) -> bool:
    """From the beginning whatever was asked for, and never far."""
    no_ranges(request)
    return cut_after(1000)(request)


WEATHERED: dict[str, list[Fault]] = {
    "cut twice": [cut_after(70_000), cut_after(70_000)],
    "cut at once": [cut_after(0)],
    "500": [answers(500)],
    "503 with Retry-After": [answers(503, Retry_After="7")],
    "429": [answers(429)],
    "416": [cut_after(1000), answers(416)],
    "range ignored": [cut_after(1000), no_ranges],
    "wrong Content-Range": [cut_after(1000), with_headers(Content_Range="bytes 5-9/10")],
    "no Content-Range": [cut_after(1000), with_headers(Content_Range=None)],
    "ETag changed": [cut_after(1000), changed_etag],
    "weak ETag": [with_headers(ETag='W/"x"')],
    "no Content-Length": [with_headers(Content_Length=None)],
    "one bit": [flip(1_234_567)],
    "one bit, then cut": [flip(5), cut_after(1)],
}


@pytest.mark.parametrize("faults", WEATHERED.values(), ids=WEATHERED)
def test_a_passing_fault_ends_with_the_right_file(
    loopback: Loopback, store: HubCache, faults: list[Fault]
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend(faults)
    assert done(events(loopback, file, store)).path.read_bytes() == CONTENT
    assert not loopback.faults


def test_a_line_that_keeps_breaking_is_used_as_long_as_it_gets_on(
    loopback: Loopback, store: HubCache
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend([cut_after(QUICK.headway_bytes // 2)] * 4 * QUICK.attempts)
    assert done(events(loopback, file, store)).path.read_bytes() == CONTENT
    assert not loopback.faults


def test_a_network_that_was_here_a_moment_ago_is_waited_for(
    loopback: Loopback, store: HubCache
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.append(cut_after(100_000))
    gone = answers(302, Location="http://255.255.255.255/")  # the system has no way there
    loopback.file_faults.extend([lambda _: False, gone, gone, gone])
    patience = Patience(attempts=5, backoff_s=0.0)
    with Hub(loopback.address) as hub:
        found = list(pull(hub, [file], store, patience))
    assert done(found).path.read_bytes() == CONTENT
    told = [each.message for each in found if isinstance(each, DownloadNotice)]
    assert sum("cannot reach the host 255.255.255.255" in each for each in told) == 3


def test_nothing_is_said_to_be_kept_where_nothing_came(loopback: Loopback, store: HubCache) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend([cut_after(0)] * 9)
    with pytest.raises(HubUnreachable) as raised:
        events(loopback, file, store)
    assert raised.value.hint == "Check the connection."


@pytest.mark.parametrize(
    "drip",
    [[cut_after(1)], [cut_after(1), answers(503)], [no_ranges_and_cut]],
    ids=["a byte", "a byte, then busy", "the same bytes"],
)
def test_a_hub_that_drips_is_given_up_and_what_came_is_kept(
    loopback: Loopback, store: HubCache, drip: list[Fault]
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend(drip * 50)
    with pytest.raises((HubUnreachable, HubBusy)) as raised:
        events(loopback, file, store)
    assert raised.value.hint.endswith("What was fetched is kept; pull again to go on.")
    assert len(loopback.faults) == 50 * len(drip) - QUICK.attempts
    assert 0 < store.part(file).stat().st_size <= QUICK.attempts * 1000


def named(error: type[DownloadTrouble], said: str, fault: Fault) -> tuple[object, ...]:
    return error, said, fault


REFUSED = {
    "401 of another host": named(HubRefused, "where the hub sends us, refuses", answers(401)),
    "403 of another host": named(HubRefused, "where the hub sends us, refuses", answers(403)),
    "403 gated": named(HubRefused, "terms", answers(403, X_Error_Code="GatedRepo")),
    "401 unknown": named(NotOnHub, "has no", answers(401, X_Error_Code="RepoNotFound")),
    "404": named(NotOnHub, "has no", answers(404)),
    "418": named(HubMisbehaved, "418", answers(418)),
    "500": named(HubBusy, "500", answers(500)),
    "web page": named(HubMisbehaved, "web page", web_page),
    "gzip": named(HubMisbehaved, "packs", with_headers(Content_Encoding="gzip")),
    "another length": named(HubMisbehaved, "are due", with_headers(Content_Length="3")),
    "too much": named(HubMisbehaved, "more than", too_much),
    "redirect loop": named(HubMisbehaved, "without end", round_and_round),
    "redirect to a file": named(
        HubMisbehaved, "unsafe", answers(302, Location="file:///etc/passwd")
    ),
    "redirect to nowhere": named(HubMisbehaved, "nowhere", answers(302)),
    "redirect to an empty label": named(
        NoNetwork, r"cannot find the host a\.\.b", answers(302, Location="http://a..b/x")
    ),
    "redirect to a dot": named(
        NoNetwork, r"cannot find the host \.", answers(302, Location="http://./x")
    ),
    "redirect to a label of 70 letters": named(
        NoNetwork, "cannot find the host lll", answers(302, Location=f"http://{'l' * 70}/x")
    ),
    "redirect to a port of 30 digits": named(
        HubUnreachable, "has no such port", answers(302, Location=f"http://127.0.0.1:{'9' * 30}/x")
    ),
    "always damaged": named(CorruptDownload, "promised", flip(9)),
    "always cut": named(HubUnreachable, "broke", cut_after(0)),
}


@pytest.mark.parametrize(("error", "said", "fault"), REFUSED.values(), ids=REFUSED)
def test_a_lasting_fault_has_a_name_and_publishes_nothing(
    loopback: Loopback, store: HubCache, error: type[DownloadTrouble], said: str, fault: Fault
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend([fault] * 20)
    with pytest.raises(error, match=said) as raised:
        events(loopback, file, store)
    assert raised.value.hint or error is HubMisbehaved
    assert not store.blob(file).exists()
    assert not store.snapshot(file).exists()


def test_a_damaged_file_is_thrown_away_and_both_hashes_are_named(
    loopback: Loopback, store: HubCache
) -> None:
    file = loopback.offer(CONTENT)
    loopback.faults.extend([flip(9), flip(9)])
    with pytest.raises(CorruptDownload) as raised:
        events(loopback, file, store)
    damaged = bytearray(CONTENT)
    damaged[1] ^= 2
    assert file.content_hash in raised.value.message
    assert hashlib.sha256(damaged).hexdigest() in raised.value.message
    assert not store.part(file).exists()


@pytest.mark.parametrize("count", [20, pytest.param(500, marks=pytest.mark.soak)])
def test_every_flipped_bit_is_detected(loopback: Loopback, store: HubCache, count: int) -> None:
    draw, content = random.Random(2), CONTENT[:4096]
    file = loopback.offer(content)
    for _ in range(count):
        bit = draw.randrange(8 * len(content))
        if draw.random() < 0.5:  # on the wire, or in what an earlier run left
            loopback.faults.append(flip(bit))
        else:
            part = bytearray(content)
            part[bit // 8] ^= 1 << bit % 8
            store.make_folders(file)
            store.part(file).write_bytes(part[: bit // 8 + 1])
        found = events(loopback, file, store)
        assert [
            each for each in found if isinstance(each, DownloadNotice) and each.code == "restart"
        ]
        assert done(found).path.read_bytes() == content
        store.blob(file).unlink()


def trickle(gap_s: float) -> Callable[[Answering], bool]:
    """A byte now and then, for as long as somebody listens."""

    def fault(request: Answering) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(request.content)))
        request.end_headers()
        try:
            for at in range(len(request.content)):
                request.wfile.write(request.content[at : at + 1])
                request.hub.closing.wait(gap_s)
        except OSError:
            request.close_connection = True
        return True

    return fault


@pytest.mark.parametrize(
    ("content", "gap_s"),
    [
        pytest.param(CONTENT, 0.02, id="many small gaps"),
        # each is shorter than a stall, two of them are longer
        pytest.param(CONTENT[:9], 0.4, id="several large gaps"),
    ],
)
def test_a_trickle_is_given_up(
    content: bytes, gap_s: float, loopback: Loopback, store: HubCache
) -> None:
    file = loopback.offer(content)
    loopback.faults.append(trickle(gap_s))
    patience = Patience(attempts=1, stall_s=0.5)
    with pytest.raises(DownloadStalled, match="hardly a byte"):
        events(loopback, file, store, patience)
    assert 0 < store.part(file).stat().st_size < min(1000, len(content))
    assert done(events(loopback, file, store)).path.read_bytes() == content


def test_a_limit_lower_than_a_stall_is_no_stall(loopback: Loopback, store: HubCache) -> None:
    file = loopback.offer(CONTENT[:400])
    loopback.faults.append(trickle(0.003))  # so that bytes come until the stall would be seen
    patience = Patience(attempts=1, stall_s=0.8, limit_bytes_per_s=200)
    assert done(events(loopback, file, store, patience)).path.read_bytes() == CONTENT[:400]


def test_a_disk_without_room_is_refused_with_the_numbers(
    loopback: Loopback, store: HubCache
) -> None:
    file = loopback.offer(CONTENT)
    huge = RemoteFile(file.repository, file.path, file.commit, 1 << 60, file.content_hash)
    numbers = r"needs 1048576 TB more; the disk has [\d.]+ [KMGT]?B free"
    with pytest.raises(DiskTooSmall, match=numbers):
        events(loopback, huge, store)
    assert loopback.sent == 0


class TestTheToken:
    def test_goes_to_the_hub_and_not_to_the_host_of_the_bytes(
        self, loopback: Loopback, store: HubCache
    ) -> None:
        file = loopback.offer(CONTENT)
        with Hub(loopback.address, token="hf_secret") as hub:
            assert hub.look_up(REPOSITORY, PATH, "main") == file
            list(pull(hub, [file], store, QUICK))
        said = dict(loopback.tokens())
        assert said.pop(f"/bytes/{file.content_hash}") is None
        assert set(said.values()) == {"Bearer hf_secret"}

    def test_that_no_header_can_carry_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_a\r\nX-Evil: 1")
        assert remote_module.from_environment()._secret is None


class TestALookUp:
    def test_says_what_the_file_is(self, loopback: Loopback) -> None:
        file = loopback.offer(CONTENT)
        with Hub(loopback.address) as hub:
            spec = FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH)
            assert remote_files(hub, spec) == (file,)

    def test_of_a_pinned_file_asks_nobody(self, loopback: Loopback) -> None:
        file = loopback.offer(CONTENT)
        spec = FileSpec(
            "llama.cpp", "Q4_0", REPOSITORY, PATH, COMMIT, len(CONTENT), file.content_hash
        )
        with Hub(loopback.address) as hub:
            assert remote_files(hub, spec) == (file,)
        assert loopback.requests == []

    def test_refuses_another_file_than_the_one_that_is_known(self, loopback: Loopback) -> None:
        loopback.offer(CONTENT)
        spec = FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH, None, None, "0" * 64)
        with Hub(loopback.address) as hub, pytest.raises(HubMisbehaved, match="not 0000"):
            remote_files(hub, spec)

    @pytest.mark.parametrize(
        "said",
        [
            {"X-Linked-Etag": '"../../../escaped"'},
            {"X-Linked-Etag": 'W/"' + "0" * 64 + '"'},
            {"X-Repo-Commit": "../../escaped"},
            {"X-Repo-Commit": "main"},
            {"X-Linked-Size": "-1"},
            {"X-Linked-Size": "many"},
        ],
        ids=str,
    )
    def test_refuses_names_that_are_none(self, loopback: Loopback, said: dict[str, str]) -> None:
        loopback.offer(CONTENT)
        loopback.said = said
        with Hub(loopback.address) as hub, pytest.raises(HubMisbehaved):
            hub.look_up(REPOSITORY, PATH, "main")

    @pytest.mark.parametrize(
        "change",
        [
            lambda file: RemoteFile("../x", file.path, COMMIT, 1, file.content_hash),
            lambda file: RemoteFile(REPOSITORY, "../../x.gguf", COMMIT, 1, file.content_hash),
            lambda file: RemoteFile(REPOSITORY, "/etc/x.gguf", COMMIT, 1, file.content_hash),
            lambda file: RemoteFile(REPOSITORY, "a\\..\\x.gguf", COMMIT, 1, file.content_hash),
            lambda file: RemoteFile(REPOSITORY, "x.py", COMMIT, 1, file.content_hash),
            lambda file: RemoteFile(REPOSITORY, PATH, "..", 1, file.content_hash),
            lambda file: RemoteFile(REPOSITORY, PATH, COMMIT, 1, "../x"),
        ],
        ids=["repository", "parent", "absolute", "backslash", "program", "commit", "hash"],
    )
    def test_no_hostile_name_reaches_the_disk(
        self, loopback: Loopback, store: HubCache, change: Callable[[RemoteFile], RemoteFile]
    ) -> None:
        file = change(loopback.offer(CONTENT))
        with pytest.raises(HubMisbehaved):
            events(loopback, file, store)
        assert loopback.requests == []
        assert not store.root.exists()


def drop(request: Answering) -> bool:
    """The connection ends without an answer."""
    request.close_connection = True
    return True


PASSING: dict[str, Fault] = {
    "503 with Retry-After": answers(503, Retry_After="7"),
    "429": answers(429),
    "dropped": drop,
}


class TestAQuestion:
    QUICK = Patience(attempts=3, backoff_s=0.0, longest_wait_s=0.0)

    @pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
    def test_is_asked_again_after_a_passing_fault_and_says_so(
        self, loopback: Loopback, fault: Fault
    ) -> None:
        file = loopback.offer(CONTENT)
        told: list[DownloadNotice] = []
        with Hub(loopback.address, patience=self.QUICK, told=told.append) as hub:
            loopback.file_faults.extend([fault, fault])
            assert hub.look_up(REPOSITORY, PATH, "main") == file
            loopback.api_faults.extend([fault, fault])
            assert describe(hub, REPOSITORY).commit == COMMIT
            loopback.faults.extend([fault, fault])
            with pytest.raises(NotAModelFile):  # the bytes came, and they are noise
                remote_header(hub, file)
        assert [each.code for each in told] == ["retry"] * 6
        assert all("trying again in" in each.message for each in told)

    def test_whose_answer_is_cut_in_the_middle_is_asked_again(self, loopback: Loopback) -> None:
        def cut(request: Answering) -> bool:
            whole = {"Content-Type": "application/json", "Content-Length": "4000"}
            request.say(200, whole, b'{"id": "someone/small-GGUF", "sha": ')
            return True

        loopback.offer(CONTENT)
        loopback.api_faults.extend([cut, cut])
        told: list[DownloadNotice] = []
        with Hub(loopback.address, patience=self.QUICK, told=told.append) as hub:
            assert describe(hub, REPOSITORY).commit == COMMIT
        assert [each.message.partition(";")[0] for each in told] == [
            "the connection ended early"
        ] * 2

    def test_is_given_up_after_its_last_attempt(self, loopback: Loopback) -> None:
        loopback.offer(CONTENT)
        loopback.api_faults.extend([answers(503)] * 9)
        with (
            Hub(loopback.address, patience=self.QUICK) as hub,
            pytest.raises(HubBusy, match="503"),
        ):
            describe(hub, REPOSITORY)
        assert len(loopback.api_faults) == 6

    def test_whose_answer_is_final_is_asked_once(self, loopback: Loopback) -> None:
        loopback.offer(CONTENT)
        loopback.api_faults.extend([answers(404)] * 2)
        with Hub(loopback.address, patience=self.QUICK) as hub, pytest.raises(NotOnHub):
            describe(hub, REPOSITORY)
        assert len(loopback.api_faults) == 1

    def test_leaves_out_sizes_once_the_hub_stays_busy(self, loopback: Loopback) -> None:
        loopback.offer(CONTENT)
        loopback.repositories |= {f"someone/m{number}": {} for number in range(3)}
        loopback.api_faults.extend([listed, listed, *[answers(503)] * 9])
        with Hub(loopback.address, patience=self.QUICK) as hub:
            found = search(hub, "someone", 10)
        assert [form.size_bytes for model in found for form in model.forms] == [None] * 4
        assert len(loopback.api_faults) == 6


def listed(_request: Answering) -> bool:
    """As if nothing were."""
    return False


class TestOffline:
    def test_is_said_before_anything_is_tried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE"):
            remote_module.from_environment()

    def test_a_hub_that_is_not_there_has_a_name(self, store: HubCache, loopback: Loopback) -> None:
        file = loopback.offer(CONTENT)
        loopback.close()
        with Hub(loopback.address) as hub, pytest.raises(HubUnreachable, match="does not answer"):
            list(pull(hub, [file], store, QUICK))

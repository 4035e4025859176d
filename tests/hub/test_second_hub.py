"""Other software: a hub and ranges written by others, and the library whose cache we share."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from loopback import COMMIT, PATH, REPOSITORY, Loopback, git_hash
from olah_hub import README, Folder, Mirror, Olah
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response
from werkzeug.utils import send_file

from ondevice.domain.download import Downloaded, DownloadNotice
from ondevice.domain.model import FileSpec
from ondevice.errors import NotOnHub
from ondevice.hub import listing, local
from ondevice.hub.cache import HubCache
from ondevice.hub.pull import pull
from ondevice.hub.remote import Hub

CONTENT = random.Random(6).randbytes(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Others:
    """Servers that others wrote, one behind the other."""

    folder: Folder
    mirror: Mirror


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Others]:
    place = tmp_path_factory.mktemp("olah")
    folder = Folder(place / "folder", REPOSITORY, PATH, CONTENT)
    mirror = Mirror(place / "mirror", folder)
    yield Others(folder, mirror)
    mirror.close()
    folder.close()


@pytest.fixture(params=["folder", "mirror"])
def other(request: pytest.FixtureRequest, others: Others, monkeypatch: pytest.MonkeyPatch) -> Olah:
    """Each of them."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    found: Olah = getattr(others, request.param)
    return found


class TestAHubWrittenByOthers:
    """The whole protocol is theirs, as is what lies behind it; see olah_hub for its limits."""

    def test_gives_a_whole_file(self, other: Olah, others: Others, cache: Path) -> None:
        with Hub(other.address) as hub:
            file = hub.look_up(REPOSITORY, PATH, "main")
            *_, last = pull(hub, [file], HubCache(cache))
        known = (others.folder.commit, len(CONTENT), DIGEST)
        assert (file.commit, file.size_bytes, file.content_hash) == known
        assert isinstance(last, Downloaded)
        assert last.path.read_bytes() == CONTENT

    def test_gives_the_rest_of_one_or_all_of_it(
        self, other: Olah, others: Others, cache: Path
    ) -> None:
        store = HubCache(cache)
        with Hub(other.address) as hub:
            file = hub.look_up(REPOSITORY, PATH, others.folder.commit)
            store.make_folders(file)
            store.part(file).write_bytes(CONTENT[:1_000_000])
            *_, last = pull(hub, [file], store)
        assert isinstance(last, Downloaded)
        assert last.path.read_bytes() == CONTENT
        knows_ranges = other is others.mirror
        assert last.fetched_bytes == (2_000_000 if knows_ranges else 3_000_000)

    def test_names_a_small_file_as_git_does(self, other: Olah, cache: Path) -> None:
        with Hub(other.address) as hub:
            file = hub.look_up(REPOSITORY, "README.md", "main")
            *_, last = pull(hub, [file], HubCache(cache))
        assert (file.size_bytes, file.content_hash) == (len(README), git_hash(README))
        assert isinstance(last, Downloaded)
        assert last.path.read_bytes() == README

    def test_says_what_a_revision_has_and_its_licence(
        self, others: Others, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with Hub(others.folder.address) as hub:
            found = listing.describe(hub, REPOSITORY, others.folder.commit)
        assert (found.commit, found.licence) == (others.folder.commit, "mit")
        assert [(form.path, form.quantization) for form in found.forms] == [(PATH, "Q4_0")]

    @pytest.mark.parametrize("path", ["other.gguf", "deep/other.gguf"])
    def test_without_the_file_says_so(self, other: Olah, path: str) -> None:
        with Hub(other.address) as hub, pytest.raises(NotOnHub):
            hub.look_up(REPOSITORY, path, "main")


@pytest.fixture
def werkzeug_hub(httpserver: HTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Range, If-Range and ETag as Werkzeug reads the standards; what a hub adds to them is ours."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    content = tmp_path / "content"
    content.write_bytes(CONTENT)

    def answer(request: Request) -> Response:
        found = send_file(content, request.environ, etag=DIGEST, conditional=True)
        found.headers["X-Repo-Commit"] = COMMIT
        return found

    for revision in ("main", COMMIT):
        httpserver.expect_request(f"/{REPOSITORY}/resolve/{revision}/{PATH}").respond_with_handler(
            answer
        )
    return httpserver.url_for("")


class TestRangesAsTheStandardsHaveThem:
    def test_give_a_whole_file(self, werkzeug_hub: str, cache: Path) -> None:
        with Hub(werkzeug_hub) as hub:
            file = hub.look_up(REPOSITORY, PATH, "main")
            *_, last = pull(hub, [file], HubCache(cache))
        assert (file.commit, file.size_bytes, file.content_hash) == (COMMIT, len(CONTENT), DIGEST)
        assert isinstance(last, Downloaded)
        assert last.path.read_bytes() == CONTENT

    def test_give_the_rest_of_one(
        self, werkzeug_hub: str, httpserver: HTTPServer, cache: Path
    ) -> None:
        store = HubCache(cache)
        with Hub(werkzeug_hub) as hub:
            file = hub.look_up(REPOSITORY, PATH, COMMIT)
            store.make_folders(file)
            store.part(file).write_bytes(CONTENT[:1_000_000])
            *events, last = pull(hub, [file], store)
        assert isinstance(last, Downloaded)
        assert last.path.read_bytes() == CONTENT
        assert last.fetched_bytes == 2_000_000
        assert "resumed" in [each.code for each in events if isinstance(each, DownloadNotice)]
        request, response = httpserver.log[-1]
        assert request.headers["Range"] == "bytes=1000000-"
        assert (response.status_code, response.content_length) == (206, 2_000_000)


class TestTheSharedCache:
    def test_has_our_file_for_the_library_without_a_warning(
        self, loopback: Loopback, cache: Path
    ) -> None:
        from huggingface_hub import scan_cache_dir, try_to_load_from_cache

        file = loopback.offer(CONTENT)
        with Hub(loopback.address) as hub:
            *_, last = pull(hub, [file], HubCache(cache))
        assert isinstance(last, Downloaded)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            scanned = scan_cache_dir(cache)
            found = try_to_load_from_cache(REPOSITORY, PATH, cache_dir=cache, revision=COMMIT)
        assert scanned.warnings == []
        (repository,) = scanned.repos
        (revision,) = repository.revisions
        (seen,) = revision.files
        assert (repository.repo_id, revision.commit_hash) == (REPOSITORY, COMMIT)
        assert (seen.file_name, seen.size_on_disk) == (PATH, len(CONTENT))
        assert found == str(last.path)

    def test_has_a_file_of_the_library_for_us(self, loopback: Loopback, cache: Path) -> None:
        from huggingface_hub import hf_hub_download

        file = loopback.offer(CONTENT)
        theirs = hf_hub_download(
            REPOSITORY, PATH, cache_dir=cache, endpoint=loopback.address, token=False
        )
        before = len(loopback.requests)
        with Hub(loopback.address) as hub:
            (last,) = pull(hub, [file], HubCache(cache))
        assert last == Downloaded(Path(theirs), 0)
        assert len(loopback.requests) == before
        spec = FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH, COMMIT, len(CONTENT))
        assert local.find_file(spec) == Path(theirs)

    def test_gives_our_file_to_the_library_which_does_not_fetch_it_again(
        self, loopback: Loopback, cache: Path
    ) -> None:
        from huggingface_hub import hf_hub_download

        file = loopback.offer(CONTENT)
        with Hub(loopback.address) as hub:
            *_, last = pull(hub, [file], HubCache(cache))
        assert isinstance(last, Downloaded)
        sent = loopback.sent
        theirs = hf_hub_download(
            REPOSITORY,
            PATH,
            revision=COMMIT,
            cache_dir=cache,
            endpoint=loopback.address,
            token=False,
        )
        assert Path(theirs) == last.path
        assert loopback.sent == sent

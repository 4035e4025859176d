"""What a hub says it has becomes files to fetch, or an error with a name."""

from __future__ import annotations

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
    web_page,
    with_headers,
)
from splitting import split_gguf

from ondevice import catalog
from ondevice.domain.download import RemoteFile
from ondevice.domain.model import FileSpec
from ondevice.errors import (
    DownloadTrouble,
    HubMisbehaved,
    HubRefused,
    NotAModelFile,
    NotOnHub,
    OnDeviceError,
)
from ondevice.gguf.header import read_header, read_model
from ondevice.gguf.shapes import write_shape
from ondevice.hub import listing
from ondevice.hub.header import remote_header
from ondevice.hub.licences import terms_of
from ondevice.hub.patience import Patience
from ondevice.hub.remote import Hub

FOLDER = FileSpec("onnx", "int4", REPOSITORY, "cpu")


def files(loopback: Loopback, file: FileSpec) -> tuple[RemoteFile, ...]:
    with Hub(loopback.address, token="hf_secret", read_s=2.0) as hub:
        return listing.remote_files(hub, file)


class TestAFolder:
    def test_is_all_of_its_files_the_telling_one_last(self, loopback: Loopback) -> None:
        marker = loopback.offer_small(b"{}", "cpu/genai_config.json")
        deep = loopback.offer_small(b"[]", "cpu/more/tokens.json")
        model = loopback.offer(b"x" * 1000, "cpu/model.onnx")
        for name in ("cpu/run.py", "cpu/.gitattributes", "README.md", "cpux/model.onnx"):
            loopback.offer(b"x", name)
        assert files(loopback, FOLDER) == (model, deep, marker)
        assert len(marker.content_hash) == 40

    def test_may_be_the_whole_repository(self, loopback: Loopback) -> None:
        names = ["README.md", "genai_config.json", "model.onnx"]
        for name in names:
            loopback.offer(b"x", name)
        found = files(loopback, FileSpec("onnx", "int4", REPOSITORY, ".", COMMIT))
        assert sorted(each.path for each in found) == names

    def test_that_is_the_whole_repository_leaves_its_gguf_files_to_themselves(
        self, loopback: Loopback
    ) -> None:
        for name in ("genai_config.json", "model.onnx", "m-Q4_0.gguf", "more/m.GGUF"):
            loopback.offer(b"x" * 10, name)
        found = files(loopback, FileSpec("onnx", "int4", REPOSITORY, ".", COMMIT))
        assert sorted(each.path for each in found) == ["genai_config.json", "model.onnx"]
        with Hub(loopback.address) as hub:
            forms = listing.describe(hub, REPOSITORY).forms
        assert [(form.path, form.size_bytes) for form in forms] == [
            ("m-Q4_0.gguf", 10),
            ("more/m.GGUF", 10),
            (".", 20),
        ]

    def test_without_a_model_is_none(self, loopback: Loopback) -> None:
        loopback.offer(b"x", "cpu/README.md")
        with pytest.raises(NotOnHub, match="no ONNX model in cpu"):
            files(loopback, FOLDER)

    @pytest.mark.parametrize(
        "name",
        [
            "cpu/../../escaped.json",
            "cpu//x.json",
            "cpu/a\\b.json",
            "cpu/\x1b[31m.json",
            "cpu/c:x.md",
        ],
    )
    def test_with_a_hostile_name_is_refused(self, name: str, loopback: Loopback) -> None:
        loopback.offer(b"x", "cpu/genai_config.json")
        loopback.offer(b"x", name)
        with pytest.raises(HubMisbehaved, match="no path of a model's file"):
            files(loopback, FOLDER)

    def test_of_too_many_files_is_refused(self, loopback: Loopback) -> None:
        for number in range(1001):
            loopback.files[f"cpu/{number}.json"] = b""
        loopback.offer(b"x", "cpu/genai_config.json")
        with pytest.raises(HubMisbehaved, match="1002 files"):
            files(loopback, FOLDER)


BAD_SIBLINGS = {
    "no hash": {"rfilename": "cpu/genai_config.json", "size": 3},
    "no size": {"rfilename": "cpu/genai_config.json", "blobId": "a" * 40},
    "negative": {"rfilename": "cpu/genai_config.json", "blobId": "a" * 40, "size": -1},
    "climbing hash": {"rfilename": "cpu/genai_config.json", "blobId": "../x", "size": 1},
    "LFS hash of git": {
        "rfilename": "cpu/genai_config.json",
        "lfs": {"sha256": "../../x", "size": 1},
    },
}


@pytest.mark.parametrize("sibling", BAD_SIBLINGS.values(), ids=BAD_SIBLINGS)
def test_a_file_that_is_not_said_to_be_anything_is_refused(
    sibling: dict[str, object], loopback: Loopback
) -> None:
    loopback.repositories[REPOSITORY] = {"siblings": [sibling]}
    with pytest.raises(HubMisbehaved):
        files(loopback, FOLDER)


@pytest.mark.parametrize("sha", [None, "main", "../../x", "C" * 40, "c" * 39])
def test_a_revision_that_is_no_commit_is_refused(sha: str | None, loopback: Loopback) -> None:
    loopback.offer(b"x", "cpu/genai_config.json")
    loopback.repositories[REPOSITORY] = {"sha": sha}
    with pytest.raises(HubMisbehaved, match="is no commit"):
        files(loopback, FOLDER)


def test_the_answers_own_name_is_not_taken_for_the_repository(loopback: Loopback) -> None:
    loopback.offer(b"x", "cpu/genai_config.json")
    loopback.repositories[REPOSITORY] = {"id": "somebody/else"}
    assert files(loopback, FOLDER)[0].repository == REPOSITORY


def test_a_gated_repository_is_explained(loopback: Loopback) -> None:
    def refuse(request: Answering) -> bool:
        request.say(403, {"X-Error-Code": "GatedRepo"})
        return True

    loopback.api_faults.append(refuse)
    with pytest.raises(HubRefused, match="accepted its terms") as raised:
        files(loopback, FOLDER)
    assert f"{loopback.address}/{REPOSITORY}" in raised.value.hint


def test_the_token_goes_to_the_hub_alone(loopback: Loopback) -> None:
    def elsewhere(request: Answering) -> bool:
        request.say(302, {"Location": f"{request.hub.bytes_address}/api/models/x"})
        return True

    loopback.api_faults.append(elsewhere)
    with pytest.raises(HubMisbehaved, match="elsewhere"):
        files(loopback, FOLDER)
    ((path, token),) = loopback.tokens()
    assert path.startswith(f"/api/models/{REPOSITORY}?")
    assert token == "Bearer hf_secret"


def test_a_file_of_another_size_than_the_known_one_is_refused(loopback: Loopback) -> None:
    loopback.offer(b"x" * 5, PATH)
    with pytest.raises(HubMisbehaved, match="has 5 bytes, not 6"):
        files(loopback, FileSpec("llama.cpp", "Q4_0", REPOSITORY, PATH, size_bytes=6))


def named(*paths: str) -> list[dict[str, object]]:
    """Siblings as a search answers them."""
    return [{"rfilename": path} for path in paths]


class TestALongListing:
    def test_is_read_in_one_go(self, loopback: Loopback) -> None:
        """Work that grew with the square of its length would take hours here."""
        many = [f"deep/er/{number}.json" for number in range(19_000)]
        more = ["deep/model.onnx", "cpu/genai_config.json", "cpu/more/tokens.json"]
        parts = [f"m-0000{number}-of-00002.gguf" for number in (1, 2)]
        siblings = named(*many, *more, "cpu/model.onnx", "cpux/model.onnx", *parts)
        loopback.repositories[REPOSITORY] = {"siblings": siblings}
        with Hub(loopback.address) as hub:
            (found,) = listing.search(hub, "small", 10)
        assert [form.path for form in found.forms] == [parts[0], "cpu"]

    def test_of_folders_in_folders_is_read_as_well(self, loopback: Loopback) -> None:
        nested = ["a/" * deep + "genai_config.json" for deep in range(1, 1500)]
        siblings = named(*nested, "a/" * 1500 + "model.onnx")
        loopback.repositories[REPOSITORY] = {"siblings": siblings}
        with Hub(loopback.address) as hub:
            found = listing.describe(hub, REPOSITORY)
        assert 0 < len(found.forms) <= 1000

    def test_that_is_longer_than_any_models_is_refused_and_not_found(
        self, loopback: Loopback
    ) -> None:
        loopback.offer(b"x")
        siblings = named(PATH, *(f"{number}.json" for number in range(listing.MOST_LISTED)))
        loopback.repositories["someone/small-endless"] = {"siblings": siblings}
        with Hub(loopback.address) as hub:
            with pytest.raises(HubMisbehaved, match="20001 files"):
                listing.describe(hub, "someone/small-endless")
            found = listing.search(hub, "small", 10)
        assert [each.repository for each in found] == [REPOSITORY]


class TestASplitModel:
    def test_with_a_known_hash_is_compared(self, loopback: Loopback) -> None:
        for number in (1, 2):
            loopback.offer(b"x" * number, f"m-0000{number}-of-00002.gguf")
        file = FileSpec("llama.cpp", "Q4_0", REPOSITORY, "m-00001-of-00002.gguf", sha256="0" * 64)
        with pytest.raises(HubMisbehaved, match="not 0000"):
            files(loopback, file)

    @pytest.mark.parametrize("name", ["m-00001-of-99999.gguf", "m-00001-of-00001.gguf"])
    def test_of_no_sensible_number_of_parts_is_one_file(
        self, name: str, loopback: Loopback
    ) -> None:
        file = loopback.offer(b"x", name)
        assert files(loopback, FileSpec("llama.cpp", "Q4_0", REPOSITORY, name)) == (file,)


def test_a_small_file_is_named_as_git_names_it(loopback: Loopback) -> None:
    file = loopback.offer_small(b"a card", "README.md")
    assert files(loopback, FileSpec("onnx", "", REPOSITORY, "README.md")) == (file,)
    assert len(file.content_hash) == 40


def test_a_repository_is_described(loopback: Loopback) -> None:
    loopback.offer(b"x" * 5, PATH)
    loopback.repositories[REPOSITORY] = {
        "cardData": {"license": "other", "license_name": "odd1.0", "license_link": "LICENSE"},
        "gated": "auto",
    }
    with Hub(loopback.address) as hub:
        found = listing.describe(hub, REPOSITORY)
    assert (found.licence, found.gated, found.commit) == ("odd1.0", True, COMMIT)
    assert found.terms == f"{loopback.address}/{REPOSITORY}"
    assert [(form.path, form.quantization, form.size_bytes) for form in found.forms] == [
        (PATH, "Q4_0", 5)
    ]


LFM = "https://huggingface.co/LiquidAI/LFM2-350M/blob/main/LICENSE"


@pytest.mark.parametrize(
    ("licence", "link", "terms"),
    [
        (None, None, "https://hub/page"),
        ("lfm1.0", "https://x.org/LICENSE", LFM),
        ("apache-2.0", "https://x.org/LICENSE", None),
        ("mit", None, None),
        ("Gemma", None, "https://ai.google.dev/gemma/terms"),
        ("odd1.0", "https://x.org/LICENSE", "https://x.org/LICENSE"),
        ("odd1.0", "javascript:alert(1)", "https://hub/page"),
        ("odd1.0", "https://[", "https://hub/page"),
        ("odd1.0", "https://x.org/\x1b[31m", "https://hub/page"),
        ("mitnichten", None, "https://hub/page"),
        ("cc-by-sa-4.0", None, None),
        ("bsd-3-clause-clear", None, None),
        ("agpl-3.0-or-later", None, None),
        ("odc-by", None, None),
        ("apache-2.0-commons-clause", None, "https://hub/page"),
        ("mit-with-conditions", None, "https://hub/page"),
        ("cc-by-nd-4.0", None, "https://hub/page"),
        ("cc-by-nc-4.0", None, "https://hub/page"),
        ("llama3.1", None, "https://www.llama.com/llama3_1/license/"),
    ],
)
def test_terms_follow_from_the_licence(
    licence: str | None, link: str | None, terms: str | None
) -> None:
    assert terms_of(licence, link, "https://hub/page") == terms


@pytest.mark.parametrize(
    ("card", "terms"),
    [
        ({"license": "other", "license_name": "apache-2.0-commons-clause"}, True),
        ({"license": "other", "license_name": "mit"}, True),
        ({"license": "other", "license_name": "mit", "license_link": "https://x.org/L"}, True),
        ({"license_name": "apache-2.0"}, True),
        ({"license": "other"}, True),
        ({"license": "apache-2.0", "license_name": "whatever"}, False),
    ],
    ids=str,
)
def test_a_licence_in_its_authors_own_words_is_never_open(
    card: dict[str, str], terms: bool, loopback: Loopback
) -> None:
    loopback.offer(b"x")
    loopback.repositories[REPOSITORY] = {"tags": ["gguf"], "cardData": card}
    with Hub(loopback.address) as hub:
        found = listing.describe(hub, REPOSITORY)
    page = card.get("license_link", f"{loopback.address}/{REPOSITORY}")
    assert found.terms == (page if terms else None)


@pytest.mark.parametrize(
    ("family", "licence"), [("lfm2", "lfm1.0"), ("mamba", "falcon-mamba-7b"), ("gemma", "gemma")]
)
def test_terms_are_those_of_the_catalogue(family: str, licence: str) -> None:
    entries = [spec for spec in catalog.load().models if spec.family.startswith(family)]
    assert terms_of(licence, None, "https://hub/page") in {spec.terms for spec in entries}


@pytest.mark.parametrize(
    ("path", "quantization"),
    [
        ("m-Q4_K_M.gguf", "Q4_K_M"),
        ("m.i1-IQ3_XXS.gguf", "IQ3_XXS"),
        ("m-q8_0.gguf", "Q8_0"),
        ("Q5_K_S/m-UD-Q4_K_XL.gguf", "Q4_K_XL"),
        ("m-bf16.gguf", "BF16"),
        ("plain.gguf", ""),
        ("m-q4.gguf", "Q4"),
    ],
)
def test_the_quantization_is_read_off_the_name(
    path: str, quantization: str, loopback: Loopback
) -> None:
    loopback.offer(b"x", path)
    with Hub(loopback.address) as hub:
        (form,) = listing.describe(hub, REPOSITORY).forms
    assert form.quantization == quantization


def test_the_header_of_a_file_elsewhere_is_read_and_not_much_more(
    loopback: Loopback, starter_path: Path
) -> None:
    file = loopback.offer(starter_path.read_bytes())
    with Hub(loopback.address) as hub:
        assert remote_header(hub, file) == read_header(starter_path)
    asked = [headers["Range"] for _, path, headers in loopback.requests if "/bytes/" in path]
    assert asked == [f"bytes=0-{(32 << 20) - 1}"]
    assert loopback.sent <= 32 << 20


def test_the_header_of_a_split_model_elsewhere_has_the_tensors_of_all_its_parts(
    loopback: Loopback, tmp_path: Path
) -> None:
    write_shape("tiny-llama", "Q4_0", tmp_path / "whole.gguf")
    parts = split_gguf(tmp_path / "whole.gguf", tmp_path, count=3)
    offered = [loopback.offer(part.read_bytes(), part.name) for part in parts]
    with Hub(loopback.address) as hub:
        found = remote_header(hub, *offered)
    assert found == read_model(parts)
    assert found.tensors == read_header(tmp_path / "whole.gguf").tensors


BEGINNINGS: dict[str, tuple[Fault, type[OnDeviceError]]] = {
    "packed": (with_headers(Content_Encoding="gzip"), HubMisbehaved),
    "a web page": (web_page, HubMisbehaved),
    "gated": (answers(403), HubRefused),
    "cut": (cut_after(1000), DownloadTrouble),
    "another content": (lambda request: bool(request.send(b"x" * 98_362_432)), NotAModelFile),
}


@pytest.mark.parametrize(("fault", "error"), BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_beginning_that_is_none_has_a_name(
    fault: Fault, error: type[OnDeviceError], loopback: Loopback, starter_path: Path
) -> None:
    file = loopback.offer(starter_path.read_bytes())
    loopback.faults.extend([fault] * 2)
    patience = Patience(attempts=2, backoff_s=0.0)
    with Hub(loopback.address, patience=patience) as hub, pytest.raises(error):
        remote_header(hub, file)

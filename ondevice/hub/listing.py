"""What a hub has: the files that make up a form of a model, and repositories by a text.

HfApi of huggingface_hub answers the same questions, but its client follows redirects with packed
answers read whole into memory and without a time limit; so the requests are `remote.Hub`'s.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from itertools import islice
from typing import Any, TypeVar

import msgspec

from ondevice.domain.download import HubForm, HubModel, RemoteFile
from ondevice.domain.model import EngineName, FileSpec
from ondevice.domain.text import clean_line
from ondevice.errors import DownloadTrouble, HubMisbehaved, NotOnHub
from ondevice.hub import names
from ondevice.hub.licences import terms_of
from ondevice.hub.patience import PASSING
from ondevice.hub.remote import Hub

_NO_MODEL = ("mmproj", "imatrix")
"""GGUF files that go with a model and are none."""
MOST_LISTED = 20_000
"""Files of a repository that is looked at; those with models have hundreds at most."""

_T = TypeVar("_T")


class _Lfs(msgspec.Struct):
    sha256: str
    size: int


class _Sibling(msgspec.Struct):
    rfilename: str
    size: int | None = None
    blob_id: str | None = msgspec.field(name="blobId", default=None)
    lfs: _Lfs | None = None


class _Card(msgspec.Struct):
    # Authors write what they like here, so the types are looked at later.
    license: Any = None
    license_name: Any = None
    license_link: Any = None


class _Repository(msgspec.Struct):
    id: str
    sha: str | None = None
    gated: bool | str = False
    downloads: int | None = None
    modified: str | None = msgspec.field(name="lastModified", default=None)
    tags: list[str] = []
    siblings: list[_Sibling] = []
    card: _Card | None = msgspec.field(name="cardData", default=None)


def remote_files(hub: Hub, file: FileSpec) -> tuple[RemoteFile, ...]:
    """The files that `file` consists of: one, all parts of a split GGUF, or an ONNX folder's.

    A pinned file is known beforehand; the hub is asked about others. Raises DownloadTrouble:
    NotOnHub where a part is missing, HubMisbehaved for another file than the one that is known.
    """
    if file.engine == "onnx" and not names.is_usable(file.path):
        return _folder(_ask(hub, file.repository, file.revision), file)
    if parts := names.parts(file.path):
        return _parts(_ask(hub, file.repository, file.revision), file, parts)
    if known := known_files(file):
        return known
    found = hub.look_up(file.repository, file.path, file.revision or "main")
    _check_known(file, found)
    return (found,)


def known_files(file: FileSpec) -> tuple[RemoteFile, ...]:
    """The same for a pinned file, which no hub need be asked about; none for others."""
    if names.parts(file.path) or file.size_bytes is None or not (file.revision and file.sha256):
        return ()
    pinned = (file.revision, file.size_bytes, file.sha256)
    return (RemoteFile(file.repository, file.path, *pinned),)


def describe(hub: Hub, repository: str, revision: str | None = None) -> HubModel:
    """A repository with its usable forms. Raises DownloadTrouble."""
    return _model(_ask(hub, repository, revision), hub.endpoint)


def search(hub: Hub, text: str, limit: int) -> list[HubModel]:
    """Repositories that `text` finds and that have usable files, the most fetched first.

    The hub lists names without sizes, so each repository is asked for once more.
    """
    found: dict[str, _Repository] = {}
    for kind in ("gguf", "onnx"):
        query = {"search": text, "filter": kind, "sort": "downloads", "direction": "-1"}
        answer = hub.ask("models", **query, limit=str(limit), full="true")
        for listed in _decoded(answer, list[_Repository]):
            if len(listed.siblings) > MOST_LISTED or names.split(listed.id) != (listed.id, ""):
                continue
            if any(_form_paths(listed.siblings)):
                found[listed.id] = listed
    best = sorted(found.values(), key=lambda each: -(each.downloads or 0))[:limit]
    return list(_with_sizes(hub, best))


def _with_sizes(hub: Hub, listed: list[_Repository]) -> Iterator[HubModel]:
    """One that may not be looked at comes without sizes, and all after a hub that stays busy."""
    answers = True
    for each in listed:
        found = each
        if answers:
            try:
                found = _ask(hub, each.id, None)
            except PASSING:
                answers = False
            except DownloadTrouble:
                pass
        yield _model(found, hub.endpoint)


def _ask(hub: Hub, repository: str, revision: str | None) -> _Repository:
    path = f"models/{names.repository(repository)}"
    if revision is not None:
        path += f"/revision/{names.commit(revision)}"
    found = _decoded(hub.ask(path, blobs="true"), _Repository)
    names.commit(found.sha or "")
    if len(found.siblings) > MOST_LISTED:
        raise HubMisbehaved(
            f"{repository} has {len(found.siblings)} files",
            hint=f"Repositories of at most {MOST_LISTED} files are looked at.",
        )
    found.id = repository  # not what the answer says: names of the cache come from what was asked
    return found


def _decoded(answer: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = clean_line(str(error), 120)
        raise HubMisbehaved(f"the hub's answer is not what it should be: {reason}") from error


def _folder(found: _Repository, file: FileSpec) -> tuple[RemoteFile, ...]:
    """Every file below the folder that a model may consist of; the marker last: it says "whole"."""
    below = "" if file.path == "." else f"{file.path}/"
    chosen = [
        each
        for each in found.siblings
        if each.rfilename.startswith(below)
        and each.rfilename.lower().endswith(names.FOLDER_SUFFIXES)
    ]
    if not any(each.rfilename == f"{below}{names.MARKER}" for each in chosen):
        raise NotOnHub(
            f"{file.repository} has no ONNX model in {file.path}",
            hint=f"A folder is one when it holds {names.MARKER}.",
        )
    if len(chosen) > names.MOST_FILES:
        raise HubMisbehaved(f"{file.repository} has {len(chosen)} files in {file.path}")
    chosen.sort(key=lambda each: (each.rfilename == f"{below}{names.MARKER}", each.rfilename))
    return tuple(_remote(found, each) for each in chosen)


def _parts(found: _Repository, file: FileSpec, parts: tuple[str, ...]) -> tuple[RemoteFile, ...]:
    have = {each.rfilename: each for each in found.siblings}
    for number, name in enumerate(parts, start=1):
        if name not in have:
            raise NotOnHub(
                f"{file.repository} lacks part {number} of {len(parts)}: {name}",
                hint="Without all its parts the model does not run; look for another upload.",
            )
    remote = tuple(_remote(found, have[name]) for name in parts)
    _check_known(file, remote[parts.index(file.path)])
    return remote


def _check_known(file: FileSpec, found: RemoteFile) -> None:
    hint = "It is another file than the one that was checked; nothing was fetched."
    if file.sha256 not in (None, found.content_hash):
        has = f"the hash {found.content_hash}, not {file.sha256}"
        raise HubMisbehaved(f"the hub's {file.path} has {has}", hint)
    if not names.parts(file.path) and file.size_bytes not in (None, found.size_bytes):
        has = f"{found.size_bytes} bytes, not {file.size_bytes}"
        raise HubMisbehaved(f"the hub's {file.path} has {has}", hint)


def _remote(found: _Repository, sibling: _Sibling) -> RemoteFile:
    path, lfs = names.file_path(sibling.rfilename), sibling.lfs
    size = lfs.size if lfs else sibling.size
    digest = lfs.sha256 if lfs else sibling.blob_id
    if size is None or size < 0 or digest is None:
        raise HubMisbehaved(f"the hub does not say what {path} is")
    digest = names.content_hash(digest)
    return RemoteFile(names.repository(found.id), path, names.commit(found.sha or ""), size, digest)


def _model(found: _Repository, endpoint: str) -> HubModel:
    repository = names.repository(found.id)
    licence, link, own_words = _licence(found)
    return HubModel(
        repository=repository,
        commit=found.sha,
        licence=licence,
        terms=terms_of(licence, link, f"{endpoint}/{repository}", own_words),
        gated=bool(found.gated),
        downloads=found.downloads,
        modified=found.modified[:10] if found.modified else None,
        forms=tuple(_forms(found.siblings)),
    )


def _licence(found: _Repository) -> tuple[str | None, str | None, bool]:
    """Its name, where the repository says it is written, and whether the name is its own."""
    card = found.card or _Card()
    tagged = [tag.removeprefix("license:") for tag in found.tags if tag.startswith("license:")]
    said = card.license[0] if isinstance(card.license, list) and card.license else card.license
    name = said if isinstance(said, str) else (tagged[0] if tagged else None)
    own_words = name in ("other", None) and isinstance(card.license_name, str)
    if own_words:
        name = card.license_name
    link = card.license_link if isinstance(card.license_link, str) else None
    return (clean_line(name, 60) if name else None), link, own_words


def _forms(siblings: list[_Sibling]) -> Iterator[HubForm]:
    sizes = {each.rfilename: each.lfs.size if each.lfs else each.size for each in siblings}
    for path, members in islice(_form_paths(siblings), names.MOST_FILES):
        known = [sizes.get(name) for name in members]
        size = None if None in known else sum(each or 0 for each in known)
        gguf = path.lower().endswith(".gguf")
        engine: EngineName = "llama.cpp" if gguf else "onnx"
        yield HubForm(engine, names.quantization(path), path, size)


def _form_paths(siblings: list[_Sibling]) -> Iterator[tuple[str, list[str]]]:
    """What could be fetched, each with the files that belong to it."""
    usable = [each.rfilename for each in siblings if names.is_usable(each.rfilename)]
    for path in usable:
        lower = path.lower()
        if not lower.endswith(".gguf") or any(word in lower for word in _NO_MODEL):
            continue
        if path == names.first_part(path):
            yield path, list(names.parts(path) or (path,))
    yield from _folders(sorted(p for p in usable if p.lower().endswith(names.FOLDER_SUFFIXES)))


def _folders(usable: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Folders with a marker. `usable` is sorted, so what is in one stands together."""
    for path in usable:
        folder, _, name = path.rpartition("/")
        if name != names.MARKER:
            continue
        below = f"{folder}/" if folder else ""
        begin, end = (bisect_left(usable, below + last) for last in ("", "\x7f"))  # all are ASCII
        if end - begin > names.MOST_FILES:
            continue
        members = usable[begin:end]
        if any(each.endswith(".onnx") for each in members):
            yield folder or ".", members

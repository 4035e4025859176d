"""Which forms of models are meant and here, and which files on the disk each of them is."""

from __future__ import annotations

import os
from pathlib import Path

from ondevice.catalog import Catalog
from ondevice.domain.model import FileSpec
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble
from ondevice.hub import local, names
from ondevice.hub.by_path import no_such_file
from ondevice.hub.cache import HubCache, Pointer, Snapshots, is_real_folder
from ondevice.hub.records import Records


def belongs(file: FileSpec, path: str) -> bool:
    """Whether `path` in its repository is of the form `file`.

    An ONNX folder is all below it that a model may consist of, but no GGUF file: that is a form
    of its own.
    """
    if file.engine != "onnx" or names.is_usable(file.path):
        return path in (names.parts(file.path) or (file.path,))
    below = "" if file.path == "." else f"{file.path}/"
    of_a_folder = path.lower().endswith(names.FOLDER_SUFFIXES)
    return path.startswith(below) and of_a_folder and names.is_usable(path)


def pointers(file: FileSpec, snapshots: Snapshots) -> list[Pointer]:
    """The names that the files of `file` have, in all revisions."""
    return [each for each in snapshots.pointers if belongs(file, each.path)]


def named(
    name: str, catalog: Catalog, cache: HubCache, own: Records, of_ones_own: str
) -> list[FileSpec]:
    """The forms of the model that `name` means, whether they are here or not.

    A catalogue name; `owner/name` with what was fetched from there; `owner/name/file`. Raises
    UnknownModel, and UsageTrouble for a file that was not fetched: `of_ones_own` says what to do.
    """
    if spec := catalog.get(name):
        return list(spec.files)
    path = local.expand(name)
    on_disk = os.path.lexists(path)
    if not on_disk and (found := names.split(name)):
        repository, inside = found
        paths = [inside] if inside else fetched_from(repository, cache, own)
        listed = {file.path: file for _, file in catalog.in_repository(repository)}
        return [listed.get(each) or _unnamed(repository, each) for each in paths]
    if on_disk:
        raise _own_file(path, cache, of_ones_own)
    if local.looks_like_path(name):
        raise no_such_file(path, "Give the name of a model: ondevice list --here")
    return list(catalog.find(name).files)


def all_here(catalog: Catalog, cache: HubCache, own: Records) -> list[FileSpec]:
    """Every form that is here, wholly or in part: of the catalogue, and fetched by its name."""
    found = [file for spec in catalog.models for file in spec.files if is_here(file, cache)]
    known = {(file.repository, file.path) for file in found}
    for repository in repositories(cache):
        for path in fetched_from(repository, cache, own):
            file = _unnamed(repository, path)
            if (repository, path) not in known and is_here(file, cache):
                found.append(file)
    return found


def repositories(cache: HubCache) -> list[str]:
    """`owner/name` of all that are here; other tools also keep some that have no owner."""
    found = [each.name.removeprefix("models--").replace("--", "/") for each in cache.folders()]
    return [each for each in found if names.split(each) == (each, "")]


def is_here(file: FileSpec, cache: HubCache) -> bool:
    """Whether something has its name, in a package or in the cache."""
    if local.in_package(file) is not None:
        return True
    folder = cache.folder(file.repository)
    return is_real_folder(folder) and bool(pointers(file, cache.snapshots(folder)))


def fetched_from(repository: str, cache: HubCache, own: Records) -> list[str]:
    """What was fetched from `repository`: by us, or a GGUF file by whatever tool."""
    found = cache.snapshots(cache.folder(repository)).pointers
    ggufs = [each.path for each in found if each.path.lower().endswith(".gguf")]
    return list(dict.fromkeys([*own.fetched_from(repository), *map(names.first_part, ggufs)]))


def _unnamed(repository: str, path: str) -> FileSpec:
    """A form that is in no catalogue; its quantization is somewhere in its path."""
    gguf = path.lower().endswith(".gguf")
    return FileSpec("llama.cpp" if gguf else "onnx", "", repository, path)


def _own_file(path: Path, cache: HubCache, hint: str) -> UsageTrouble:
    label = clean_line(str(path))
    try:
        folder, _, _, *inside = path.absolute().relative_to(cache.root.absolute()).parts
    except ValueError:
        return UsageTrouble(f"{label} was not fetched by ondevice", hint)
    repository = folder.removeprefix("models--").replace("--", "/")
    name = clean_line("/".join([repository, *inside]))
    return UsageTrouble(f"{label} is a path inside the cache", hint=f"Its name is {name}.")

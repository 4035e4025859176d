"""What the models screen says of one form of a model: cells, details, questions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ondevice import units
from ondevice.acquire import PullPlan
from ondevice.domain.model import ModelFile, is_alike
from ondevice.hub import local
from ondevice.hub.records import FETCHED_AGAIN, Pin
from ondevice.tui.downloads import Download, Form
from ondevice.tui.screens.confirm import Lines
from ondevice.verdict import verdict_lines

WIDE = 100
"""From here on the table has room for families and licences."""
COLUMNS = (
    ("FAMILY", 9, WIDE),
    ("MODEL", 25, 0),
    ("PARAMS", 8, 0),
    ("QUANT", 9, 0),
    ("   SIZE", 9, 0),
    ("FITS", 8, 0),
    ("LICENCE", 22, WIDE),
    ("STATE", 0, 0),
)
"""(title, columns with the gap, the least width of a screen that shows it); 0 takes the rest."""
FITS = {"well": "well", "tight": "tight", "no": "no"}
PINS: dict[Pin, str] = {
    "pinned": "pinned by its hash",
    "pinned locally": "pinned locally by its first fetch; rm --forget-pin deletes both",
    "unpinned": "not pinned: its hash is kept when it came",
}
ORDER = ("well", "less_context", "tight", "no")


def key(plan: PullPlan) -> str:
    """Names the row."""
    return "\t".join(form(plan))


def form(plan: PullPlan) -> Form:
    """How the downloads know it."""
    return Form(plan.spec.name, plan.file.engine, plan.file.quantization, plan.file.path)


def columns(width: int) -> list[tuple[str, int]]:
    """Titles and widths for a screen of `width` columns."""
    shown = [(title, columns) for title, columns, least in COLUMNS if width >= least]
    rest = max(8, width - 3 - sum(columns for _, columns in shown))
    return [(title, columns or rest) for title, columns in shown]


def cells(plan: PullPlan, download: Download | None) -> dict[str, str]:
    """By title of the column."""
    return {
        "FAMILY": plan.spec.family,
        "MODEL": _path_end(plan.file.path) if _is_alike(plan) else plan.spec.name,
        "PARAMS": f"{units.short_count(plan.spec.parameters or None):>6}",
        "QUANT": plan.file.quantization,
        "   SIZE": f"{units.size(plan.bytes_total):>7}",
        "FITS": _fits(plan),
        "LICENCE": plan.spec.licence,
        "STATE": _state(plan, download),
    }


def matches(plan: PullPlan, words: Sequence[str]) -> bool:
    """Whether every word is somewhere in the row."""
    text = " ".join([plan.spec.name, *cells(plan, None).values()]).lower()
    return all(word in text for word in words)


def fit_order(plan: PullPlan) -> int:
    """For sorting: what runs well comes first, what is unknown last."""
    return ORDER.index(plan.verdict.kind) if plan.verdict else len(ORDER)


SORTS: dict[str, Callable[[PullPlan], Any]] = {
    "here first": lambda plan: plan.here is None,
    "name": lambda plan: plan.spec.name,
    "smallest first": lambda plan: plan.bytes_total or 1 << 62,
    "parameters": lambda plan: plan.spec.parameters,
    "fits best": fit_order,
}
"""What the rows are ordered by, in the order in which a key goes through them."""


def _is_alike(plan: PullPlan) -> bool:
    return is_alike(plan.file, plan.spec.files)


def _path_end(path: str) -> str:
    """What tells it from others, in the width of the column."""
    width = {title: width for title, width, _ in COLUMNS}["MODEL"] - 1
    return path if len(path) <= width else f"…{path[1 - width :]}"


def _title(plan: PullPlan) -> str:
    path = f" {plan.file.path}" if _is_alike(plan) else ""
    return f"{plan.spec.name} {plan.file.quantization}{path}"


def _fits(plan: PullPlan) -> str:
    verdict = plan.verdict
    if verdict is None:
        return "-"
    if verdict.kind == "less_context":
        return f"{units.short_count(verdict.n_ctx_that_fits)} ctx"
    return FITS[verdict.kind]


def _state(plan: PullPlan, download: Download | None) -> str:
    if plan.here is not None:
        return "here"
    if download is not None:
        return download.words
    if plan.bytes_here and plan.bytes_total:
        return f"partly here {plan.bytes_here / plan.bytes_total:.0%}"
    return "gated" if plan.gated else ""


def detail(plan: PullPlan, download: Download | None) -> Iterator[tuple[str, str]]:
    """Everything that is known, as labels and words."""
    spec, file = plan.spec, plan.file
    trained = "unbounded" if spec.context == 0 else f"{units.short_count(spec.context)} tokens"
    if not spec.parameters:  # it is in no catalogue
        trained = units.UNKNOWN
    parameters = units.short_count(spec.parameters or None)
    yield "model", f"{spec.title} · {parameters} parameters · context {trained} · {spec.use}"
    if download is not None and download.said and plan.here is None:
        yield download.state, download.said
    yield "licence", spec.licence + (f" · terms: {spec.terms}" if spec.terms else "")
    if plan.gated:
        yield "gated", "the hub wants an account that accepted the terms, and HF_TOKEN"
    yield from verdict_lines(plan.verdict, plan.problem)
    for each in spec.quality:
        how = f", {each.how}" if each.how else ""
        yield "quality", f"{each.benchmark} {each.score:g} (by {each.measured_by}{how})"
    if spec.note:
        yield "note", spec.note
    yield "from", f"{file.repository} {file.path} · {PINS[plan.pin]}"
    if plan.here is not None:
        yield "file", str(plan.here)


def question(plan: PullPlan) -> tuple[str, Lines, str]:
    """Asked before a download: title, what it takes, what Y does."""
    have = f" · {units.size(plan.bytes_here)} are here" if plan.bytes_here else ""
    free = units.size(plan.free_disk_bytes)
    lines = [
        ("fetch", f"{units.size(plan.bytes_to_fetch)}{have} · the disk has {free} free"),
        ("licence", plan.spec.licence),
    ]
    if plan.terms:
        lines.append(("terms", f"{plan.terms} — with Y you accept them"))
    if plan.gated:
        lines.append(("gated", "the hub wants an account that accepted the terms, and HF_TOKEN"))
    lines += verdict_lines(plan.verdict, plan.problem)
    yes = "accepts and downloads" if plan.terms else "downloads"
    return f"Get {_title(plan)}?", lines, yes


def farewell(plan: PullPlan, download: Download | None) -> tuple[str, Lines, str]:
    """Asked before its files are deleted, or what has come of them."""
    progress = download.progress if download else None
    came = progress.total_bytes - progress.left_bytes if progress else 0
    what = "" if plan.here else "what an unfinished download left: "
    lines = [
        ("deletes", f"{what}{units.size(max(plan.bytes_here, came))} of {plan.file.path}"),
        ("again", FETCHED_AGAIN[plan.pin]),
        ("", "Conversations stay."),
    ]
    return f"Delete {_title(plan)}?", lines, "deletes"


def can_be_judged(plan: PullPlan) -> bool:
    """Whether the header of its file would say what the catalogue does not."""
    return plan.verdict is None and plan.here is None and plan.file.engine == "llama.cpp"


def can_chat(plan: PullPlan) -> bool:
    """Whether an engine opens it, and it writes text."""
    return plan.spec.use != "embed" and local.is_opened(plan.file)


def why_no_chat(plan: PullPlan) -> str:
    if plan.spec.use == "embed":
        return "It turns text into vectors and does not chat."
    return "Of ONNX models only whole folders are opened."


def usable(plan: PullPlan) -> ModelFile:
    """What an engine opens."""
    assert plan.here is not None
    file = plan.file
    return ModelFile(plan.here, file.engine, plan.spec.name, file.quantization, plan.spec.use)


def why_not_removable(plan: PullPlan, download: Download | None) -> str:
    """Empty where it can be deleted."""
    if plan.file.package and plan.here is not None and local.hub_cache() not in plan.here.parents:
        return f"It is part of a Python package: pip uninstall {plan.file.package}"
    if plan.here is None and not plan.bytes_here and download is None:
        return "Nothing of it is here."
    return ""

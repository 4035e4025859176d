"""What the models screen says of one form of a model: cells, details, questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ondevice import units
from ondevice.acquire import PullPlan
from ondevice.domain.model import ModelFile
from ondevice.hub import local
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
ORDER = ("well", "less_context", "tight", "no")


def key(plan: PullPlan) -> str:
    """Names the row."""
    return "\t".join(form(plan))


def form(plan: PullPlan) -> Form:
    """How the downloads know it."""
    return Form(plan.spec.name, plan.file.engine, plan.file.quantization)


def columns(width: int) -> list[tuple[str, int]]:
    """Titles and widths for a screen of `width` columns."""
    shown = [(title, columns) for title, columns, least in COLUMNS if width >= least]
    rest = max(8, width - 3 - sum(columns for _, columns in shown))
    return [(title, columns or rest) for title, columns in shown]


def cells(plan: PullPlan, download: Download | None) -> dict[str, str]:
    """By title of the column."""
    return {
        "FAMILY": plan.spec.family,
        "MODEL": plan.spec.name,
        "PARAMS": f"{units.short_count(plan.spec.parameters or None):>6}",
        "QUANT": plan.file.quantization,
        "   SIZE": f"{units.size(plan.bytes_total):>7}",
        "FITS": _fits(plan),
        "LICENCE": plan.spec.licence,
        "STATE": _state(plan, download),
    }


def matches(plan: PullPlan, words: Sequence[str]) -> bool:
    """Whether every word is somewhere in the row."""
    text = " ".join(cells(plan, None).values()).lower()
    return all(word in text for word in words)


def fit_order(plan: PullPlan) -> int:
    """For sorting: what runs well comes first, what is unknown last."""
    return ORDER.index(plan.verdict.kind) if plan.verdict else len(ORDER)


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
    if plan.file.engine not in local.RUNNABLE:
        yield "engine", why_no_chat(plan)
    yield "licence", spec.licence + (f" · terms: {spec.terms}" if spec.terms else "")
    if plan.gated:
        yield "gated", "the hub wants an account that accepted the terms, and HF_TOKEN"
    yield from verdict_lines(plan.verdict)
    for each in spec.quality:
        how = f", {each.how}" if each.how else ""
        yield "quality", f"{each.benchmark} {each.score:g} (by {each.measured_by}{how})"
    if spec.note:
        yield "note", spec.note
    known = "pinned by its hash" if file.pinned else "not pinned: its hash is kept when it came"
    yield "from", f"{file.repository} {file.path} · {known}"
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
    if plan.file.engine not in local.RUNNABLE:
        lines.append(("engine", why_no_chat(plan)))
    if plan.terms:
        lines.append(("terms", f"{plan.terms} — with Y you accept them"))
    if plan.gated:
        lines.append(("gated", "the hub wants an account that accepted the terms, and HF_TOKEN"))
    lines += verdict_lines(plan.verdict)
    yes = "accepts and downloads" if plan.terms else "downloads"
    return f"Get {plan.spec.name} {plan.file.quantization}?", lines, yes


def farewell(plan: PullPlan) -> tuple[str, Lines, str]:
    """Asked before its files are deleted."""
    lines = [
        ("deletes", f"{units.size(plan.bytes_here)} of {plan.file.path}"),
        ("", "Conversations stay. It can be downloaded again."),
    ]
    return f"Delete {plan.spec.name} {plan.file.quantization}?", lines, "deletes"


def can_chat(plan: PullPlan) -> bool:
    """Whether an engine here runs it, and it writes text."""
    return plan.spec.use != "embed" and plan.file.engine in local.RUNNABLE


def why_no_chat(plan: PullPlan) -> str:
    if plan.spec.use == "embed":
        return "It turns text into vectors and does not chat."
    return f"No engine here runs files of {plan.file.engine} yet."


def usable(plan: PullPlan) -> ModelFile:
    """What an engine opens."""
    assert plan.here is not None
    file = plan.file
    return ModelFile(plan.here, file.engine, plan.spec.name, file.quantization, plan.spec.use)


def why_not_removable(plan: PullPlan) -> str:
    """Empty where it can be deleted."""
    if plan.file.package and plan.here is not None and local.hub_cache() not in plan.here.parents:
        return f"It is part of a Python package: pip uninstall {plan.file.package}"
    if plan.here is None and not plan.bytes_here:
        return "Nothing of it is here."
    return ""

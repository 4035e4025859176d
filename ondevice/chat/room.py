"""Making room in a context: what can be done, how much each way frees, and doing it.

drop        leave the oldest turns out of what the model is shown
summarise   the same, with a summary by the model in their place, which a person reads first
raise       load the model again with a larger context, where memory allows

The question that had no room is not in the conversation; it is offered for, and asked again then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ondevice import fit, units
from ondevice.chat import cutting
from ondevice.chat.cutting import SUMMARY_TOKENS, Cut
from ondevice.domain.context import ContextParts
from ondevice.domain.generation import EngineInfo, Sampling
from ondevice.domain.layout import CELLS_TOGETHER
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.session import StoredMessage
from ondevice.domain.thinking import USUAL, split
from ondevice.engines.base import LoadProgress, no_progress
from ondevice.errors import EngineClosed, EngineTrouble, OnDeviceError, UsageTrouble
from ondevice.gguf.header import read_model
from ondevice.hardware.probe import machine_memory
from ondevice.hardware.sampler import memory_without
from ondevice.measure import measure
from ondevice.onnx.folder import read_folder

if TYPE_CHECKING:  # it is handed in
    from ondevice.chat.answer import TurnOptions
    from ondevice.chat.chat import Chat
    from ondevice.chat.conversation import ChatEvent

LEAST_RAISE = 256
"""Fewer tokens more are not worth reading all again."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One way to make room."""

    kind: Literal["drop", "summarise", "raise"]
    frees_tokens: int
    """What will be free more than now; of a summary, if it has its full length."""
    said: str
    """What would happen, in one line."""
    fits: bool
    """Whether the question has room then."""
    turns: int = 0
    """So many of the oldest that are shown now."""
    kept_from: int = 0
    """The first message that the model is still shown."""
    n_ctx: int = 0


def offers(chat: Chat, text: str = "") -> list[Offer]:
    """What can be done for the conversation that is shown and the question `text`, the cheapest
    first; only what frees something.

    Blocks; raises NotAttached, and EngineTrouble, also while an answer is made.
    """
    info, file = chat.info, chat.file
    if info is None or file is None or info.unbounded:
        return []
    path, draft = chat.conversation.messages, chat.draft(text)

    def count(path: Sequence[StoredMessage]) -> ContextParts:
        return chat.parts_of([*path, *draft])

    now = count(path)
    cut = cutting.best_cut(path, count, info.n_ctx)
    found = _cuts(now, cut) if cut is not None else []
    raised = _raised(now, info, file)
    return [*found, *([raised] if raised else [])]


def drop(chat: Chat, offer: Offer) -> StoredMessage:
    """Leave out what the offer says; returns the message that says so. Raises StorageTrouble."""
    text = cutting.left_out(chat.conversation.messages, offer.kept_from)
    return cut(chat, offer.kept_from, text, cutting.HERE)


def summarise(chat: Chat, offer: Offer) -> Iterator[ChatEvent]:
    """Have the model sum up what the offer leaves out, see `summary_of`. It changes nothing yet, is
    no message, and has no entry in the ledger.
    """

    def begin(options: TurnOptions) -> Iterator[ChatEvent]:
        shown = chat.conversation
        request = cutting.summary_request(
            shown.messages, offer.kept_from, shown.system_prompt, options.info
        )
        yield from options.prepare()
        yield from measure(options.engine, options.info, request, None)

    return chat.turn(begin, Sampling(), most_tokens(chat))


def most_tokens(chat: Chat) -> int:
    """Of what the model writes for a summary, its thinking included."""
    style = chat.info.thinking if chat.info else USUAL
    return cutting.most_tokens(chat.conversation.messages, style)


def summary_of(measured: Measured, info: EngineInfo) -> str:
    """What came of it, without what the model thought before. Raises EngineTrouble where that is
    nothing."""
    found = split(measured.text, info.thinking).answer.strip()
    if not found:
        raise EngineTrouble("no summary came of it", hint="The turns can be left out without one.")
    return found


def use_summary(chat: Chat, offer: Offer, text: str) -> StoredMessage:
    """Put a summary, as a person confirmed it, in the place of what it sums up. Raises
    StorageTrouble.
    """
    if not text.strip():
        raise UsageTrouble("the summary is empty", hint="Write one, or leave the turns out.")
    text = cutting.summed_up(chat.conversation.messages, offer.kept_from, text)
    return cut(chat, offer.kept_from, text, chat.file.name if chat.file else "model")


def cut(chat: Chat, kept_from: int, text: str, model: str) -> StoredMessage:
    """See `Conversation.cut`; it stands at the end of what is shown."""
    shown = chat.conversation
    made = shown.cut(kept_from, text, model, cutting.behind(shown.messages))
    chat.look()
    return made


def enlarge(chat: Chat, offer: Offer, progress: LoadProgress = no_progress) -> EngineInfo:
    """Load the model again with the larger context, until it is loaded otherwise; see `load`."""
    if chat.file is None:
        raise EngineClosed("no model is loaded", hint="Choose one first.")
    return chat.load(replace(chat.file), replace(chat.options, n_ctx=offer.n_ctx), progress)


def _cuts(now: ContextParts, cut: Cut) -> list[Offer]:
    dropped = now.used - cut.after.used
    kept = dropped - SUMMARY_TOKENS
    turns = _count(cut.turns)
    found = []
    if dropped > 0:
        said = f"Leave out the oldest {turns}: {units.count(dropped)} tokens. They stay stored."
        found.append(
            Offer("drop", dropped, said, cut.after.fits, turns=cut.turns, kept_from=cut.kept_from)
        )
    if kept > 0:
        said = f"Sum up the oldest {turns}: about {units.count(kept)} tokens. You read it first."
        fits = cut.after.with_answer(SUMMARY_TOKENS).fits
        found.append(Offer("summarise", kept, said, fits, turns=cut.turns, kept_from=cut.kept_from))
    return found


def _count(turns: int) -> str:
    return "1 turn" if turns == 1 else f"{units.count(turns)} turns"


def _raised(now: ContextParts, info: EngineInfo, file: ModelFile) -> Offer | None:
    """Twice the context, or what the question needs, as far as model and memory allow."""
    wanted = -(-2 * max(info.n_ctx, now.used) // CELLS_TOGETHER) * CELLS_TOGETHER
    wanted = min(wanted, info.n_ctx_train)
    if wanted < info.n_ctx + LEAST_RAISE:
        return None
    fits = _cache_that_fits if file.engine == "onnx" else _that_fits
    larger, more_bytes = fits(wanted, info, file)
    if larger < info.n_ctx + LEAST_RAISE:
        return None
    said = (
        f"Raise the context from {units.count(info.n_ctx)} to {units.count(larger)} tokens, which "
        f"takes {units.size(more_bytes)} more: the model is loaded again and reads all again."
    )
    return Offer("raise", larger - info.n_ctx, said, larger > now.used, n_ctx=larger)


def _that_fits(wanted: int, info: EngineInfo, file: ModelFile) -> tuple[int, int]:
    """The largest context up to `wanted` that memory allows, and the bytes it takes more.

    What the engine of now holds is free when it is loaded again.
    """
    try:
        size_bytes = sum(path.stat().st_size for path in file.paths)
        layout = fit.from_header(read_model(file.paths), size_bytes)
    except (OnDeviceError, OSError):
        return 0, 0
    if layout is None:
        return 0, 0
    there = memory_without(info.pid)
    kv, flash = info.kv_type or "f16", bool(info.flash_attention)
    verdict = fit.verdict(layout, there, wanted, kv_type=kv, flash_attention=flash)
    larger = verdict.n_ctx_that_fits or 0

    def private(n_ctx: int) -> int:
        needed = fit.estimate(
            layout, n_ctx, kv_type=kv, repack=bool(info.repacked), flash_attention=flash
        )
        return needed.private_bytes

    fast = info.repacked or not layout.repackable_bytes
    if verdict.kind == "no" or (verdict.kind == "tight" and fast):
        return 0, 0  # it would become slow
    return larger, private(larger) - private(info.n_ctx)


def _cache_that_fits(wanted: int, info: EngineInfo, file: ModelFile) -> tuple[int, int]:
    """The same for an ONNX folder, of which only the KV cache grows."""
    try:
        folder = read_folder(file.path)
    except OnDeviceError:
        return 0, 0
    more_bytes = folder.cache_bytes(wanted) - folder.cache_bytes(info.n_ctx)
    return (wanted, more_bytes) if more_bytes < machine_memory().available_bytes else (0, 0)

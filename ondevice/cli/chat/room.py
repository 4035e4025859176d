"""Making room in the context: what would help, and doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from ondevice.chat import room
from ondevice.cli.answering import say
from ondevice.cli.chat.desk import Desk, tell
from ondevice.cli.chat.turn import answer
from ondevice.domain.measured import Measured
from ondevice.domain.text import clean_line
from ondevice.errors import UsageTrouble

WAYS = ("drop", "summarise", "raise")
USES = "/room use takes it; /room use and another text takes that one. Until then nothing changes."
LONGEST = 4000
"""Characters of a summary as one line."""


def make_room(desk: Desk, rest: str) -> None:
    """List what would make room, or take one of the ways; then ask what had no room."""
    if desk.chat.info is None:
        raise UsageTrouble("no model is loaded", hint="/model loads it.")
    way, _, text = rest.partition(" ")
    if way == "use":
        _use(desk, text.strip())
        return
    offers: dict[str, room.Offer] = {
        offer.kind: offer for offer in room.offers(desk.chat, desk.refused)
    }
    if not way:
        _list(desk, offers)
        return
    if way not in WAYS:
        raise UsageTrouble(f"/room knows no {clean_line(way, 40)}", hint=f"One of: {_or(WAYS)}.")
    if way not in offers:
        raise UsageTrouble(f"/room {way} would free nothing now", hint="/room lists what would.")
    offer = offers[way]
    if way == "summarise":
        _summarise(desk, offer)
    elif way == "raise":
        desk.load(options=replace(desk.chat.options, n_ctx=offer.n_ctx))
        _ask_again(desk)
    else:
        tell(room.drop(desk.chat, offer).content)
        _ask_again(desk)


def _list(desk: Desk, offers: Mapping[str, room.Offer]) -> None:
    if not offers:
        say("There is nothing to leave out, and no larger context. /new begins anew.")
    for kind, offer in offers.items():
        fits = " The question has room then." if offer.fits else " Even so it has no room."
        tell(f"/room {kind}: {offer.said}{fits if desk.refused else ''}")


def _summarise(desk: Desk, offer: room.Offer) -> None:
    measured = None
    say("The model sums up ...")
    with desk.interrupts.stopping(desk.chat.cancel):
        for event in room.summarise(desk.chat, offer):
            measured = event if isinstance(event, Measured) else measured
    info = desk.chat.info
    if measured is None or info is None or measured.done.finish_reason == "cancelled":
        say("Stopped; nothing was changed.")
        return
    desk.summary = offer, clean_line(room.summary_of(measured, info), LONGEST)
    tell(f"Summary: {desk.summary[1]}", LONGEST)
    say(USES)


def _use(desk: Desk, text: str) -> None:
    if desk.summary is None:
        raise UsageTrouble("there is no summary", hint="/room summarise has one written.")
    offer, written = desk.summary
    cut = room.use_summary(desk.chat, offer, text or written)
    desk.summary = None
    tell(cut.content, LONGEST)
    _ask_again(desk)


def _ask_again(desk: Desk) -> None:
    """What had no room before."""
    if desk.refused:
        say("The question that had no room is asked again.")
        answer(desk, partial(desk.chat.send, desk.refused))


def _or(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"

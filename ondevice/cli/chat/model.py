"""Commands about the model: which one, what it is told, what it holds, what it used."""

from __future__ import annotations

from pathlib import Path

from ondevice import accounts, pricing, units
from ondevice.chat.schemas import read_schema
from ondevice.cli.answering import say
from ondevice.cli.chat.desk import Desk, tell
from ondevice.domain.ledger import Entry, total
from ondevice.errors import UsageTrouble
from ondevice.storage.ledger import Ledger


def system(desk: Desk, text: str) -> None:
    """Show what the model is told, or tell it something else from the next answer on."""
    conversation = desk.chat.conversation
    if text:
        prompt = "" if text == "none" else desk.settings.prompt_of(text)
        conversation.set_system_prompt(prompt)
        desk.chat.look()
        say("The model is told so from the next answer on." if prompt else "It is told nothing.")
        return
    tell(f"System prompt: {conversation.system_prompt or 'none'}", 2000)
    if desk.settings.presets:
        say(f"Presets: {', '.join(desk.settings.presets)}. /system none takes it away.")


def model(desk: Desk, name: str) -> None:
    """Show the model, take another one, or load it again where its engine stopped."""
    info = desk.chat.info
    if not name and info is not None:
        tell(f"Model: {f'{desk.file.name} {desk.file.quantization}'.rstrip()}{info.with_adapters}")
        if known := info.loaded_as:
            tell(f"Loaded: {known}.")
        say(f"Here: {', '.join(desk.models())}. /model and a name takes another one.", limit=1000)
        return
    desk.load(desk.resolve(name) if name else None)


def context(desk: Desk, _rest: str) -> None:
    """Tell what fills the context: the parts add up to all of it."""
    info = desk.chat.info
    if info is None:
        raise UsageTrouble("no model is loaded", hint="/model loads it.")
    parts = desk.chat.count()
    amounts = {
        "system": parts.prompt.system,
        "history": parts.prompt.history,
        "attached": parts.prompt.attached,
    }
    if parts.free is not None:
        amounts["free"] = parts.free
    named = " · ".join(f"{name} {units.count(amount)}" for name, amount in amounts.items())
    size = "without a bound" if parts.n_ctx is None else f"of {units.count(parts.n_ctx)} tokens"
    tell(f"Context {size}: {named}")


def schema(desk: Desk, name: str) -> None:
    """Have the next answers keep to a JSON schema, or no longer, or say whether they do."""
    if name:
        desk.chat.schema = None if name == "none" else read_schema(Path(name))
    kept = "keep to the schema; /schema none ends that" if desk.chat.schema else "keep to no schema"
    say(f"Answers {kept}.")


def baseline(desk: Desk, name: str) -> None:
    """Show what costs are compared with, or take another cloud model until the chat is left."""
    if name:
        desk.chat.price = desk.price(name, desk.file)
        desk.baseline = name
    price = desk.chat.price
    if price is None:
        say("Nothing is compared: what this model writes is noise.")
    else:
        tell(f"Costs are compared with {price.title}, at prices of {price.price_date}.")
    if name:
        say(f"It holds until the chat is left. To keep it: ondevice settings set baseline {name}")
        return
    for each in pricing.BASELINES:
        tell(f"{each.key}: {each.title}, {each.why}")
    say("/baseline and a name takes another one, also provider/model.")


def costs(desk: Desk, _rest: str) -> None:
    """Tell what this conversation and all of them used, as the ledger has it."""
    if desk.database is None or desk.private:
        raise UsageTrouble("nothing is counted for a private conversation", hint="See: /help")
    entries = Ledger(desk.database).entries()
    session = desk.chat.conversation.session
    own = [each for each in entries if session is not None and each.session_id == session.id]
    tell(f"This conversation: {_words(own)}")
    tell(f"All of them: {_words(entries)}")
    say("Avoided is at the prices of each answer's time. More: ondevice costs --help")


def _words(entries: list[Entry]) -> str:
    if not entries:
        return "no answer was counted yet"
    named = accounts.cells(total(entries)).items()
    return " · ".join(f"{name.lower().replace('/', 'per ')} {cell}" for name, cell in named)

"""What workers and other threads tell the screen: facts, without behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from ondevice.domain.cost import Price
from ondevice.domain.generation import EngineInfo, EngineNotice, PrefillProgress
from ondevice.domain.ledger import Entry
from ondevice.domain.measured import Measured
from ondevice.domain.model import ModelFile
from ondevice.domain.session import Found, Listed, StoredMessage
from ondevice.errors import OnDeviceError
from ondevice.settings import Settings

if TYPE_CHECKING:  # what gets models is loaded when somebody looks at them
    from ondevice.acquire import PullPlan
    from ondevice.tui.downloads import Download


@dataclass
class ModelLoading(Message):
    """A model is being loaded; `fraction` of 1 is done."""

    file: ModelFile
    fraction: float


@dataclass
class ModelReady(Message):
    """The model answers now."""

    file: ModelFile
    info: EngineInfo


@dataclass
class ModelFailed(Message):
    """The model did not load; `file` is None where there is none of that name."""

    error: OnDeviceError
    file: ModelFile | None = None


@dataclass
class MessageStored(Message):
    """A message of the conversation is as safe as it will be."""

    message: StoredMessage


@dataclass
class PromptProgressed(Message):
    """The prompt is being read."""

    progress: PrefillProgress


@dataclass
class TextArrived(Message):
    """More of the answer."""

    text: str


@dataclass
class Noticed(Message):
    """The engine or the store has something to say."""

    notice: EngineNotice


@dataclass
class TurnMeasured(Message):
    """The numbers of the answer that has ended; it is yet to be stored."""

    measured: Measured


@dataclass
class TurnFailed(Message):
    """The turn ended in an error a person can act on; what came of the answer is kept."""

    error: OnDeviceError
    engine_stopped: bool


@dataclass
class TurnOver(Message):
    """The turn has ended, however it did: the next one may begin."""


@dataclass
class DraftCounted(Message):
    """What the files that a draft names take of the context, in words."""

    text: str
    words: str


@dataclass
class PriceFound(Message):
    """Costs are compared with this price from now on."""

    price: Price
    frontier: Price


@dataclass
class PriceFailed(Message):
    """There is no such price; the one before stays."""

    error: OnDeviceError


@dataclass
class ShelfRead(Message):
    """What is known of every model; with `error` what went wrong before or meanwhile."""

    plans: list[PullPlan]
    error: OnDeviceError | None = None


@dataclass
class CopyAsked(Message):
    """One of these texts is to be copied: what was written, cleaned."""

    texts: list[str]
    what: str
    """Each of them is, such as `code block`."""


@dataclass
class MessageAsked(Message):
    """Somebody wants something done with a stored message; which, the subclass says."""

    message: StoredMessage


class EditAsked(MessageAsked):
    """This question is to be sent again, changed."""


class RegenerateAsked(MessageAsked):
    """Its question is to be answered once more."""


class BranchAsked(MessageAsked):
    """The conversation is to go on from here; what followed stays on its own path."""


class UsefulMarked(MessageAsked):
    """The answer was useful, or was marked so by mistake."""


class PathsAsked(MessageAsked):
    """Somebody wants to see all paths, to go to one of them."""


class BeforeAsked(MessageAsked):
    """What stood in the place of the message before it is to be shown."""


class AfterAsked(MessageAsked):
    """What came into the place of the message after it is to be shown."""


@dataclass
class PathChanged(Message):
    """Another path is shown, with message `at` on it; None is its end."""

    at: int | None


@dataclass
class ActFailed(Message):
    """What was asked for was not done."""

    error: OnDeviceError


@dataclass
class MessageMarked(Message):
    """The message has another mark."""

    message: StoredMessage


@dataclass
class PlanJudged(Message):
    """A hub was asked about a model before it is fetched."""

    plan: PullPlan


@dataclass
class ModelDeleted(Message):
    """The files of a model are gone."""

    plan: PullPlan
    freed_bytes: int


@dataclass
class SessionsRead(Message):
    """What is kept, and where `text` was found; None while nothing is looked for."""

    text: str
    listed: list[Listed]
    found: list[Found] | None
    set_aside: list[Path]
    """Damaged databases, which may hold parts of what is deleted."""
    error: OnDeviceError | None = None


@dataclass
class SessionsChanged(Message):
    """Something was done with what is kept, or has failed."""


@dataclass
class AccountsRead(Message):
    """What the ledger holds, and what all of it is to be priced at, if at one price."""

    entries: list[Entry]
    price: Price | None
    error: OnDeviceError | None = None


@dataclass
class DownloadEnded(Message, bubble=False):
    """A download is done, or has failed."""

    download: Download


@dataclass
class LeaveAsked(Message):
    """A signal asks the app to end, with this exit code."""

    code: int


@dataclass
class SettingsChanged(Message):
    """These hold from now on; they are in the file."""

    settings: Settings

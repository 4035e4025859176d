"""Every error a person can meet, in one tree; each says what happened and what to do.

OnDeviceError
├── UsageTrouble           the request itself cannot be done
│   ├── SettingsInvalid    a value in the settings file or environment
│   ├── NotASession        the file is no exported session
│   ├── NotAttached        a file that a question names cannot go with it
│   ├── TermsNotAccepted   the model has terms that nobody here has accepted yet
│   └── SchemaRefused      the JSON schema cannot guide an answer
├── ModelTrouble           naming, finding or reading a model
│   ├── UnknownModel       no such name in the catalogue and no such file
│   ├── ModelNotHere       known, but not on this machine
│   ├── NotAModelFile      the file is not what its name says
│   ├── UnsupportedModel   a valid file of a kind no engine here runs
│   ├── AdapterRefused     the LoRA adapter does not go with the model
│   ├── OtherVocabulary    two models whose tokens do not compare
│   └── CatalogInvalid     models.toml cannot be read at all
├── EngineTrouble          loading and running a model
│   ├── EngineMissing      the engine's library is not installed or does not load
│   ├── ModelLoadFailed    the engine refused the file
│   ├── NotLoaded          a question waited for a model that did not load
│   ├── TemplateFailed     the model's chat template did not render
│   ├── ContextOverflow    the prompt does not fit n_ctx
│   ├── EngineCrashed      the engine's process ended
│   ├── EngineTimedOut     no sign of life before the deadline
│   ├── ModelBlocked       it crashed too often in a short time
│   ├── EngineClosed       used after close
│   ├── StateRefused       the saved state is not of this engine, model and settings
│   └── StateNotSaved      the state could not be written
├── DownloadTrouble        getting a model from a hub
│   ├── HubUnreachable     no connection, or none is allowed
│   │   ├── NoNetwork      its name, or the way to it, is not to be found from here
│   │   └── EnvironmentUnusable  a hub, proxy or certificates that variables name are none
│   ├── HubBusy            it asks to come back later
│   ├── HubRefused         it wants an account, a token, or terms accepted
│   ├── NotOnHub           it has no such file
│   ├── HubMisbehaved      what it sends cannot be the file
│   ├── DownloadStalled    hardly a byte for too long
│   ├── CorruptDownload    the bytes are not those that were promised
│   ├── DiskTooSmall       there is no room for the file
│   ├── BeingFetched       another process fetches it right now
│   └── NotChanged         the system does not let us delete or rename it
└── StorageTrouble         the database of sessions
    ├── DatabaseBusy       another process holds it
    ├── UnknownSession     no session or message has that number
    ├── DatabaseUnusable   unreadable, read-only or out of space
    └── DatabaseTooNew     written by a later version
"""

from __future__ import annotations

LAST_LINES = 6
"""Of what a process wrote before it ended; more says no more."""


class OnDeviceError(Exception):
    """An error a person can act on. `message` is one line, `hint` says what to do next."""

    question = ""
    """Text of a question that was not taken, to be given back to whoever wrote it."""
    log_tail = ""
    """The last words of a process that ended, as they were: clean them before they are shown."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    @property
    def last_lines(self) -> list[str]:
        """The end of `log_tail`, where that is more than the one line the message has of it."""
        lines = [line for line in self.log_tail.splitlines() if line.strip()]
        return lines[-LAST_LINES:] if len(lines) > 1 else []


class UsageTrouble(OnDeviceError):
    """The request itself cannot be done."""


class SettingsInvalid(UsageTrouble):
    """A value in the settings file or the environment is not usable."""


class NotASession(UsageTrouble):
    """The file is no exported session, or a damaged one; nothing of it was taken."""


class NotAttached(UsageTrouble):
    """A file that a question names cannot go with it; the question was not taken."""


class TermsNotAccepted(UsageTrouble):
    """The model is given under terms that were not accepted on this machine yet."""


class SchemaRefused(UsageTrouble):
    """The JSON schema cannot guide an answer."""


class ModelTrouble(OnDeviceError):
    """Naming, finding or reading a model went wrong."""


class UnknownModel(ModelTrouble):
    """The name is in no catalogue and is no file."""


class ModelNotHere(ModelTrouble):
    """The catalogue knows the model, but its file is not on this machine."""


class NotAModelFile(ModelTrouble):
    """The file's content is not what its name says."""


class UnsupportedModel(ModelTrouble):
    """A well-formed file of a kind that no engine here runs."""


class AdapterRefused(ModelTrouble):
    """The LoRA adapter cannot be used, or not with this model."""


class OtherVocabulary(ModelTrouble):
    """Two models have different vocabularies, so that probabilities of tokens do not compare."""


class CatalogInvalid(ModelTrouble):
    """A models.toml cannot be read at all; single bad entries are only skipped."""


class EngineTrouble(OnDeviceError):
    """Loading or running a model went wrong."""


class EngineMissing(EngineTrouble):
    """The engine's library is not installed, or does not load."""


class ModelLoadFailed(EngineTrouble):
    """The engine refused the file."""


class NotLoaded(EngineTrouble):
    """A question waited for a model that did not load; it was not taken."""


class TemplateFailed(EngineTrouble):
    """The chat template inside the model file did not render."""


class ContextOverflow(EngineTrouble):
    """The prompt does not fit the context; nothing was cut."""


class EngineCrashed(EngineTrouble):
    """The engine's process ended. `log_tail` holds its last words."""

    def __init__(self, message: str, hint: str = "", log_tail: str = "") -> None:
        super().__init__(message, hint)
        self.log_tail = log_tail


class EngineTimedOut(EngineTrouble):
    """The engine gave no sign of life before its deadline and was stopped."""


class ModelBlocked(EngineTrouble):
    """The model's engine crashed too often in a short time."""


class EngineClosed(EngineTrouble):
    """The engine was used before load or after close."""


class StateRefused(EngineTrouble):
    """A saved state was not written by this engine for this model and these settings."""


class StateNotSaved(EngineTrouble):
    """The state of the kept prefix could not be written; nothing is left of the attempt."""


class DownloadTrouble(OnDeviceError):
    """A model could not be fetched; what was fetched of it is kept."""


class HubUnreachable(DownloadTrouble):
    """No connection to the hub, or none is allowed."""


class NoNetwork(HubUnreachable):
    """The name of the hub's host, or the way to it, is not to be found from here."""


class EnvironmentUnusable(HubUnreachable):
    """What the environment names as hub, proxy or certificates cannot be used."""


class HubBusy(DownloadTrouble):
    """The hub asks to come back later, in `retry_after_s` seconds where it says so."""

    def __init__(self, message: str, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint)
        self.retry_after_s = retry_after_s


class HubRefused(DownloadTrouble):
    """The hub gives the file only to an account, or to one that accepted its terms."""


class NotOnHub(DownloadTrouble):
    """The hub has no such repository, revision or file."""


class HubMisbehaved(DownloadTrouble):
    """What the hub sends cannot be the file that was asked for."""


class DownloadStalled(DownloadTrouble):
    """Hardly a byte came for too long."""


class CorruptDownload(DownloadTrouble):
    """The bytes have another hash than the one that was promised; they were thrown away."""


class DiskTooSmall(DownloadTrouble):
    """The file does not fit on the disk."""


class BeingFetched(DownloadTrouble):
    """Another process fetches the file right now."""


class NotChanged(DownloadTrouble):
    """The system does not let us delete or rename something in the cache."""


class StorageTrouble(OnDeviceError):
    """The database of sessions cannot do what was asked."""


class DatabaseBusy(StorageTrouble):
    """Another process holds the database."""


class UnknownSession(StorageTrouble):
    """No session has that number, or none has that message; it may have been deleted."""


class DatabaseUnusable(StorageTrouble):
    """The database is unreadable, read-only or out of space."""


class DatabaseTooNew(StorageTrouble):
    """The database was written by a later version of ondevice."""


def by_name(name: str) -> type[OnDeviceError]:
    """The class of this tree called `name`; OnDeviceError when there is none.

    An error crosses from the engine's process as its name, message and hint.
    """
    found = globals().get(name)
    if isinstance(found, type) and issubclass(found, OnDeviceError):
        return found
    return OnDeviceError

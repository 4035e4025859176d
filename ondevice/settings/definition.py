"""Every setting, defined once: the file's comments, the screen, the command and the docs say this.

An empty value (0, "" or nothing) has a meaning of its own, which `empty` names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, NamedTuple

from ondevice.domain.device import GpuLayers
from ondevice.domain.electricity import Power
from ondevice.domain.generation import SAMPLING_BOUNDS, LoadOptions, Sampling
from ondevice.domain.memory import KvType
from ondevice.domain.text import clean_line
from ondevice.errors import SettingsInvalid
from ondevice.settings.kinds import (
    Amount,
    Choice,
    Entries,
    Flag,
    Kind,
    Layers,
    Number,
    Size,
    Text,
    Whole,
)

AT_ONCE, NEXT_ANSWER, NEXT_LOAD = "at once", "from the next answer", "from the next load"
NEXT_SESSION, NEXT_START = "from the next session", "from the next start"
MOST = 1_000_000_000
_SAMPLING = Sampling()


class Setting(NamedTuple):
    """What is known of one setting."""

    name: str
    """As a person names it; what is before a dot is a table of the file."""
    field: str
    kind: Kind
    default: Any
    about: str
    group: str
    holds: str
    """When a change holds."""
    empty: str
    """What the empty value means."""

    @property
    def table(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def key(self) -> str:
        return self.name.rpartition(".")[2]

    def show(self, value: Any) -> str:
        """`value` on one line, the empty one in words."""
        blank = value is None if isinstance(self.kind, Amount) else not value  # 0 watts are said
        return self.empty if blank and self.empty else self.kind.show(value)


def _setting(
    kind: Kind, default: Any, group: str, holds: str, about: str, empty: str = "", table: str = ""
) -> Any:
    facts = {"kind": kind, "group": group, "holds": holds, "about": about, "empty": empty}
    if isinstance(kind, Entries):
        return field(default_factory=dict, metadata=facts)
    return field(default=default, metadata={**facts, "table": table})


def _sampled(name: str, about: str, empty: str = "") -> Any:
    low, high = SAMPLING_BOUNDS[name]
    kind = Whole(int(low), int(high)) if isinstance(low, int) else Number(low, high)
    default = getattr(_SAMPLING, name)
    return _setting(kind, default, "Answers", NEXT_ANSWER, about, empty, table="sampling")


@dataclass(frozen=True, slots=True)
class Settings:
    """The values that hold; without a file, the defaults."""

    # fmt: off
    model: str = _setting(
        Text(), "starter", "Model", NEXT_START,
        "What the app opens with: a catalogue name, or the path of a GGUF file or an ONNX folder.")
    context: int = _setting(
        Whole(0, MOST), 0, "Model", NEXT_LOAD,
        "Tokens of context. More of them take more memory.",
        "chosen by the engine")
    threads: int = _setting(
        Whole(0, 512), 0, "Model", NEXT_LOAD,
        "Threads that compute. A fixed number no longer makes room for other programs.",
        "follow the load")
    kv_type: KvType = _setting(
        Choice("f16", "q8_0"), "f16", "Model", NEXT_LOAD,
        "How the KV cache stores numbers. q8_0 takes half the memory and needs flash attention, "
        "which is slower deep in a context.")
    gpu_layers: GpuLayers = _setting(
        Layers(), "auto", "Model", NEXT_LOAD,
        "Layers that a GPU holds, the output matrix counted as one. auto is as many as fit into "
        "its free memory, 0 leaves all to the CPU.")
    max_tokens: int = _setting(
        Whole(1, MOST), 1024, "Answers", NEXT_ANSWER,
        "Longest answer, in tokens.")
    system: str = _setting(
        Text(prose=True), "", "Answers", NEXT_SESSION,
        "System prompt of new sessions: the name of a preset, or the text itself.",
        "none")
    temperature: float = _sampled(
        "temperature", "How freely the next token is drawn. 0 always takes the most probable one.")
    top_k: int = _sampled(
        "top_k", "Draw from this many tokens, the most probable ones.", "all")
    top_p: float = _sampled(
        "top_p", "Draw from the most probable tokens that together have this probability.")
    min_p: float = _sampled(
        "min_p", "Leave out tokens below this share of the most probable one's probability.")
    repeat_penalty: float = _sampled(
        "repeat_penalty", "Above 1, the last 64 tokens become less probable. 1 changes nothing.")
    presets: Mapping[str, str] = _setting(
        Entries(Text(prose=True)), None, "Answers", NEXT_SESSION,
        "System prompts by name.",
        "none")
    baseline: str = _setting(
        Text(), "", "Costs", AT_ONCE,
        "The cloud model that costs are compared with, such as gpt-4-turbo or provider/model.",
        "ministral-3b, a small one")
    tariff_usd_per_kwh: Decimal | None = _setting(
        Amount(1000, "0.30"), None, "Costs", NEXT_ANSWER,
        "What electricity costs here, in US dollars per kWh, as the cloud prices are in dollars.",
        "unknown")
    watts: Decimal | None = _setting(
        Amount(100_000, "30"), None, "Costs", NEXT_ANSWER,
        "What this machine draws while it answers, as you know it or measured it at the plug.",
        "unknown")
    keep_prefixes: bool = _setting(
        Flag(), True, "Disk", AT_ONCE,
        "Keep what the model has read when the app is left, so that the next start is quick. "
        "Off deletes what was kept.")
    keep_prefixes_bytes: int = _setting(
        Size(0, 1 << 50), 2 << 30, "Disk", AT_ONCE,
        "Most that kept states may take on the disk, in bytes; the oldest go first.")
    download_bytes_per_s: int = _setting(
        Size(0, 1_000_000_000_000), 0, "Disk", "from the next download",
        "Fetch models no faster, in bytes per second.",
        "no limit")
    theme: str = _setting(
        Text(), "ondevice", "Screen", AT_ONCE,
        "Colours of the app. NO_COLOR in the environment leaves greys.")
    keymap: Mapping[str, str] = _setting(
        Entries(Text()), None, "Keys", AT_ONCE,
        "Other keys: what a key does, by its name, and the key or keys with commas.",
        "none changed")
    # fmt: on

    @property
    def sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_k, self.top_p, self.min_p, self.repeat_penalty)

    @property
    def load_options(self) -> LoadOptions:
        return LoadOptions(
            n_ctx=self.context or None,
            threads=self.threads or None,
            # nobody asked for what is the default, so where no GPU is known that is not told
            gpu_layers=None if self.gpu_layers == "auto" else self.gpu_layers,
            kv_type=self.kv_type,
        )

    @property
    def most_state_bytes(self) -> int:
        """What kept states may take; 0 keeps none."""
        return self.keep_prefixes_bytes if self.keep_prefixes else 0

    @property
    def power(self) -> Power | None:
        """What is stated about electricity; a tariff alone says nothing."""
        if self.watts is None:
            return None
        return Power(float(self.watts), self.tariff_usd_per_kwh)

    @property
    def system_prompt(self) -> str:
        """The text that `system` means."""
        return self.prompt_of(self.system)

    def prompt_of(self, words: str) -> str:
        """The preset of that name, or the words themselves."""
        return self.presets.get(words.strip(), words)

    def value(self, name: str) -> Any:
        """By the setting's name, or an entry's of a table such as `presets.tutor`."""
        setting, entry = find(name)
        value = getattr(self, setting.field)
        return value.get(entry) if entry else value


def _defined() -> tuple[Setting, ...]:
    found, blank = [], Settings()
    for each in fields(Settings):
        facts = dict(each.metadata)
        table = facts.pop("table", "")
        name = f"{table}.{each.name}" if table else each.name
        default = getattr(blank, each.name)
        found.append(Setting(name=name, field=each.name, default=default, **facts))
    return tuple(found)


SETTINGS = _defined()
_BY_NAME = {setting.name: setting for setting in SETTINGS}
TABLES = {setting.table for setting in SETTINGS if setting.table}


def find(name: str) -> tuple[Setting, str]:
    """The setting called `name`, and the entry where it is a table's.

    Raises SettingsInvalid, with the nearest right name.
    """
    if name in _BY_NAME:
        return _BY_NAME[name], ""
    table, _, entry = name.partition(".")
    setting = _BY_NAME.get(table)
    if setting is not None and entry and isinstance(setting.kind, Entries):
        return setting, entry
    near = nearest(name)
    hint = f"Did you mean {near}?" if near else f"There are: {', '.join(_BY_NAME)}."
    raise SettingsInvalid(f"no setting is called {clean_line(name, 60)}", hint=hint)


def strayed(key: str) -> str:
    """Where a setting belongs whose line fell into another table, as one at the end of the file
    does: words to go on with. Nothing for what is no setting.
    """
    for setting in SETTINGS:
        if key in (setting.key, setting.name):
            place = f"in [{setting.table}]" if setting.table else "above the first [table]"
            return f"; the setting {setting.name} stands {place}"
    return ""


def typed(name: str, text: str) -> Any:
    """What `text` means as the value of `name`. Raises SettingsInvalid."""
    setting, entry = find(name)
    kind = setting.kind
    if isinstance(kind, Entries):
        if not entry:
            said = f"{name} is a table, with entries such as {name}.NAME"
            raise SettingsInvalid(said, hint=setting.about)
        kind = kind.entry
    try:
        return kind.check(kind.parse(text))
    except ValueError as error:
        raise SettingsInvalid(f"{clean_line(name, 60)} {error}", hint=setting.about) from error


def nearest(name: str) -> str:
    """The right name that is most like `name`, also where its table is missing; or none."""
    from difflib import get_close_matches  # deferred: only a mistyped name needs it

    names = {each.key: each.name for each in SETTINGS} | {
        each: each for each in (*_BY_NAME, *TABLES)
    }
    asked = name[:60].lower()
    begun = [each for each in names if len(asked) > 3 and each.startswith(asked)]
    near = get_close_matches(asked, names, n=1) or begun
    return names[near[0]] if near else ""

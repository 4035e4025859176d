"""What holds of a settings file, what does not, and who refuses it."""

from __future__ import annotations

import re
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

import pytest

from ondevice.domain.device import GpuLayers
from ondevice.domain.generation import SAMPLING_BOUNDS, LoadOptions, Sampling
from ondevice.errors import SettingsInvalid
from ondevice.settings import SETTINGS, Reading, Settings, SettingsFile, find


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def read(path: Path, content: str | None = None) -> Reading:
    if content is not None:
        path.write_text(content)
    return SettingsFile(path).read()


def refusal(path: Path, *uses: str) -> SettingsInvalid:
    with pytest.raises(SettingsInvalid) as caught:
        SettingsFile(path).load(*uses)
    assert str(path) in caught.value.message
    return caught.value


def test_without_a_file_there_are_defaults(path: Path) -> None:
    assert read(path) == Reading(Settings())
    assert not path.exists()


def test_an_empty_file_changes_nothing(path: Path) -> None:
    assert read(path, "# nothing yet\n") == Reading(Settings())


def test_every_setting_can_be_set(path: Path) -> None:
    reading = read(
        path,
        """
        model = "some/model.gguf"
        context = 2048
        threads = 2
        kv_type = "q8_0"
        gpu_layers = 12
        max_tokens = 64
        system = "tutor"
        baseline = "gpt-4-turbo"
        tariff_usd_per_kwh = 0.31
        watts = 45
        keep_prefixes = false
        keep_prefixes_bytes = 1000
        download_bytes_per_s = 5
        theme = "nord"
        sampling = {temperature = 0, top_k = 5, top_p = 0.5, min_p = 0.1, repeat_penalty = 1.5}
        presets = {tutor = "You teach."}
        keymap = {"app.help" = "f12"}
        """,
    )
    chosen, usual = reading.settings, Settings()
    assert reading.troubles == ()
    assert all(
        getattr(chosen, field.name) != getattr(usual, field.name) for field in fields(Settings)
    )
    assert {setting.name for setting in SETTINGS} < reading.given
    assert chosen.tariff_usd_per_kwh == Decimal("0.31")
    assert chosen.sampling == Sampling(0.0, 5, 0.5, 0.1, 1.5)
    assert chosen.load_options == LoadOptions(n_ctx=2048, threads=2, kv_type="q8_0", gpu_layers=12)
    assert chosen.system_prompt == "You teach."


def test_the_defaults_are_those_of_the_engine() -> None:
    assert Settings().sampling == Sampling()
    assert Settings().load_options == LoadOptions(kv_type="f16")


@pytest.mark.parametrize(("line", "asked"), [("auto", None), ("all", "all"), ("0", 0), ("31", 31)])
def test_layers_on_a_gpu_are_a_word_or_a_number(
    line: str, asked: GpuLayers | None, path: Path
) -> None:
    """auto is what holds anyway, so nobody is taken to have asked for a GPU."""
    written = line if line.isdecimal() else f'"{line}"'
    assert read(path, f"gpu_layers = {written}").settings.load_options.gpu_layers == asked


def test_what_is_unset_is_unknown_and_never_nothing() -> None:
    assert (Settings().watts, Settings().tariff_usd_per_kwh) == (None, None)
    assert find("watts")[0].show(None) == "unknown"
    assert find("watts")[0].show(Decimal(0)) == "0"


@pytest.mark.parametrize("name", SAMPLING_BOUNDS)
def test_the_bounds_of_sampling_are_those_of_the_engine(name: str, path: Path) -> None:
    low, high = SAMPLING_BOUNDS[name]
    for bound in (low, high):
        reading = read(path, f"[sampling]\n{name} = {bound}\n")
        assert reading.troubles == ()
        assert getattr(reading.settings.sampling, name) == bound
    assert read(path, f"[sampling]\n{name} = {high * 2}\n").troubles != ()


def test_a_byte_order_mark_is_no_part_of_the_first_setting(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbfthreads = 3\n")
    assert read(path).settings.threads == 3


def test_a_key_of_the_keymap_needs_no_quotes(path: Path) -> None:
    keys = {"app.help": "f12", "app.models": "f6"}
    assert read(path, '[keymap]\napp.help = "f12"\n"app.models" = "f6"').settings.keymap == keys


def test_a_system_prompt_that_is_no_preset_is_the_text(path: Path) -> None:
    settings = read(path, 'system = "Be brief."\n[presets]\ntutor = "You teach."').settings
    assert settings.system_prompt == "Be brief."
    assert settings.prompt_of(" tutor ") == "You teach."


UNKNOWN = [
    ("thread = 1", "thread", "Did you mean threads?"),
    ("max_token = 1", "max_token", "Did you mean max_tokens?"),
    ("temperature = 1", "temperature", "Did you mean sampling.temperature?"),
    ("[sampling]\ntemprature = 1", "sampling.temprature", "Did you mean sampling.temperature?"),
    ("[samplings]\ntop_k = 1", "samplings", "Did you mean sampling?"),
    ("[key_map]\nx = 1", "key_map", "Did you mean keymap?"),
    ("tariff = 1", "tariff", "Did you mean tariff_usd_per_kwh?"),
    ("zzz = 1", "zzz", "There are: model, context, threads, "),
]


@pytest.mark.parametrize(("line", "name", "hint"), UNKNOWN, ids=[each[1] for each in UNKNOWN])
def test_an_unknown_setting_is_answered_with_the_nearest(
    path: Path, line: str, name: str, hint: str
) -> None:
    reading = read(path, f"watts = 7\n{line}\n")
    (trouble,) = reading.troubles
    assert trouble.message == f"no setting is called {name}"
    assert trouble.hint.startswith(hint)
    assert reading.settings == Settings(watts=Decimal(7))


WRONG = [
    ("model = 3", "model must be a text in quotes"),
    ("baseline = true", "baseline must be a text in quotes"),
    ('threads = "2"', "threads must be a whole number from 0 to 512"),
    ("threads = true", "threads must be a whole number from 0 to 512"),
    ("threads = 2.0", "threads must be a whole number from 0 to 512"),
    ("threads = 513", "threads must be a whole number from 0 to 512"),
    ("context = -1", "context must be a whole number from 0"),
    (f"context = {10**30}", "context must be a whole number from 0"),
    ("context = [1]", "context must be a whole number from 0"),
    ("max_tokens = 0", "max_tokens must be a whole number from 1"),
    ("[threads]\nmost = 2", "threads must be a whole number"),
    ("kv_type = 'q4_0'", "kv_type must be f16 or q8_0"),
    ("kv_type = ['f16']", "kv_type must be f16 or q8_0"),
    ("gpu_layers = 'most'", "gpu_layers must be auto, all or a whole number from 0 to 10,000"),
    ("gpu_layers = true", "gpu_layers must be auto, all or a whole number"),
    ("gpu_layers = ['all']", "gpu_layers must be auto, all or a whole number"),
    ("keep_prefixes = 1", "keep_prefixes must be true or false"),
    ("watts = -1", "watts must be a number from 0 to 100,000"),
    ("watts = nan", "watts must be a number from 0"),
    ("watts = 1e99999999999999999999", "watts must be a number from 0"),
    ("watts = inf", "watts must be a number from 0"),
    ("watts = 1e999999", "watts must be a number from 0"),
    ("tariff_usd_per_kwh = true", "tariff_usd_per_kwh must be a number from 0"),
    ("sampling = 3", "sampling must be a table"),
    ("[sampling]\ntemperature = 11", "sampling.temperature must be a number from 0 to 10"),
    ("[sampling]\ntop_k = 1.5", "sampling.top_k must be a whole number"),
    ("[sampling]\ntop_p = nan", "sampling.top_p must be a number from 0 to 1"),
    ("keymap = 'f1'", "keymap must be a table of texts"),
    ("[presets]\ntutor = 3", "presets.tutor must be a text in quotes"),
]


@pytest.mark.parametrize(("line", "reason"), WRONG, ids=[each[0][:28] for each in WRONG])
def test_a_value_that_cannot_be_used_costs_only_itself(path: Path, line: str, reason: str) -> None:
    reading = read(path, f"theme = 'nord'\n{line}\n")
    (trouble,) = reading.troubles
    assert trouble.message.startswith(reason)
    assert reading.settings == Settings(theme="nord")


def test_a_bad_entry_of_a_table_costs_no_other(path: Path) -> None:
    reading = read(path, "[presets]\ngood = 'x'\nbad = 3\n")
    assert reading.settings.presets == {"good": "x"}
    assert reading.given == {"presets", "presets.good"}


USES = [
    ("thread = 2", "threads", True),
    ("threads = 'two'", "threads", True),
    ("threads = 'two'", "model", False),
    ("theem = 'nord'", "threads", False),
    ("zzz = 1", "threads", False),
    ("[sampling]\ntop_q = 1", "sampling", True),
    ("samplings = 1", "sampling", True),
    ("sampling = 1", "sampling.top_k", True),
    ("[presets]\ntutor = 1", "presets", True),
    ("[presets]\ntutor = 1", "system", False),
]


@pytest.mark.parametrize(("line", "use", "refused"), USES)
def test_a_command_refuses_a_fault_in_what_it_uses_and_says_the_others(
    path: Path, line: str, use: str, refused: bool
) -> None:
    path.write_text(f"{line}\n")
    if refused:
        assert "settings.toml: " in refusal(path, use).message
    else:
        settings, said = SettingsFile(path).load(use)
        assert settings == Settings()
        assert len(said) == 1
        assert re.fullmatch(rf"{re.escape(str(path))}: [^.]+(\.\w[^.]*)?\. [A-Z].+", said[0])


@pytest.mark.parametrize(
    "content",
    ["threads =", "threads = 2\nthreads = 3", "[" * 5000, "x = " + "[" * 5000, "x = " + "9" * 9000],
    ids=["half", "twice", "brackets", "nested", "digits"],
)
def test_of_what_is_not_toml_nothing_holds_and_every_command_refuses_it(
    path: Path, content: str
) -> None:
    reading = read(path, content)
    assert reading.settings == Settings()
    assert len(reading.troubles) == 1
    assert "is not TOML" in refusal(path, "theme").message


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    path.write_bytes(b'model = "\xff\xfe"')
    assert "is not UTF-8" in refusal(path, "model").message


def test_a_folder_in_its_place_is_refused(path: Path) -> None:
    path.mkdir()
    assert "cannot be read: Is a directory" in refusal(path, "model").message

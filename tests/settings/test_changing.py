"""Changing one setting: the file says that and nothing else new, and its comments stay."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from ondevice.errors import SettingsInvalid
from ondevice.settings import SETTINGS, Reading, Settings, SettingsFile, find, typed
from ondevice.settings.kinds import Amount, Choice, Entries, Flag, Kind, Layers, Number, Whole
from ondevice.settings.toml import template

OWN = """\
# mine
context  =  4096   # what fits

threads = 3
[sampling]   # careful
top_k = 5
# temperature = 9 was too much
[presets]
tutor = '''
You teach.
'''
"""


@pytest.fixture
def file(tmp_path: Path) -> SettingsFile:
    return SettingsFile(tmp_path / "config" / "settings.toml")


def write(file: SettingsFile, text: str) -> SettingsFile:
    file.path.parent.mkdir(exist_ok=True)
    file.path.write_text(text)
    return file


def text(file: SettingsFile) -> str:
    return file.path.read_text()


def test_a_new_file_holds_every_setting_as_a_comment_at_its_default(file: SettingsFile) -> None:
    file.create()
    assert file.read() == Reading(Settings())
    for setting in SETTINGS:
        assert setting.about.split()[0] in text(file)
        if not isinstance(setting.kind, Entries):
            assert f"\n# {setting.key} = " in text(file)


def test_a_new_file_without_its_comment_marks_says_the_defaults(file: SettingsFile) -> None:
    lines = template().split("\n")
    names = tuple(f"# {setting.key} = " for setting in SETTINGS)
    bare = [line.removeprefix("# ") if line.startswith(names) else line for line in lines]
    settings = write(file, "\n".join(bare)).read()
    assert settings.troubles == ()
    examples = {"watts": Decimal(30), "tariff_usd_per_kwh": Decimal("0.30")}
    assert settings.settings == Settings(**examples)  # type: ignore[arg-type]


def test_what_is_set_in_a_new_file_loses_its_comment_mark_and_gets_it_back(
    file: SettingsFile,
) -> None:
    changed: list[tuple[str, Any]] = [
        ("threads", 3),
        ("sampling.temperature", 0.2),
        ("watts", Decimal("45.50")),
        ("system", "two\nlines"),
        ("keep_prefixes", False),
        ("keymap.app.help", "f12"),
        ("presets.a b", 'x\ny"""z\\'),
    ]
    for name, value in changed:
        assert file.set(name, value).settings.value(name) == value
    assert "\nthreads = 3\n" in text(file)
    assert "# threads" not in text(file)
    assert "\nwatts = 45.50\n" in text(file)
    for name, _ in changed:
        file.unset(name)
    assert text(file) == template()


def test_the_comments_order_and_formatting_of_a_person_stay(file: SettingsFile) -> None:
    write(file, OWN).set("context", 8192)
    assert text(file) == OWN.replace("4096", "8192")
    file.set("sampling.temperature", 0.2)
    assert text(file) == OWN.replace("4096", "8192").replace(
        "was too much\n", "was too much\ntemperature = 0.2\n"
    )
    assert file.read().settings.presets == {"tutor": "You teach.\n"}


def test_a_setting_that_is_not_there_yet_goes_before_the_tables(file: SettingsFile) -> None:
    write(file, OWN).set("theme", "nord")
    own = OWN.replace("threads = 3\n", 'threads = 3\ntheme = "nord"\n\n')
    assert text(file) == own
    assert file.read().settings.theme == "nord"


@pytest.mark.parametrize(
    "content",
    [
        "sampling.top_k = 5\n",
        "sampling = {top_k = 5}\n",
        "[sampling]\ntop_k=5",
        "\ufeff[sampling]\r\ntop_k = 5\r\n",
        '["sampling"]\n"top_k" = 5\n',
    ],
    ids=["dotted", "inline", "no-newline", "windows", "quoted"],
)
def test_however_a_table_is_written_its_values_change(content: str, file: SettingsFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(content.encode())
    settings = file.set("sampling.top_p", 0.5).settings
    assert (settings.top_k, settings.top_p) == (5, 0.5)
    assert file.unset("sampling.top_k").settings == Settings(top_p=0.5)


@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["unix", "windows"])
def test_a_new_preset_goes_above_the_comment_of_the_next_table(
    newline: str, file: SettingsFile
) -> None:
    def lines() -> list[str]:
        return file.path.read_bytes().decode().split(newline)

    file.path.parent.mkdir()
    file.path.write_bytes(template().replace("\n", newline).encode())
    file.set("presets.tutor", "You teach.")
    file.set("presets.short", "Be brief.")
    own = lines()[lines().index("[presets]") : lines().index("[keymap]")]
    assert own[2:5] == ['tutor = "You teach."', 'short = "Be brief."', ""]
    assert own[5].startswith("# Other keys")
    file.unset("presets.short")
    file.unset("presets.tutor")
    assert newline.join(lines()) == template().replace("\n", newline)


@pytest.mark.parametrize(
    ("content", "name", "value"),
    [
        ("presets = 3\n", "presets.tutor", "x"),
        ("presets = [1]\n", "presets.tutor", "x"),
        ("[[presets]]\na = 'b'\n", "presets.tutor", "x"),
        ("keymap = 'f5'\n", "keymap.app.help", "f12"),
        ("sampling = 0.7\n", "sampling.top_k", 5),
        ("[[sampling]]\n", "sampling.top_k", 5),
    ],
)
def test_what_should_be_a_table_and_is_none_is_left_to_be_mended_by_hand(
    content: str, name: str, value: object, file: SettingsFile
) -> None:
    write(file, content)
    table = name.partition(".")[0]
    for change in (lambda: file.set(name, value), lambda: file.unset(name)):
        with pytest.raises(SettingsInvalid, match=f"^{table} must be a table") as caught:
            change()
        assert "settings edit" in caught.value.hint
    assert text(file) == content


@pytest.mark.parametrize(
    "content",
    [
        '[presets.work]\nmail = "Answer mails."\n# my own note\n',
        '[presets]\nwork.mail = "Answer mails."\nwork.code = "Review."\n',
    ],
)
def test_an_entry_does_not_take_away_those_whose_names_begin_with_its_own(
    content: str, file: SettingsFile
) -> None:
    write(file, content)
    with pytest.raises(SettingsInvalid, match=r"work stands before a dot in presets\.work\.mail"):
        file.set("presets.work", "Be brief.")
    file.unset("presets.work")
    assert text(file) == content


@pytest.mark.parametrize(
    ("content", "name", "value"),
    [
        ("threads = 2\n", "presets.t", "v"),
        ('[presets]\na = "x"\n', "threads", 3),
        ('[presets]\na = "x"', "presets.b", "two\nlines\nof it"),
    ],
)
def test_the_line_ends_of_windows_stay(
    content: str, name: str, value: object, file: SettingsFile
) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(("# mine\n" + content).replace("\n", "\r\n").encode())
    assert file.set(name, value).settings.value(name) == value
    written = file.path.read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n") > 0


def test_a_new_line_goes_above_the_comment_of_the_next_table_wherever(file: SettingsFile) -> None:
    own = (
        "threads = 3\n\n# careful\n[sampling]\n# low\ntop_k = 5\n\n\n"
        "# mine\n# and yours\n[presets]\n"
    )
    write(file, own)
    file.set("context", 512)
    file.set("sampling.top_p", 0.5)
    assert text(file) == own.replace("= 3\n", "= 3\ncontext = 512\n").replace(
        "= 5\n", "= 5\ntop_p = 0.5\n"
    )


def test_a_key_without_quotes_changes_where_it_stands(file: SettingsFile) -> None:
    write(file, '[keymap]\napp.help = "f6"\n').set("keymap.app.help", "f12")
    assert file.read().settings.keymap == {"app.help": "f12"}
    assert file.unset("keymap.app.help").settings.keymap == {}


@pytest.mark.parametrize(
    "content",
    [
        '[keymap]\n"app.help" = "f6"\napp.models = "f7"\napp.help = "f12"\n',
        '[keymap]\napp.help = "f12"\n"app.help" = "f6"\n',
    ],
)
def test_of_two_spellings_of_one_key_neither_changes_alone(
    content: str, file: SettingsFile
) -> None:
    write(file, content)
    change: Callable[[], Reading]
    for change in (
        lambda: file.set("keymap.app.help", "f9"),
        lambda: file.unset("keymap.app.help"),
    ):
        with pytest.raises(SettingsInvalid, match=r"keymap\.app\.help stands there twice"):
            change()
    assert text(file) == content


def test_a_number_that_is_none_keeps_nothing_else_from_changing(file: SettingsFile) -> None:
    write(file, "watts = nan\nthreads = 2\n").set("threads", 3)
    assert text(file) == "watts = nan\nthreads = 3\n"
    assert file.unset("threads").settings.threads == 0
    assert file.unset("watts").troubles == ()


def test_what_looks_like_a_default_within_a_text_is_left_alone(file: SettingsFile) -> None:
    own = 'system = """\n# threads = 0\n"""\n'
    write(file, own).set("threads", 2)
    assert file.read().settings == Settings(system="# threads = 0\n", threads=2)


def test_unknown_settings_stay_in_the_file(file: SettingsFile) -> None:
    write(file, "thread = 3\n").set("threads", 2)
    assert "thread = 3\n" in text(file)


@pytest.mark.parametrize(
    "content", ["threads = [", "a = 1\na = 2", "\xff"], ids=["half", "twice", "latin-1"]
)
def test_a_file_that_cannot_be_read_is_never_overwritten(content: str, file: SettingsFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(content.encode("latin-1"))
    for change in (lambda: file.set("threads", 2), lambda: file.unset("threads")):
        with pytest.raises(SettingsInvalid, match=r"is not (TOML|UTF-8)"):
            change()
    assert file.path.read_bytes() == content.encode("latin-1")


def test_it_is_for_this_user_only(file: SettingsFile) -> None:
    file.set("threads", 2)
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    file.path.chmod(0o644)
    file.set("threads", 3)
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_link_to_a_folder_of_dotfiles_stays_a_link(file: SettingsFile, tmp_path: Path) -> None:
    kept = tmp_path / "dotfiles.toml"
    kept.write_text("threads = 1\n")
    file.path.parent.mkdir()
    file.path.symlink_to(kept)
    file.set("threads", 2)
    assert file.path.is_symlink()
    assert kept.read_text() == "threads = 2\n"


def test_a_disk_that_takes_no_more_leaves_the_old_file(file: SettingsFile) -> None:
    """Every write fails past 10 bytes, as on a full disk."""
    write(file, OWN)
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from ondevice.errors import SettingsInvalid\n"
        "from ondevice.settings import SettingsFile\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try:\n    SettingsFile(Path(sys.argv[1])).set('threads', 7)\n"
        "except SettingsInvalid as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(file.path)], capture_output=True, text=True
    )
    assert "cannot be written: File too large" in done.stdout, done.stderr
    assert text(file) == OWN
    assert list(file.path.parent.iterdir()) == [file.path]


def test_of_two_writers_at_once_neither_is_lost(file: SettingsFile) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from ondevice.settings import SettingsFile\n"
        "for number in range(1, 21):\n"
        "    SettingsFile(Path(sys.argv[1])).set(sys.argv[2], number)\n"
    )
    names = ("threads", "context")
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(file.path), name]) for name in names
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert file.read().settings == Settings(threads=20, context=20)


def test_a_name_that_is_none_is_answered_with_the_nearest(file: SettingsFile) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        file.set("thread", 2)
    assert caught.value.hint == "Did you mean threads?"
    assert not file.path.exists()


TYPED = [
    ("threads", "4", 4),
    ("context", "8,192", 8192),
    ("download_bytes_per_s", "5M", 5 << 20),
    ("keep_prefixes_bytes", "1.5 GB", 3 << 29),
    ("keep_prefixes", "off", False),
    ("sampling.temperature", " 0.2 ", 0.2),
    ("tariff_usd_per_kwh", "0.310", Decimal("0.310")),
    ("kv_type", "q8_0", "q8_0"),
    ("gpu_layers", " All ", "all"),
    ("gpu_layers", "31", 31),
    ("presets.tutor", " You teach. ", " You teach. "),
    ("keymap.app.help", " f12 ", "f12"),
    ("context", "1,048,576", 1_048_576),
    ("system", "a\r\nb\rc\n", "a\nb\nc\n"),
    ("theme", " a\r\nb\r\n", "a\nb"),
]


@pytest.mark.parametrize(
    ("name", "words", "value"), TYPED, ids=[f"{name} {words[:8]}" for name, words, _ in TYPED]
)
def test_what_a_person_types_becomes_a_value(name: str, words: str, value: object) -> None:
    assert typed(name, words) == value


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("threads", "many", "threads must be a whole number from 0 to 512"),
        ("threads", "9" * 5000, "threads must be a whole number from 0 to 512"),
        ("threads", "1,5", "threads must be a whole number from 0 to 512"),
        ("sampling.top_k", "1,50,000", "must be a whole number from 0 to 1,000,000"),
        ("sampling.top_k", "0,005", "must be a whole number from 0 to 1,000,000"),
        ("download_bytes_per_s", "5X", "or such as 500K, 5M, 2G"),
        ("keep_prefixes", "maybe", "must be on or off"),
        ("watts", "30 W", "watts must be a number from 0"),
        ("watts", "NaN", "watts must be a number from 0"),
        ("kv_type", "q4_0", "kv_type must be f16 or q8_0"),
        ("gpu_layers", "most", "gpu_layers must be auto, all or a whole number from 0 to 10,000"),
        ("presets", "x", "presets is a table, with entries such as presets.NAME"),
    ],
)
def test_what_cannot_be_a_value_is_refused_with_the_range(
    name: str, words: str, reason: str
) -> None:
    with pytest.raises(SettingsInvalid, match=reason.replace(".", r"\.")):
        typed(name, words)


def values(kind: Kind) -> st.SearchStrategy[Any]:
    """Any value of a kind."""
    match kind:
        case Entries():
            return values(kind.entry)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from(kind.options)
        case Layers():
            return st.sampled_from(kind.WORDS) | st.integers(kind.low, kind.high)
        case Whole():
            return st.integers(kind.low, kind.high)
        case Number():
            return st.floats(kind.low, kind.high)
        case Amount():
            return st.decimals(0, kind.high, places=3)
    return st.text().map(lambda words: kind.check(kind.parse(words)))


@st.composite
def changes(draw: st.DrawFn) -> list[tuple[str, Any]]:
    """Settings to set, or to unset with None, in an order."""
    drawn = []
    for setting in draw(st.lists(st.sampled_from(SETTINGS), max_size=8)):
        name = setting.name
        if isinstance(setting.kind, Entries):
            name += "." + draw(st.text(min_size=1, max_size=6))
        drawn.append((name, draw(st.none() | values(setting.kind))))
    return drawn


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=changes(), start=st.sampled_from(["", OWN, template()]))
def test_a_file_says_what_was_set_last_and_its_comments_stay(
    steps: list[tuple[str, Any]], start: str, file: SettingsFile
) -> None:
    write(file, start)
    said = {
        name: file.read().settings.value(name) for name in file.read().given if name != "presets"
    }
    for name, value in steps:
        if value is None:
            file.unset(name)
            said.pop(name, None)
        else:
            file.set(name, value)
            said[name] = value
    reading = file.read()
    assert reading.troubles == ()
    for name, value in said.items():
        if name not in ("presets", "keymap"):
            assert reading.settings.value(name) == value
    tomllib.loads(text(file))
    for line in start.split("\n"):
        if line.startswith("# ") and " = " not in line:
            assert line in text(file)


def test_every_setting_explains_itself() -> None:
    for setting in SETTINGS:
        assert setting.about.endswith(".")
        assert find(setting.name) == (setting, "")
        if setting.default is not None:
            setting.kind.check(setting.default)

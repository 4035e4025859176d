"""Numbers become words in one place, and unknown ones say so."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ondevice import units

KB, MB, GB, TB = 2**10, 2**20, 2**30, 2**40


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1, "1 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (KB, "1.0 KB"),
        (int(9.94 * KB), "9.9 KB"),
        (int(9.96 * KB), "10 KB"),
        (97 * MB, "97 MB"),
        (int(999.4 * KB), "999 KB"),
        (int(999.6 * KB), "1.0 MB"),
        (int(2.1 * GB), "2.1 GB"),
        (3 * TB, "3.0 TB"),
        (5000 * TB, "5000 TB"),
    ],
    ids=str,
)
def test_size_uses_binary_steps(value: int | None, words: str) -> None:
    assert units.size(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unknown"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
        (0.04, "0.0 tok/s"),
        (9.84, "9.8 tok/s"),
        (99.94, "99.9 tok/s"),
        (99.96, "100 tok/s"),
        (142.4, "142 tok/s"),
    ],
    ids=str,
)
def test_rate_keeps_one_decimal_below_a_hundred(value: float | None, words: str) -> None:
    assert units.rate(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unknown"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
        (0, "0.00 s"),
        (0.08, "0.08 s"),
        (0.994, "0.99 s"),
        (0.996, "1.0 s"),
        (4.1, "4.1 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (3720, "1 h 02 min"),
        (90 * 3600, "90 h 00 min"),
    ],
    ids=str,
)
def test_duration_changes_its_unit_where_the_rounded_number_does(
    value: float | None, words: str
) -> None:
    assert units.duration(value) == words


@pytest.mark.parametrize(
    ("value", "words", "short"),
    [
        (None, "unknown", "unknown"),
        (0, "0", "0"),
        (312, "312", "312"),
        (999, "999", "999"),
        (1000, "1,000", "1.0k"),
        (1204, "1,204", "1.2k"),
        (2949, "2,949", "2.9k"),
        (9960, "9,960", "10k"),
        (131_072, "131,072", "131k"),
        (999_499, "999,499", "999k"),
        (999_500, "999,500", "1.0M"),
        (134_515_008, "134,515,008", "135M"),
        (3_821_079_552, "3,821,079,552", "3.8B"),
    ],
    ids=str,
)
def test_count_is_exact_and_its_short_form_is_not(
    value: int | None, words: str, short: str
) -> None:
    assert (units.count(value), units.short_count(value)) == (words, short)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unknown"),
        ("NaN", "unknown"),
        ("-Infinity", "unknown"),
        ("0", "$0"),
        ("-0.00", "$0"),
        ("1204.5", "$1,204.50"),
        ("0.31", "$0.31"),
        ("0.099", "$0.099"),
        ("-0.0031", "-$0.0031"),
        ("0.0000039", "$0.0000039"),
        ("1E+3", "$1,000.00"),
        ("-12", "-$12.00"),
    ],
    ids=str,
)
def test_money_shows_two_digits_of_small_amounts(value: str | None, words: str) -> None:
    assert units.money(None if value is None else Decimal(value)) == words


@given(st.decimals(min_value=-(10**12), max_value=10**12, places=12))
@example(Decimal("-1E-12"))
def test_money_of_any_amount_says_its_sign_and_stays_near_it(usd: Decimal) -> None:
    words = units.money(usd)
    assert words.startswith("-$" if usd < 0 else "$")
    shown = Decimal(words.replace("$", "").replace(",", ""))
    assert abs(shown - usd) <= max(abs(usd) / 20, Decimal("1E-13"))
    assert (shown == 0) == (usd == 0)


@given(st.decimals(allow_nan=True, allow_infinity=True))
def test_money_of_any_decimal_is_words(usd: Decimal) -> None:
    assert units.money(usd) == "unknown" or units.money(usd).lstrip("-")[0] == "$"


@given(st.floats(min_value=0) | st.just(math.nan))
def test_no_number_reads_nan_or_inf(value: float) -> None:
    for words in (units.rate(value), units.duration(value)):
        assert "nan" not in words
        assert "inf" not in words


@given(st.integers(min_value=0, max_value=2**60), st.integers(min_value=0, max_value=2**60))
def test_a_larger_size_never_reads_smaller(one: int, other: int) -> None:
    steps = ["B", "KB", "MB", "GB", "TB"]

    def key(value: int) -> tuple[int, float]:
        number, unit = units.size(value).split()
        return steps.index(unit), float(number)

    assert (key(one) <= key(other)) or one > other


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "unknown"),
        (math.nan, "unknown"),
        (0.0, "0 %"),
        (1.0, "100 %"),
        (0.9712, "97.1 %"),
        (0.99999, "99.9 %"),
        (0.00001, "0.1 %"),
    ],
    ids=str,
)
def test_a_share_is_whole_only_where_all_of_it_is(value: float | None, words: str) -> None:
    assert units.share(value) == words


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        (None, None, "unknown"),
        (math.inf, 1.0, "unknown"),
        (18.3217, 1.234, "18.3 ± 1.2"),
        (12345.6, 234.5, "12,346 ± 234"),
        (0.001234, 0.00005, "0.001234 ± 0.000050"),
        (0.0, 0.0, "0"),
        (18.3217, None, "18.32"),
        (18.3217, math.inf, "18.32"),
    ],
    ids=str,
)
def test_an_estimate_has_the_digits_its_error_leaves_it(
    value: float | None, error: float | None, words: str
) -> None:
    assert units.estimate(value, error) == words

"""Prices: text → pico-dollars → text."""

from decimal import Decimal

import pytest
from fairlead.catalog.prices import BadPrice, pico_per_token, pico_per_unit, usd_per_million_text, usd_text
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("3", 3_000_000),
        ("0", 0),
        ("0.0", 0),
        ("3.75", 3_750_000),
        ("0.083333", 83_333),
        ("0.000001", 1),
        ("1.0000000000", 1_000_000),
        ("999999999", 999_999_999_000_000),
    ],
)
def test_per_token(text: str, pico: int) -> None:
    assert pico_per_token(text) == pico


@pytest.mark.parametrize(("text", "pico"), [("0.001", 1_000_000_000), ("0.000000000001", 1), ("10", 10_000_000_000_000)])
def test_per_unit(text: str, pico: int) -> None:
    assert pico_per_unit(text) == pico


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.0000001", '"0.0000001" is too precise: at most six decimals (a pico-dollar per token)'),
        ("", 'expected a decimal number in quotes, such as "2.50", got ""'),
        ("-1", 'expected a decimal number in quotes, such as "2.50", got "-1"'),
        ("1e3", 'expected a decimal number in quotes, such as "2.50", got "1e3"'),
        ("1,5", 'expected a decimal number in quotes, such as "2.50", got "1,5"'),
        (".5", 'expected a decimal number in quotes, such as "2.50", got ".5"'),
        ("5.", 'expected a decimal number in quotes, such as "2.50", got "5."'),
        ("٣", 'expected a decimal number in quotes, such as "2.50", got "٣"'),
        ("1\n", 'expected a decimal number in quotes, such as "2.50", got "1\n"'),
        ("NaN", 'expected a decimal number in quotes, such as "2.50", got "NaN"'),
        ("1234567890", 'expected a decimal number in quotes, such as "2.50", got "1234567890"'),
    ],
)
def test_refused(text: str, message: str) -> None:
    with pytest.raises(BadPrice) as caught:
        pico_per_token(text)
    assert str(caught.value) == message


def test_too_large_for_the_ledger() -> None:
    with pytest.raises(BadPrice, match="too large"):
        pico_per_unit("9999999")
    with pytest.raises(BadPrice, match="twelve decimals"):
        pico_per_unit("0.0000000000001")


@pytest.mark.parametrize(
    ("pico", "text"), [(0, "0"), (1, "0.000000000001"), (3_000_000, "0.000003"), (10**12, "1"), (12_500_000_000_000, "12.5")]
)
def test_usd_text(pico: int, text: str) -> None:
    assert usd_text(pico) == text


@given(st.integers(0, 2**63 - 1))
def test_text_is_exact(pico: int) -> None:
    assert Decimal(usd_text(pico)).scaleb(12) == pico
    assert "E" not in usd_text(pico)


@given(st.integers(0, 999_999_999_999_999))
def test_there_and_back(pico: int) -> None:
    assert pico_per_token(usd_per_million_text(pico)) == pico

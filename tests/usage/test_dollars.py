"""Amounts of money as people read them."""

from decimal import Decimal

import pytest

from modelwire.usage.prices import dollars


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "$0.0000"),
        ("0.00005", "$0.000050"),
        ("0.000051", "$0.0001"),
        ("0.0000034", "$0.0000034"),
        ("0.00004999", "$0.000050"),
        ("1234.5", "$1,234.5000"),
        ("1E-9", "$0.0000000010"),
    ],
)
def test_an_amount_that_was_spent_is_never_shown_as_nothing(amount: str, text: str) -> None:
    assert dollars(Decimal(amount)) == text

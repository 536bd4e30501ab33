from __future__ import annotations

from typing import Any

import pytest

from modelwire.messages import add_usage, subtract_usage

ZERO = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
USAGE: Any = {
    "input_tokens": 1,
    "output_tokens": 2,
    "total_tokens": 3,
    "input_token_details": {"audio": 1, "own": 2},
}


def test_none_is_zero() -> None:
    assert add_usage(None, None) == ZERO
    assert add_usage(USAGE, None) == USAGE == add_usage(None, USAGE)
    assert subtract_usage(None, None) == ZERO
    assert subtract_usage(USAGE, None) == USAGE
    assert subtract_usage(None, USAGE) == {**ZERO, "input_token_details": {"audio": 0, "own": 0}}


def test_usage_adds_key_by_key_with_details_and_changes_nothing() -> None:
    other: Any = {
        **USAGE,
        "input_token_details": {"audio": 1, "cache_read": None},
        "output_token_details": {"reasoning": 3},
    }
    assert add_usage(USAGE, other) == {
        "input_tokens": 2,
        "output_tokens": 4,
        "total_tokens": 6,
        "input_token_details": {"audio": 2, "own": 2, "cache_read": None},
        "output_token_details": {"reasoning": 3},
    }
    assert USAGE["input_token_details"] == {"audio": 1, "own": 2}


def test_subtraction_stops_at_zero() -> None:
    more: Any = {
        "input_tokens": 1,
        "output_tokens": 9,
        "total_tokens": 1,
        "input_token_details": {"audio": 5},
    }
    assert subtract_usage(USAGE, more) == {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 2,
        "input_token_details": {"audio": 0, "own": 2},
    }


def test_what_is_no_count_is_refused_by_key() -> None:
    with pytest.raises(TypeError, match="total_tokens"):
        add_usage(USAGE, {**USAGE, "total_tokens": "3"})

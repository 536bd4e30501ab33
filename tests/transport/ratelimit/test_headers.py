"""What headers say of limits: both dialects, every period, and garbage."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.headers import Advertised, duration_s

DATE = "Sat, 21 Nov 2026 12:00:00 GMT"


def admission(index: int = 1, size: int = 0, max_output: int | None = None) -> Admission:
    made = Admission(0.0, again=False, patient=False, size=size, max_output=max_output)
    made.index = index
    return made


def said(kind: str, limit: object, remaining: object, reset: object) -> dict[str, str]:
    return {
        f"x-ratelimit-{part}-{kind}": str(value)
        for part, value in (("limit", limit), ("remaining", remaining), ("reset", reset))
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12ms", 0.012),
        ("1s", 1),
        ("6m0s", 360),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723),
        ("500us", 0.0005),
        ("7.5", 7.5),
        ("0s", 0),
        ("", None),
        (None, None),
        ("soon", None),
        ("1x", None),
        ("-5s", None),
        ("nan", None),
        ("1s" * 100, None),
        ("2026-11-21T12:01:00Z", 60),
        ("2026-11-21T11:00:00Z", 0),
        ("2026-99-21T12", None),
    ],
)
def test_resets_are_read_in_every_form(text: str | None, seconds: float | None) -> None:
    assert duration_s(text, DATE) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("limit", "remaining", "reset", "per_minute"),
    [
        (5000, 4999, "12ms", 5000),  # OpenAI
        (160_000, 159_976, "9ms", 160_000),
        (14_400, 14_370, "2m59.56s", 10),  # Groq counts requests a day
        (200, 199, "7m12s", 200 / 1440),
        (10, 5, "500ms", 600),  # a bucket of a second
        (150_000, 149_984, "6m0s", None),  # OpenAI's own example: no usual period
        (100, 100, "0s", None),
        (100, 200, "1s", None),
        ("many", 1, "1s", None),
        (0, 0, "1s", None),
        ("inf", 1, "1s", None),
    ],
)
def test_the_period_of_a_limit_is_inferred_and_never_taken_for_a_minute(
    limit: object, remaining: object, reset: str, per_minute: float | None
) -> None:
    advertised = Advertised(0.0)
    advertised.read(said("requests", limit, remaining, reset), admission(), 0.0)
    rate = advertised.requests_per_s() * 60
    assert rate == (float("inf") if per_minute is None else pytest.approx(per_minute, rel=0.01))


def test_anthropics_dialect() -> None:
    advertised = Advertised(0.0)
    headers = {
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "49",
        "anthropic-ratelimit-requests-reset": "2026-11-21T12:00:01Z",
        "anthropic-ratelimit-input-tokens-limit": "40000",
        "anthropic-ratelimit-input-tokens-remaining": "20000",
        "anthropic-ratelimit-input-tokens-reset": "2026-11-21T12:00:30Z",
        "anthropic-ratelimit-output-tokens-limit": "8000",
        "anthropic-ratelimit-output-tokens-remaining": "4000",
        "anthropic-ratelimit-output-tokens-reset": "2026-11-21T12:00:30Z",
        "date": DATE,
    }
    assert advertised.read(headers, admission(), 0.0)
    assert advertised.tokens_per_minute() == (None, pytest.approx(40_000), pytest.approx(8_000))


def test_what_is_left_is_counted_from_the_request_the_header_came_with() -> None:
    advertised = Advertised(0.0)
    first = admission(1)
    advertised.read(said("requests", 60, 30, "30s"), first, 0.0)
    for index in range(2, 22):
        advertised.spend(admission(index), 0.0)
    second = admission(2)
    advertised.read(
        said("requests", 60, 25, "35s"), second, 3.0
    )  # 19 more had been sent when it was written
    later = admission(22)
    assert advertised.ready_at(0.0, later) == 0.0
    for index in range(22, 28):
        advertised.spend(admission(index), 0.0)
    assert advertised.ready_at(0.0, admission(28)) == pytest.approx(1.0)


def test_an_older_answer_changes_nothing() -> None:
    advertised = Advertised(0.0, sent_index=9)
    advertised.read(said("requests", 60, 30, "30s"), admission(9), 0.0)
    advertised.read(said("requests", 60, 0, "60s"), admission(3), 0.0)
    assert advertised.ready_at(0.0, admission(10)) == 0.0


def test_nothing_left_of_a_limit_without_a_period_stops_until_it_is_reset() -> None:
    advertised = Advertised(0.0)
    headers = said("tokens", 150_000, 0, "20m0s")
    advertised.read(headers, admission(), 0.0)
    assert advertised.ready_at(0.0, admission(2)) == 0.0  # it was answered
    advertised.read(headers, admission(2), 0.0, refused=True)
    assert advertised.ready_at(0.0, admission(3)) == 60.0  # a minute, whatever it says


def test_output_that_was_reserved_and_not_used_is_back() -> None:
    advertised = Advertised(0.0)
    advertised.read({**said("output-tokens", 6000, 3000, "30s")}, admission(1), 0.0)
    big = admission(2, max_output=3000)
    advertised.spend(big, 0.0)
    assert advertised.ready_at(0.0, admission(3, max_output=1000)) > 9
    advertised.correct(big, {"input_tokens": 5, "output_tokens": 100})
    assert advertised.ready_at(0.0, admission(3, max_output=1000)) == 0.0


def test_tokens_a_byte_are_learned() -> None:
    advertised = Advertised(0.0)
    for index in range(1, 60):
        asked = admission(index, size=1000)
        advertised.spend(asked, 0.0)
        advertised.correct(asked, {"input_tokens": 500, "output_tokens": 10})
    asked = admission(60, size=1000)
    advertised.spend(asked, 0.0)
    assert asked.costs["input-tokens"] == pytest.approx(500, rel=0.05)
    assert asked.costs["output-tokens"] == pytest.approx(10, abs=5)


@pytest.mark.parametrize(
    "usage", [{}, {"input_tokens": 0}, {"input_tokens": None, "output_tokens": None}]
)
def test_missing_usage_teaches_nothing(usage: Any) -> None:
    advertised, asked = Advertised(0.0), admission(1, size=100)
    advertised.spend(asked, 0.0)
    advertised.correct(asked, usage)
    again = admission(2, size=100)
    advertised.spend(again, 0.0)
    assert again.costs["input-tokens"] == asked.costs["input-tokens"]


NAMES = st.sampled_from(
    [
        f"{name}"
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
        for part in ("limit", "remaining", "reset")
        for name in (f"x-ratelimit-{part}-{kind}", f"anthropic-ratelimit-{kind}-{part}")
    ]
)
VALUES = st.one_of(
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        [
            "0",
            "1",
            "60",
            "1e309",
            "-1",
            "nan",
            "12ms",
            "6m0s",
            DATE,
            "2026-11-21T12:00:00Z",
            "9" * 400,
        ]
    ),
)


@given(st.lists(st.dictionaries(NAMES | st.just("date"), VALUES, max_size=12), max_size=6))
def test_headers_never_raise_and_never_stop_us_for_ever(replies: list[dict[str, str]]) -> None:
    advertised = Advertised(0.0)
    for index, headers in enumerate(replies, 1):
        asked = admission(index)
        advertised.spend(asked, float(index))
        advertised.read(headers, asked, float(index))
    assert advertised.ready_at(10.0, admission(99)) >= 0.0


def test_what_a_stated_limit_reserved_and_nobody_used_is_back_whatever_headers_come() -> None:
    advertised = Advertised(0.0)
    advertised.state("tokens", 6000, 0.0)
    big = admission(1, size=400, max_output=5500)
    advertised.spend(big, 0.0)
    assert advertised.ready_at(0.0, admission(2, max_output=1000)) > 1
    advertised.read(said("requests", 60, 30, "30s"), big, 0.0)  # of another limit
    advertised.correct(big, {"input_tokens": 100, "output_tokens": 20})
    assert advertised.ready_at(0.0, admission(2, max_output=1000)) == 0.0


def test_without_usage_nothing_comes_back() -> None:
    advertised = Advertised(0.0)
    advertised.state("tokens", 6000, 0.0)
    big = admission(1, max_output=5500)
    advertised.spend(big, 0.0)
    advertised.correct(big, {})
    assert advertised.ready_at(0.0, admission(2, max_output=1000)) > 1

"""P27 and P28 over bare sockets: a provider that fails for a moment loses no call, one that refuses is not stormed.

The same on a virtual clock, with more of everything: tests/transport/ratelimit/test_simulated_failures.py.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from support.raw_provider import RawProvider
from support.ways import Ask, by_abatch, by_astream, by_batch, by_gather, by_threads, model_of

from modelwire.errors import Overloaded, RateLimited
from modelwire.transport.ratelimit import limiter


@pytest.fixture(autouse=True)
def waits_of_the_product(real_waits: None) -> None:
    """Wait as the product does: these promises are about its waits."""


def check_a_short_failure(ask: Ask, status: int, seconds: float, calls: int, engine: str) -> None:
    rows = [f"row {n}" for n in range(calls)]
    with RawProvider(
        lambda since_s, _: status if since_s < seconds else 200, latency_s=0.02
    ) as server:
        answers = ask(model_of(server, engine=engine), rows)
        assert [getattr(answer, "text", answer) for answer in answers] == rows
        assert len(server.arrivals) <= 3 * calls
        assert sum(arrival.status == 200 for arrival in server.arrivals) == calls


RESET = 0
WAYS = [by_gather, by_abatch, by_batch, by_threads, by_astream]
ENGINES = ["httpx2", "aiohttp"]


@pytest.mark.long
@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize(
    ("status", "seconds", "calls"),
    [(500, 1.0, 50), (RESET, 0.2, 50), pytest.param(500, 1.0, 200, marks=pytest.mark.long)],
)
def test_a_provider_that_fails_for_a_moment_loses_no_call(
    ask: Ask, status: int, seconds: float, calls: int
) -> None:
    """P27."""
    check_a_short_failure(ask, status, seconds, calls, "httpx2")


@pytest.mark.parametrize("status", [500, RESET])
def test_it_loses_none_on_the_other_engine(status: int) -> None:
    check_a_short_failure(by_gather, status, 1.0, 50, "aiohttp")


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ask", WAYS)
@pytest.mark.parametrize(
    ("status", "seconds", "calls"),
    [(500, 5.0, 20), (502, 0.2, 1000), (500, 1.0, 1000), (RESET, 5.0, 50), (RESET, 1.0, 200)],
)
def test_more_of_the_grid_of_short_failures(
    ask: Ask, status: int, seconds: float, calls: int, engine: str
) -> None:
    """P27."""
    if engine == "aiohttp" and ask in (by_batch, by_threads):
        pytest.skip("sync calls have one engine")
    check_a_short_failure(ask, status, seconds, calls, engine)


def check_a_lasting_refusal(server: RawProvider, requests: int, least_gap_s: float = 0.25) -> None:
    assert max(server.requests_a_call.values()) <= requests
    for text in server.requests_a_call:
        times = [arrival.at_s for arrival in server.arrivals if arrival.text == text]
        assert all(later - earlier >= least_gap_s for earlier, later in pairwise(times))


@pytest.mark.long
@pytest.mark.parametrize(
    ("status", "retry_after"), [(503, None), (503, 0.01), (429, 0.01), (529, 1)]
)
def test_set_retries_bound_the_requests_of_one_call(
    colour: Any, status: int, retry_after: float | None
) -> None:
    """P28: `max_retries=1` are two requests, whatever the provider says."""
    with RawProvider(lambda since_s, _: status, retry_after=retry_after) as server:
        with pytest.raises((Overloaded, RateLimited)) as caught:
            colour.invoke(model_of(server, max_retries=1), "hi")
        assert len(server.arrivals) == len(caught.value.attempts) == 2
        check_a_lasting_refusal(server, 2)
        with pytest.raises((Overloaded, RateLimited)):
            colour.stream(model_of(server, model="another"), "hi", max_retries=1)  # for one call
        assert len(server.arrivals) == 4


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crowd_at_a_lasting_refusal_is_a_handful_of_requests_and_ends_at_max_wait(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P28: with Retry-After 1 it was a request a second, and twice `max_wait`; when it ends, on a virtual clock."""
    monkeypatch.setattr(
        limiter, "_FIRST_ALONE_S", 300.0
    )  # a loaded machine reads the first refusal late
    with RawProvider(lambda since_s, _: 503, retry_after=1) as server:
        outcomes = by_gather(
            model_of(server, engine=engine, max_wait=4), [f"row {n}" for n in range(200)]
        )
        assert {type(outcome) for outcome in outcomes} == {Overloaded}
        assert all("max_wait" in str(outcome) for outcome in outcomes)
        assert len(server.arrivals) <= 15
        check_a_lasting_refusal(server, 4)


@pytest.mark.long
@pytest.mark.parametrize(
    ("status", "retry_after", "calls"),
    [(503, None, 1), (529, 1, 200), (429, 0.01, 200), (429, 5, 1), (503, 30, 200)],
)
def test_more_of_the_grid_of_lasting_refusals(
    status: int, retry_after: float | None, calls: int
) -> None:
    """P28. With 200 calls waiting 15 requests at most, all together."""
    for settings, most in (({}, 10), ({"max_retries": 3}, 4)):
        with RawProvider(lambda since_s, _: status, retry_after=retry_after) as server:
            rows = [f"row {n}" for n in range(calls)]
            outcomes = by_gather(model_of(server, model=str(most), **settings), rows)
            assert {type(outcome) for outcome in outcomes} <= {Overloaded, RateLimited}
            assert (
                len(server.arrivals) <= 40
            )  # fifteen on an idle machine; a starved loop reads the first refusal late
            check_a_lasting_refusal(server, most)


@pytest.mark.long
@pytest.mark.parametrize("ask", [by_batch, by_abatch])
def test_rows_of_a_batch_outwait_refusals_whatever_their_retries_are(ask: Ask) -> None:
    """A row that waits for the provider's limit has not failed."""
    with RawProvider(lambda since_s, _: 503 if since_s < 3 else 200) as server:
        rows = [f"row {n}" for n in range(20)]
        answers = ask(model_of(server, max_retries=1), rows)
        assert [getattr(answer, "text", answer) for answer in answers] == rows

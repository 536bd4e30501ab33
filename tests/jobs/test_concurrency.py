"""How many rows at a time."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire.jobs import concurrency, run_job, runner, window
from modelwire.jobs.concurrency import ConcurrencyTuner
from modelwire.testing import ProviderServer


def sizes(rate_at: Callable[[int], float], seconds: float = 200.0, **settings: Any) -> list[int]:
    """Give a job so many rows a second by its size, and look four times a second; return the sizes it came to."""
    seen, done, now = ConcurrencyTuner(**settings), 0.0, 0.0
    found = [seen.size]
    while now < seconds:
        now += 0.25
        done += 0.25 * rate_at(seen.size)
        seen.observe(now, int(done), full=True)
        if seen.size != found[-1]:
            found.append(seen.size)
    return found


def test_more_at_a_time_as_long_as_more_get_done() -> None:
    assert sizes(lambda size: size / 2, most=1000) == [200, 301, 452, 679, 1000]


def test_where_no_more_get_done_it_goes_back_and_tries_again_in_a_minute() -> None:
    assert sizes(lambda size: min(size / 2, 125.0), seconds=60, most=1000) == [200, 301, 452, 301]
    assert sizes(lambda _: 100.0, seconds=60, most=1000) == [200, 301, 200]
    assert len(sizes(lambda _: 100.0, seconds=300, most=1000)) >= 7


def test_what_is_said_stays() -> None:
    assert sizes(lambda size: size / 2, start=50, most=50) == [50]


def test_a_window_that_is_not_full_is_not_too_small() -> None:
    seen = ConcurrencyTuner(most=1000)
    for n in range(1000):
        seen.observe(n / 4, 100 * n, full=False)
    assert seen.size == 200


@pytest.mark.long
def test_a_job_asks_more_at_a_time_when_that_is_faster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(window, "START", 4)
    monkeypatch.setattr(runner, "MEASURE_INTERVAL_S", 0.02)
    monkeypatch.setattr(concurrency, "_LEAST_S", 0.05)
    rows = [{"text": f"t{n}"} for n in range(400)]
    with ProviderServer(latency=0.3) as server:  # twenty a second at first, on any machine
        result = run_job(
            "{text}", rows, model=server.model(), output=tmp_path / "o.jsonl", quiet=True
        )
        assert (result.rows, result.failed) == (400, 0)
        assert server.counts.max_in_flight > 6
        again = run_job(
            "{text}!",
            rows[:40],
            model=server.model(),
            output=tmp_path / "p.jsonl",
            quiet=True,
            max_concurrency=3,
        )
        assert again.rows == 40

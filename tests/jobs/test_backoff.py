"""Pauses of jobs: they double up to a longest one, obey `Retry-After`, and end where a provider asks for too much."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import RateLimited
from modelwire.jobs.backoff import Backoff
from modelwire.jobs.batch_api import job as job_module

BACKOFF = Backoff(first_s=0.5, longest_s=8.0, patience_s=120.0)


def test_pauses_double_up_to_the_longest() -> None:
    found = [BACKOFF.pause_s(failures) for failures in (1, 2, 3, 5, 6, 5000)]
    assert found == [0.5, 1.0, 2.0, 8.0, 8.0, 8.0]


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e9))
def test_no_pause_is_shorter_than_retry_after_and_none_is_beyond_patience(
    failures: int, retry_after_s: float | None
) -> None:
    pause_s = BACKOFF.pause_s(failures, retry_after_s)
    if retry_after_s is not None and retry_after_s > 120.0:
        assert pause_s is None
    else:
        assert pause_s is not None
        assert max(0.5, retry_after_s or 0.0) <= pause_s <= max(8.0, retry_after_s or 0.0)


@pytest.mark.parametrize(
    ("retry_after_s", "slept"), [(None, [0.5, 1.0]), (20.0, [20.0, 20.0]), (60.0, [])]
)
def test_a_batch_is_not_created_before_the_provider_allows_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, retry_after_s: float | None, slept: list[float]
) -> None:
    pauses: list[float] = []

    def refuse() -> None:
        raise RateLimited("slower", retry_after=retry_after_s)

    monkeypatch.setattr(job_module, "time", SimpleNamespace(sleep=pauses.append))
    events = SimpleNamespace(parts=["one"], done=False)
    reconciler: Any = SimpleNamespace(events=events, create_batches=refuse)
    with pytest.raises(RateLimited):
        job_module.create_batches(reconciler, tries=3, searches=False)
    assert pauses == slept

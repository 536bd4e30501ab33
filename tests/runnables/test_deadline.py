"""Deadlines by themselves."""

from __future__ import annotations

import asyncio
import pickle
from time import monotonic
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidType, Timeout
from modelwire.runnables import RunnablePassthrough
from modelwire.runnables.deadline import check, covered, start_clock

STEP = RunnablePassthrough()  # type: RunnablePassthrough[Any]


@given(st.floats(0.001, 1e6), st.floats(0.001, 1e6))
def test_the_sooner_of_two_limits_holds(first_s: float, second_s: float) -> None:
    before = monotonic()
    outer = start_clock(first_s)
    inner = start_clock(second_s, outer)
    assert before < inner <= outer
    assert inner.limit_s == (first_s if inner == outer else second_s)


@pytest.mark.parametrize("timeout", ["5", None, True, [1]])
def test_timeout_that_is_no_number_is_refused(timeout: Any) -> None:
    with pytest.raises(InvalidType, match="`timeout` must be a number of seconds"):
        start_clock(timeout)


def test_check_raises_only_when_late() -> None:
    check(None, STEP)
    check(monotonic() + 60, STEP)
    with pytest.raises(Timeout, match="`RunnablePassthrough` did not finish within its deadline"):
        check(monotonic() - 1, STEP)


def test_cover_gives_the_result_or_cancels() -> None:
    seen: list[str] = []

    async def work(seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return "done"

    async def main() -> None:
        assert await covered(work(0), None, STEP) == "done"
        assert await covered(work(0), start_clock(60), STEP) == "done"
        with pytest.raises(Timeout, match=r"0\.01 s of `timeout`"):
            await covered(work(60), start_clock(0.01), STEP)

    asyncio.run(main())
    assert seen == ["cancelled"]


def test_cover_passes_a_cancellation_from_outside_on() -> None:
    async def main() -> None:
        task = asyncio.create_task(covered(asyncio.sleep(60), start_clock(60), STEP))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_deadline_survives_pickling() -> None:
    deadline = start_clock(5)
    again = pickle.loads(pickle.dumps(deadline))
    assert again == deadline
    assert again.limit_s == 5

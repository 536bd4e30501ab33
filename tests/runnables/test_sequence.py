"""Sequences: composition, laziness, closing, deadlines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from modelwire.errors import CallerError, InvalidType, Timeout
from modelwire.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    RunnableSequence,
)
from modelwire.runnables.invoke_function import var_child_runnable_config


def double(x: int) -> int:
    return x * 2


def shout(x: str) -> str:
    return x.upper()


class Doubling(Runnable[int, int]):
    """A runnable of the user's own, with nothing but `invoke`."""

    def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
        return input * 2


def test_steps_run_in_order(colour: Any) -> None:
    chain = RunnableLambda(double) | (lambda x: x + 1) | Doubling()
    assert colour.invoke(chain, 3) == 14
    assert colour.stream(chain, 3) == [14]
    assert colour.batch(chain, [1, 2, 3]) == [6, 10, 14]
    assert sorted(colour.batch_as_completed(chain, [1, 2])) == [(0, 6), (1, 10)]
    assert colour.transform(chain, [1, 2]) == [14]


def test_dicts_and_functions_become_runnables_on_both_sides(colour: Any) -> None:
    chain = {"a": double, "b": RunnablePassthrough()} | RunnableLambda(lambda d: d["a"] + d["b"])
    assert colour.invoke(chain, 2) == 6
    assert colour.invoke(double | RunnablePassthrough() | {"x": double}, 2) == {"x": 8}


def test_nested_sequences_are_flattened() -> None:
    a, b, c, d = (RunnableLambda(double) for _ in range(4))
    chain = (a | b) | (c | d)
    assert chain.steps == [a, b, c, d]
    assert (chain.first, chain.middle, chain.last) == (a, [b, c], d)
    assert chain == RunnableSequence(a, b, c, d)
    assert RunnableSequence(first=a, middle=[b], last=c) == (a | b | c)
    assert hash(chain) == hash(RunnableSequence(a, b, c, d))


@pytest.mark.parametrize("thing", [3, "text", None, object()])
def test_something_that_is_no_step_is_refused_where_it_stands(thing: Any) -> None:
    with pytest.raises(InvalidType, match=rf"on the right of `\|`, not a `{type(thing).__name__}`"):
        RunnableLambda(double) | thing
    with pytest.raises(TypeError, match="as step 2 of a `RunnableSequence`"):
        RunnableSequence(double, thing)
    with pytest.raises(CallerError, match="as `k` of a `RunnableParallel`"):
        RunnableParallel(k=thing)


def test_a_class_is_not_taken_for_its_instance() -> None:
    with pytest.raises(InvalidType, match=r"Did you mean `RunnablePassthrough\(\)`"):
        RunnableLambda(double) | RunnablePassthrough
    assert (RunnableLambda(double) | str).invoke(2) == "4"


def test_a_sequence_needs_two_steps() -> None:
    with pytest.raises(ValueError, match="at least 2 steps, got 1"):
        RunnableSequence(double)


def test_keywords_of_a_call_are_the_first_steps(colour: Any) -> None:
    chain = RunnableLambda(lambda x, add=0: x + add) | RunnableLambda(double)
    assert colour.invoke(chain, 1, add=4) == 10


def test_config_reaches_every_step_without_the_name_of_the_outer_run(colour: Any) -> None:
    seen: list[Any] = []
    note = RunnableLambda(lambda x, config: seen.append(config) or x)
    colour.invoke(note | note, 1, {"run_name": "top", "tags": ["t"], "configurable": {"k": 1}})
    assert [config["configurable"] for config in seen] == [{"k": 1}] * 2
    assert not any("run_name" in config for config in seen)


def test_stream_passes_through_token_by_token(colour: Any) -> None:
    order: list[str] = []

    def tokens(_: Any) -> Iterator[str]:
        for token in "abc":
            order.append(f"out {token}")
            yield token

    async def atokens(_: Any) -> AsyncIterator[str]:
        for token in "abc":
            order.append(f"out {token}")
            yield token

    def upper(chunks: Iterator[str]) -> Iterator[str]:
        for chunk in chunks:
            order.append(f"in {chunk}")
            yield chunk.upper()

    async def aupper(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            order.append(f"in {chunk}")
            yield chunk.upper()

    source = RunnableLambda(tokens) if colour.name == "sync" else RunnableLambda(atokens)
    chain = source | RunnablePassthrough() | RunnableGenerator(upper, aupper)
    assert colour.stream(chain, 0) == ["A", "B", "C"]
    assert order == ["out a", "in a", "out b", "in b", "out c", "in c"]
    assert colour.invoke(chain, 0) == "ABC"


def test_step_without_transform_waits_for_the_sum_of_its_input(colour: Any) -> None:
    chain = RunnablePassthrough() | RunnableLambda(shout)
    assert colour.transform(chain, ["a", "b", "c"]) == ["ABC"]
    assert colour.transform(RunnablePassthrough() | Doubling(), [1, 2]) == [6]
    assert colour.transform(RunnablePassthrough() | RunnableLambda(dict), [{"a": 1}, {"b": 2}]) == [
        {"b": 2}
    ]


def test_one_source_item_is_pulled_for_each_output_item() -> None:
    pulled: list[int] = []

    def source() -> Iterator[int]:
        for number in range(10):
            pulled.append(number)
            yield number

    def same(items: Iterator[int]) -> Iterator[int]:
        yield from items

    stream = (RunnableGenerator(same) | RunnablePassthrough() | RunnableGenerator(same)).transform(
        source()
    )
    assert pulled == []
    assert next(stream) == 0
    assert next(stream) == 1
    assert pulled == [0, 1]


def test_closing_a_stream_closes_its_source_at_once() -> None:
    closed: list[str] = []

    def source() -> Iterator[str]:
        try:
            yield from "abc"
        finally:
            closed.append("source")

    def same(items: Iterator[str]) -> Iterator[str]:
        for item in items:  # noqa: UP028 - a user's generator that closes nothing by itself
            yield item

    kept = source()  # the test holds the source, so that nothing but an explicit close can end it
    stream = (RunnablePassthrough() | RunnableGenerator(same)).transform(kept)
    assert next(stream) == "a"
    stream.close()  # type: ignore[attr-defined]
    assert closed == ["source"]


def test_closing_an_async_stream_closes_its_source_at_once() -> None:
    closed: list[str] = []

    async def source() -> AsyncIterator[str]:
        try:
            for token in "abc":
                yield token
        finally:
            closed.append("source")

    async def same(items: AsyncIterator[str]) -> AsyncIterator[str]:
        async for item in items:
            yield item

    async def main() -> None:
        kept = source()
        stream = (
            RunnablePassthrough() | RunnableGenerator(same) | {"k": RunnablePassthrough()}
        ).atransform(kept)
        assert await anext(stream) == {"k": "a"}
        await stream.aclose()  # type: ignore[attr-defined]
        assert closed == ["source"]

    asyncio.run(main())


def test_cancelling_the_reader_cancels_the_step_that_waits() -> None:
    seen: list[str] = []

    async def slow(x: int) -> int:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return x

    async def main() -> None:
        async def read() -> None:
            async for _ in (RunnableLambda(slow) | RunnableLambda(double)).astream(1):
                seen.append("chunk")

        task = asyncio.create_task(read())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen == ["cancelled"]


# ---------------------------------------------------------------- deadlines


def test_sequence_past_its_timeout_stops_between_steps(colour: Any) -> None:
    ran: list[str] = []

    class Sleeping(Runnable[int, int]):
        def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            time.sleep(0.05)
            return input

        async def ainvoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            return self.invoke(input)  # blocks its loop, so that nothing can cover it

    chain = Sleeping() | RunnableLambda(lambda x: ran.append("late") or x)
    with pytest.raises(
        Timeout,
        match=r"`(Sleeping|RunnableSequence)` did not finish within the 0\.01 s of `timeout`",
    ) as caught:
        colour.invoke(chain, 1, {"timeout": 0.01})
    assert isinstance(caught.value, TimeoutError)
    assert ran == []


def test_sync_function_that_returns_late_raises() -> None:
    with pytest.raises(Timeout, match=r"`slow` did not finish within the 0\.01 s"):
        RunnableLambda(lambda x: time.sleep(0.03), name="slow").invoke(1, {"timeout": 0.01})


def test_async_step_of_any_class_is_cancelled_at_the_deadline() -> None:
    class Hanging(Runnable[int, int]):
        def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            raise AssertionError

        async def ainvoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            await asyncio.sleep(60)
            return input

    chain = RunnablePassthrough() | Hanging()
    with pytest.raises(Timeout, match=r"did not finish within the 0\.02 s"):
        asyncio.run(chain.ainvoke(1, {"timeout": 0.02}))

    async def read() -> None:
        async for _ in chain.astream(1, {"timeout": 0.02}):
            raise AssertionError

    with pytest.raises(Timeout, match=r"did not finish within the 0\.02 s"):
        asyncio.run(read())


def test_stream_is_late_in_total(colour: Any) -> None:
    def slowly(chunks: Iterator[int]) -> Iterator[int]:
        for _ in chunks:
            for number in range(100):
                time.sleep(0.01)
                yield number

    async def aslowly(chunks: AsyncIterator[int]) -> AsyncIterator[int]:
        async for _ in chunks:
            for number in range(100):
                await asyncio.sleep(0.01)
                yield number

    chain = RunnablePassthrough() | RunnableGenerator(slowly, aslowly)
    with pytest.raises(Timeout):
        colour.stream(chain, 1, {"timeout": 0.05})


def test_nested_call_keeps_the_outer_deadline(colour: Any) -> None:
    inner = RunnableLambda(lambda x: time.sleep(0.03) or x)
    outer = RunnableLambda(lambda x: inner.invoke(x, {"timeout": 60}))
    with pytest.raises(Timeout, match=r"0\.01 s"):
        colour.invoke(outer, 1, {"timeout": 0.01})


def test_users_own_timeout_error_stays_what_it_is(colour: Any) -> None:
    def fail(x: int) -> int:
        raise TimeoutError("mine")

    async def afail(x: int) -> int:
        raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine") as caught:
        colour.invoke(RunnableLambda(fail, afail) | RunnableLambda(double), 1, {"timeout": 60})
    assert type(caught.value) is TimeoutError


# ---------------------------------------------------------------- counts


def test_invoke_puts_two_frames_between_the_caller_and_a_step() -> None:
    import sys

    depths: list[int] = []

    class Depth(Runnable[int, int]):
        def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            frame = sys._getframe(1)
            while frame.f_code.co_name != "measure":
                depths.append(1)
                frame = frame.f_back  # type: ignore[assignment]
            return input

    chain = Depth() | RunnablePassthrough()

    def measure() -> None:
        chain.invoke(1)

    measure()
    assert len(depths) == 2  # the sequence, and what watches the clock of a class that is not ours


def test_nothing_is_left_in_the_context(colour: Any) -> None:
    colour.invoke(RunnableLambda(double) | RunnableLambda(double), 1, {"tags": ["a"]})
    assert var_child_runnable_config.get() is None


def test_repr_shows_the_steps_as_they_are_written() -> None:
    chain = (
        RunnableLambda(double)
        | {"a": RunnableLambda(shout), "b": RunnablePassthrough()}
        | RunnableLambda(double)
    )
    assert repr(chain) == (
        "RunnableLambda(double)\n"
        "| {\n"
        "    a: RunnableLambda(shout),\n"
        "    b: RunnablePassthrough()\n"
        "  }\n"
        "| RunnableLambda(double)"
    )


def test_a_sequence_works_after_pickling() -> None:
    import pickle

    chain = RunnablePassthrough() | RunnablePassthrough.assign(n=Doubling())
    again = pickle.loads(pickle.dumps(Doubling() | Doubling()))
    assert again.invoke(2) == 8
    assert pickle.loads(pickle.dumps(RunnablePassthrough() | RunnablePassthrough())) == (
        RunnablePassthrough() | RunnablePassthrough()
    )
    assert chain.get_name() == "RunnableSequence"

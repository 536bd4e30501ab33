"""Branches side by side, and streams woven from them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from operator import itemgetter
from typing import Any

import pytest

from modelwire.errors import Timeout
from modelwire.runnables import (
    AddableDict,
    RunnableGenerator,
    RunnableLambda,
    RunnableMap,
    RunnableParallel,
    RunnablePassthrough,
)
from modelwire.runnables.streams import Pulled, atee, tee


def letters(times: int) -> RunnableGenerator[str, str]:
    def repeat(chunks: Iterator[str]) -> Iterator[str]:
        for chunk in chunks:
            for _ in range(times):
                yield chunk

    async def arepeat(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            for _ in range(times):
                yield chunk

    return RunnableGenerator(repeat, arepeat)


def test_every_branch_gets_the_input_and_keys_keep_their_order(colour: Any) -> None:
    parallel = RunnableParallel(b=lambda x: x + 1, a=RunnablePassthrough(), c={"d": itemgetter(0)})
    assert colour.invoke(RunnableParallel({"b": lambda x: x + 1}, a=RunnablePassthrough()), 1) == {
        "b": 2,
        "a": 1,
    }
    assert list(colour.invoke(RunnableParallel(z=str, y=repr, x=RunnablePassthrough()), 1)) == [
        "z",
        "y",
        "x",
    ]
    assert parallel.get_name() == "RunnableParallel<b,a,c>"
    assert RunnableMap is RunnableParallel


def test_branches_that_may_wait_run_side_by_side(colour: Any) -> None:
    meeting = threading.Barrier(2)

    def meet(x: int) -> int:
        meeting.wait(timeout=20)  # passes only when both branches are here at once
        return x

    assert colour.invoke(RunnableParallel(a=meet, b=meet, c=RunnablePassthrough()), 1) == {
        "a": 1,
        "b": 1,
        "c": 1,
    }


def test_branches_that_only_compute_run_in_place(colour: Any) -> None:
    threads: list[int] = []

    async def here(_: Any) -> int:
        return threading.get_ident()

    lone = RunnableParallel(
        a=RunnableLambda(lambda _: threading.get_ident(), here), b=itemgetter("x")
    )
    assert colour.invoke(lone, {"x": 1}) == {"a": threading.get_ident(), "b": 1}
    assert threads == []


def test_max_concurrency_bounds_the_branches(colour: Any) -> None:
    lock = threading.Lock()
    running, most = 0, 0

    def work(x: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1
        return x

    branches = RunnableParallel({str(n): work for n in range(6)})
    assert colour.invoke(branches, 1, {"max_concurrency": 2}) == {str(n): 1 for n in range(6)}
    assert most <= 2


def test_failing_branch_cancels_the_others() -> None:
    seen: list[str] = []

    async def hang(_: int) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append("cancelled")

    async def fail(_: int) -> None:
        await asyncio.sleep(0.01)
        raise ValueError("mine")

    parallel = RunnableParallel(a=hang, b=fail)
    with pytest.raises(ValueError, match="mine"):
        asyncio.run(parallel.ainvoke(1))

    async def read() -> None:
        async for _ in parallel.astream(1):
            seen.append("chunk")

    with pytest.raises(ValueError, match="mine"):
        asyncio.run(read())
    assert seen == ["cancelled", "cancelled"]


def test_error_of_a_branch_comes_through(colour: Any) -> None:
    def fail(_: int) -> int:
        raise KeyError("mine")

    for call in (colour.invoke, colour.stream):
        with pytest.raises(KeyError, match="mine"):
            call(RunnableParallel(a=fail, b=str, c=repr), 1)


def test_stream_weaves_the_chunks_of_all_branches(colour: Any) -> None:
    parallel = RunnableParallel(one=letters(1), two=letters(2), whole=RunnableLambda(str.upper))
    chunks = colour.transform(parallel, "abc")
    assert all(isinstance(chunk, AddableDict) and len(chunk) == 1 for chunk in chunks)
    total = chunks[0]
    for chunk in chunks[1:]:
        total = total + chunk
    assert total == {"one": "abc", "two": "aabbcc", "whole": "ABC"}
    assert colour.invoke(parallel, "abc") == {"one": "abc", "two": "abcabc", "whole": "ABC"}


def test_a_branch_that_waits_does_not_hold_up_another(colour: Any) -> None:
    parallel = RunnableParallel(live=RunnablePassthrough(), whole=RunnableLambda(str.upper))
    chunks = colour.transform(parallel, "ab")
    assert {"whole": "AB"} in chunks
    assert [chunk["live"] for chunk in chunks if "live" in chunk] == ["a", "b"]


def test_weaving_in_place_takes_turns(colour: Any) -> None:
    parallel = RunnableParallel(a=RunnablePassthrough(), b=RunnablePassthrough())
    assert colour.name == "async" or colour.transform(parallel, "xy") == [
        {"a": "x"},
        {"b": "x"},
        {"a": "y"},
        {"b": "y"},
    ]
    assert sorted(str(chunk) for chunk in colour.transform(parallel, "x")) == [
        "{'a': 'x'}",
        "{'b': 'x'}",
    ]


def test_branch_threads_see_the_callers_context() -> None:
    variable: ContextVar[int] = ContextVar("variable", default=0)
    variable.set(5)
    parallel = RunnableParallel(a=lambda _: variable.get(), b=lambda _: variable.get())
    assert parallel.invoke(0) == {"a": 5, "b": 5}
    assert {tuple(chunk.values()) for chunk in parallel.stream(0)} == {(5,)}


def test_leaving_a_woven_stream_ends_its_threads_and_tasks(colour: Any) -> None:
    closed: list[str] = []

    def source() -> Iterator[str]:
        try:
            while True:
                yield "a"
        finally:
            closed.append("source")

    async def asource() -> AsyncIterator[str]:
        try:
            while True:
                await asyncio.sleep(0)
                yield "a"
        finally:
            closed.append("source")

    parallel = RunnableParallel(a=letters(1), b=letters(1))

    def leave() -> None:
        kept = source()
        stream: Any = parallel.transform(kept)
        next(stream)
        stream.close()
        assert closed == ["source"]

    async def aleave() -> None:
        kept = asource()
        stream: Any = parallel.atransform(kept)
        await anext(stream)
        await stream.aclose()
        assert closed == ["source"]
        assert len(asyncio.all_tasks()) == 1

    colour.run(leave, aleave)
    assert not [
        thread for thread in threading.enumerate() if thread.name.startswith("modelwire-parallel")
    ]


def test_parallel_is_covered_by_the_deadline() -> None:
    async def hang(_: int) -> None:
        await asyncio.sleep(60)

    with pytest.raises(Timeout):
        asyncio.run(RunnableParallel(a=hang, b=hang).ainvoke(1, {"timeout": 0.02}))


def test_each_reader_of_a_stream_gets_all_of_it_and_its_error() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise ValueError("source")

    for reader in tee(source(), 2):
        assert next(reader) == 1
        with pytest.raises(ValueError, match="source"):
            next(reader)

    async def asource() -> AsyncIterator[int]:
        yield 1
        raise ValueError("source")

    async def main() -> None:
        for reader in atee(Pulled(asource()), 2):
            assert await anext(reader) == 1
            with pytest.raises(ValueError, match="source"):
                await anext(reader)

    asyncio.run(main())


def test_parallels_of_the_same_branches_are_equal() -> None:
    step = RunnableLambda(str)
    assert RunnableParallel(a=step) == RunnableParallel({"a": step})
    assert RunnableParallel(a=step) != RunnableParallel(b=step)
    assert hash(RunnableParallel(a=step)) == hash(RunnableParallel({"a": step}))


def test_a_branch_that_cancels_itself_ends_the_stream() -> None:
    async def cancelled(x: int) -> int:
        sleeping = asyncio.create_task(asyncio.sleep(30))
        sleeping.cancel()
        await sleeping
        return x

    async def main() -> None:
        parallel = RunnableParallel(a=RunnableLambda(cancelled), b=RunnablePassthrough())

        async def read() -> None:
            async for _ in parallel.astream(1):
                pass

        reading = asyncio.create_task(read())
        done, _ = await asyncio.wait([reading], timeout=20)
        assert done
        assert reading.cancelled()

    asyncio.run(main())


def test_a_branch_that_tires_of_its_input_leaves_it_to_the_others() -> None:
    closed: list[bool] = []

    async def slow(chunks: AsyncIterator[int]) -> AsyncIterator[int]:
        seen = ContextVar("seen", default=0)
        async for _ in chunks:
            token = seen.set(1)
            try:
                for number in range(3):
                    await asyncio.sleep(0.05)
                    yield number
            finally:
                seen.reset(token)  # in the context it was set in, whoever asks for the next number
                closed.append(True)

    async def impatient(chunks: AsyncIterator[int]) -> AsyncIterator[int | str]:
        try:
            async with asyncio.timeout(0.01):
                async for chunk in chunks:
                    yield chunk
        except TimeoutError:
            yield "gave up"

    async def plain(chunks: AsyncIterator[int]) -> AsyncIterator[int]:
        async for chunk in chunks:
            yield chunk

    def chain(*readers: Any) -> Any:
        return RunnableGenerator(slow) | RunnableParallel(
            {str(i): RunnableGenerator(r) for i, r in enumerate(readers)}
        )

    async def read(*readers: Any) -> list[Any]:
        chunks = [chunk async for chunk in chain(*readers).astream(1)]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return chunks

    async def main() -> None:
        async with asyncio.timeout(20):
            assert await read(impatient, plain) == [{"0": "gave up"}, {"1": 0}, {"1": 1}, {"1": 2}]
            assert await read(impatient, impatient) == [{"0": "gave up"}, {"1": "gave up"}]
        assert closed == [True, True]

    asyncio.run(main())


def test_branches_still_queued_do_not_start_after_a_failure_or_an_early_leave(colour: Any) -> None:
    started: list[str] = []

    def branch(key: str) -> Any:
        def run(_: int) -> Iterator[int]:
            started.append(key)
            if key == "a":
                raise ValueError("mine")
            time.sleep(0.2)  # The reader of the branch before this one leaves meanwhile.
            yield 1
            yield 2

        async def arun(_: int) -> AsyncIterator[int]:
            for item in run(_):
                yield item

        return RunnableLambda(run, arun)

    failing = RunnableParallel({key: branch(key) for key in "abcd"})
    with pytest.raises(ValueError, match="mine"):
        colour.stream(failing, 1, {"max_concurrency": 1})
    assert started == ["a"]

    started.clear()
    left = RunnableParallel({key: branch(key) for key in "bcdefgh"})

    def leave() -> None:
        stream: Any = left.stream(1, {"max_concurrency": 1})
        next(stream)
        stream.close()

    async def aleave() -> None:
        stream: Any = left.astream(1, {"max_concurrency": 1})
        await anext(stream)
        await stream.aclose()

    colour.run(leave, aleave)
    assert len(started) < 7

"""Random chains, called in every way and broken off in every way.

Each start has one end, a stream adds up to what `invoke` gives, and nothing is left: no task, no open generator.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from json import dumps
from typing import Any

import pytest

from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from modelwire.errors import Timeout
from modelwire.language_models import FakeListChatModel
from modelwire.output_parsers import JsonOutputParser, StrOutputParser
from modelwire.runnables import (
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
)
from modelwire.runnables.addable import collected
from modelwire.tools import StructuredTool
from modelwire.tracers.base import BaseTracer

KINDS = ("chain", "chat_model", "llm", "tool", "retriever")
NAP_S = 0.002


class Mine(ValueError):
    """What a step of a chain raises."""


class Book:
    """The starts and ends that one handler hears, and their order."""

    def __init__(self) -> None:
        self.starts: Counter[Any] = Counter()
        self.ends: Counter[Any] = Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()

    def note(self, event: str, run_id: Any) -> None:
        with self.lock:
            if event.endswith("_start"):
                self.starts[run_id] += 1
            else:
                self.ends[run_id] += 1
                if not self.starts[run_id]:
                    self.wrong.append(f"{event} before its start")

    def check(self) -> None:
        assert self.wrong == []
        assert self.starts == self.ends
        assert set(self.starts.values()) <= {1}


class Hearing(BaseCallbackHandler):
    def __init__(self, *, inline: bool, nap_s: float) -> None:
        self.book, self.run_inline, self.nap_s = Book(), inline, nap_s

    def hear(self, event: str, run_id: Any) -> None:
        if self.nap_s and event.endswith("_start"):
            time.sleep(self.nap_s)
        self.book.note(event, run_id)


class AHearing(AsyncCallbackHandler):
    def __init__(self, *, inline: bool, nap_s: float) -> None:
        self.book, self.run_inline, self.nap_s = Book(), inline, nap_s

    async def hear(self, event: str, run_id: Any) -> None:
        self.book.note(event, run_id)
        if self.nap_s:
            await asyncio.sleep(self.nap_s)


def _hearing(event: str) -> Any:
    def hear(self: Any, *args: Any, run_id: Any, **kwargs: Any) -> Any:
        self.hear(event, run_id)

    async def ahear(self: Any, *args: Any, run_id: Any, **kwargs: Any) -> Any:
        await self.hear(event, run_id)

    return hear, ahear


for kind in KINDS:
    for step in ("start",) if kind == "chat_model" else ("start", "end", "error"):
        named = f"on_{kind}_{step}"
        sync_hear, async_hear = _hearing(named)
        setattr(Hearing, named, sync_hear)
        setattr(AHearing, named, async_hear)


class Tracer(BaseTracer):
    def _persist_run(self, run: Any) -> None:
        """Keep nothing."""


class World:
    """What a chain leaves behind: generators that began and did not end."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.open = 0

    def begin(self) -> None:
        with self.lock:
            self.open += 1

    def end(self) -> None:
        with self.lock:
            self.open -= 1


class Chains:
    """Makes chains from text to text."""

    def __init__(self, rng: random.Random, world: World, *, asynchronous: bool, naps: bool) -> None:
        self.rng, self.world, self.asynchronous = rng, world, asynchronous
        self.nap_s = NAP_S if naps else 0.0
        self.faulty = self.hides_faults = False

    def chain(self, depth: int) -> Any:
        steps = [self.step(depth) for _ in range(self.rng.randint(1, 3))]
        made = steps[0]
        for one in steps[1:]:
            made = made | one
        return made

    def step(self, depth: int) -> Any:
        leaves = [
            self.function,
            self.generator,
            self.passthrough,
            self.own,
            self.model,
            self.telling,
            self.tool,
        ]
        nodes = [
            self.parallel,
            self.assign,
            self.fallbacks,
            self.retry,
            self.branch,
            self.returned,
            self.bound,
            self.listened,
            self.mapped,
            self.json,
            self.nested,
        ]
        if self.rng.random() < 0.06:
            return self.fault()
        return self.rng.choice(leaves if depth == 0 or self.rng.random() < 0.5 else nodes)(
            depth - 1
        )

    # leaves

    def function(self, depth: int) -> Any:
        letter, nap_s = self.rng.choice("abc"), self.nap_s

        def work(text: str) -> str:
            if nap_s:
                time.sleep(nap_s)
            return text + letter

        async def awork(text: str) -> str:
            await asyncio.sleep(nap_s)
            return text + letter

        return RunnableLambda(
            work, awork if self.asynchronous and self.rng.random() < 0.7 else None
        )

    def generator(self, depth: int) -> Any:
        world, nap_s = self.world, self.nap_s

        def each(chunks: Iterator[str]) -> Iterator[str]:
            world.begin()
            try:
                for chunk in chunks:
                    yield from chunk
                yield "."
            finally:
                world.end()

        async def aeach(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
            world.begin()
            try:
                async for chunk in chunks:
                    for letter in chunk:
                        await asyncio.sleep(nap_s)
                        yield letter
                yield "."
            finally:
                world.end()

        return RunnableGenerator(
            each, aeach if self.asynchronous and self.rng.random() < 0.7 else None
        )

    def passthrough(self, depth: int) -> Any:
        return RunnablePassthrough()

    def telling(self, depth: int) -> Any:
        return RunnablePassthrough(lambda _: None)

    def own(self, depth: int) -> Any:
        world, nap_s = self.world, self.nap_s

        class Own(Runnable[str, str]):
            def invoke(self, input: str, config: Any = None, **kwargs: Any) -> str:
                return "".join(self.stream(input))

            def stream(self, input: str, config: Any = None, **kwargs: Any) -> Iterator[str]:
                world.begin()
                try:
                    yield input
                    yield "o"
                finally:
                    world.end()

            async def astream(
                self, input: str, config: Any = None, **kwargs: Any
            ) -> AsyncIterator[str]:
                world.begin()
                try:
                    yield input
                    await asyncio.sleep(nap_s)
                    yield "o"
                finally:
                    world.end()

        return Own()

    def model(self, depth: int) -> Any:
        return FakeListChatModel(responses=["word"]) | StrOutputParser()

    def tool(self, depth: int) -> Any:
        def shout(text: str) -> str:
            """Shout."""
            return text.upper()

        return StructuredTool.from_function(shout)

    def fault(self) -> Any:
        self.faulty = True

        def fail(_: Any) -> str:
            raise Mine("mine")

        async def afail(_: Any) -> str:
            raise Mine("mine")

        return RunnableLambda(fail, afail if self.rng.random() < 0.5 else None)

    # what is made of others

    def parallel(self, depth: int) -> Any:
        branches = {key: self.chain(depth) for key in "xyz"[: self.rng.randint(1, 3)]}
        join = RunnableLambda(lambda made: "".join(f"{key}{made[key]}" for key in sorted(made)))
        return RunnableParallel(branches) | join

    def assign(self, depth: int) -> Any:
        made = RunnableLambda(lambda text: {"q": text, "n": 1}) | RunnablePassthrough.assign(
            x=self.as_key(depth)
        )
        how = self.rng.randrange(3)
        if how == 0:
            return made.pick("x")
        if how == 1:
            return made.pick(["q", "x"]) | RunnableLambda(lambda kept: kept["q"] + kept["x"])
        return made | RunnableLambda(lambda kept: f"{kept['q']}{kept['n']}{kept['x']}")

    def as_key(self, depth: int) -> Any:
        return RunnableLambda(lambda given: given["q"]) | self.chain(depth)

    def json(self, depth: int) -> Any:
        letters = RunnableLambda(
            lambda text: dumps({"a": f"{len(text)}", "b": [1, 2], "c": 12})
        ) | self.generator(depth)
        values = (
            letters
            | RunnableLambda(lambda text: text.rstrip("."))
            | self.letters()
            | JsonOutputParser()
        )
        how = self.rng.randrange(4)
        if how == 0:
            return values | RunnableLambda(str)
        if how == 1:
            return values.assign(d=lambda given: given["a"]) | RunnableLambda(
                lambda given: str(sorted(given.items()))
            )
        if how == 2:  # a generator would get each version of the text
            return values.pick("a") | RunnableLambda(str)
        branches = RunnableParallel(v=values, w=values.pick("b"))
        return branches | RunnableLambda(lambda made: f"{made['v']}{made['w']}")

    def letters(self) -> Any:
        def split(chunks: Iterator[str]) -> Iterator[str]:
            for chunk in chunks:
                yield from chunk

        return RunnableGenerator(split)

    def fallbacks(self, depth: int) -> Any:
        self.hides_faults = True
        return self.chain(depth).with_fallbacks([self.chain(depth)])

    def retry(self, depth: int) -> Any:
        return self.chain(depth).with_retry(stop_after_attempt=2, wait_exponential_jitter=False)

    def branch(self, depth: int) -> Any:
        return RunnableBranch(
            (lambda text: len(text) % 2 == 0, self.chain(depth)), self.chain(depth)
        )

    def returned(self, depth: int) -> Any:
        inner = self.chain(depth)
        return RunnableLambda(lambda _: inner)

    def bound(self, depth: int) -> Any:
        return self.chain(depth).with_config(tags=["t"], run_name="bound")

    def listened(self, depth: int) -> Any:
        return self.chain(depth).with_listeners(on_start=lambda run: None)

    def mapped(self, depth: int) -> Any:
        return (
            RunnableLambda(lambda text: [text, "m"])
            | self.chain(depth).map()
            | RunnableLambda("".join)
        )

    def nested(self, depth: int) -> Any:
        inner = self.chain(depth)

        def call(text: str) -> str:
            return str(inner.invoke(text))

        async def acall(text: str) -> str:
            return "".join([str(chunk) async for chunk in inner.astream(text)])

        return RunnableLambda(call, acall if self.asynchronous else None)


EXPECTED = (Mine, Timeout, asyncio.CancelledError)


def handlers_for(rng: random.Random, *, asynchronous: bool) -> list[Any]:
    naps = (0.0, 0.0, NAP_S)
    made: list[Any] = [Hearing(inline=True, nap_s=0.0)]
    if rng.random() < 0.5:
        made.append(Hearing(inline=False, nap_s=rng.choice(naps)))
    if rng.random() < (0.6 if asynchronous else 0.1):
        made.append(
            AHearing(inline=rng.random() < 0.5, nap_s=rng.choice(naps) if asynchronous else 0.0)
        )
    made.append(Tracer())
    rng.shuffle(made)
    return made


def check(handlers: list[Any], world: World) -> None:
    for handler in handlers:
        if isinstance(handler, Tracer):
            assert handler.run_map == {}
        else:
            handler.book.check()
    assert world.open == 0


def run_sync(rng: random.Random) -> str:
    world = World()
    way = rng.choice(["whole", "left", "timeout", "batch"])
    chains = Chains(rng, world, asynchronous=False, naps=way == "timeout")
    chain, handlers = chains.chain(3), handlers_for(rng, asynchronous=False)
    config: Any = {"callbacks": handlers, "max_concurrency": rng.choice([1, 2, None])}
    if way == "timeout":
        config["timeout"] = rng.choice([0.001, 0.004, 0.01])
        for call in (lambda: chain.invoke("hi", config), lambda: list(chain.stream("hi", config))):
            outcome_of(call)
    elif way == "left":
        stream = chain.stream("hi", config)
        outcome_of(lambda: [next(stream, None) for _ in range(rng.randint(0, 3))])
        stream.close()
    elif way == "batch":
        outcome_of(
            lambda: chain.batch(["a", "b", "c"], config, return_exceptions=rng.random() < 0.5)
        )
    else:
        compare(
            chains,
            outcome_of(lambda: chain.invoke("hi", config)),
            outcome_of(lambda: list(chain.stream("hi", config))),
        )
    check(handlers, world)
    return way


def outcome_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except EXPECTED as exc:
        return exc


def compare(chains: Chains, whole: Any, chunks: Any) -> None:
    if isinstance(whole, BaseException):
        assert chains.faulty
        assert type(whole) is Mine
        assert isinstance(chunks, Mine), (whole, chunks)
    elif isinstance(chunks, BaseException):
        # a stream does not fall back once its first chunk has come
        assert chains.faulty and chains.hides_faults
        assert type(chunks) is Mine
    else:
        assert (collected(chunks) if chunks else None) == whole


async def aoutcome_of(work: Any) -> Any:
    try:
        return await work
    except EXPECTED as exc:
        return exc


async def run_async(rng: random.Random) -> str:
    world = World()
    way = rng.choice(["whole", "left", "timeout", "batch", "cancel", "cancel stream", "events"])
    chains = Chains(
        rng, world, asynchronous=True, naps=way in ("timeout", "cancel", "cancel stream")
    )
    chain, handlers = chains.chain(3), handlers_for(rng, asynchronous=True)
    config: Any = {"callbacks": handlers, "max_concurrency": rng.choice([1, 2, None])}

    async def streamed() -> list[Any]:
        stream = chain.astream("hi", config)
        try:
            return [chunk async for chunk in stream]
        finally:
            await stream.aclose()

    async def left(stream: Any) -> None:
        try:
            for _ in range(rng.randint(0, 3)):
                try:
                    await anext(stream)
                except StopAsyncIteration:
                    break
        finally:
            await stream.aclose()

    if way == "timeout":
        config["timeout"] = rng.choice([0.001, 0.004, 0.01])
        await aoutcome_of(chain.ainvoke("hi", config))
        await aoutcome_of(streamed())
    elif way == "left":
        await aoutcome_of(left(chain.astream("hi", config)))
    elif way == "events":
        await aoutcome_of(left(chain.astream_events("hi", config)))
    elif way == "batch":
        await aoutcome_of(
            chain.abatch(["a", "b", "c"], config, return_exceptions=rng.random() < 0.5)
        )
    elif way.startswith("cancel"):
        task = asyncio.create_task(chain.ainvoke("hi", config) if way == "cancel" else streamed())
        for _ in range(rng.randint(0, 12)):
            await asyncio.sleep(0)
        if rng.random() < 0.7:
            await asyncio.sleep(rng.random() * 0.01)
        task.cancel()
        await aoutcome_of(task)
    else:
        compare(
            chains, await aoutcome_of(chain.ainvoke("hi", config)), await aoutcome_of(streamed())
        )
    await settled(world, handlers)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    check(handlers, world)
    return way


async def settled(world: World, handlers: list[Any]) -> None:
    """Wait for what cannot be interrupted: functions in threads, and handlers that hear of an end."""
    for _ in range(400):
        books = [handler.book for handler in handlers if not isinstance(handler, Tracer)]
        quiet = (
            len(asyncio.all_tasks()) == 1
            and world.open == 0
            and all(one.starts == one.ends for one in books)
        )
        if quiet and all(not one.run_map for one in handlers if isinstance(one, Tracer)):
            return
        await asyncio.sleep(0.005)


def fuzz(seeds: range) -> Counter[str]:
    ways: Counter[str] = Counter()
    for seed in seeds:
        rng = random.Random(seed)
        noise: list[Any] = []
        hook, sys.unraisablehook = sys.unraisablehook, noise.append
        try:
            if rng.random() < 0.4:
                ways["sync " + run_sync(rng)] += 1
            else:
                ways["async " + asyncio.run(heard(run_async(rng), noise))] += 1
            if seed % 50 == 0:
                gc.collect()
        except BaseException as exc:
            exc.add_note(f"seed {seed}")
            raise
        finally:
            sys.unraisablehook = hook
        assert noise == [], f"seed {seed}: {noise}"
    return ways


async def heard(work: Any, noise: list[Any]) -> Any:
    """Run `work`; what the loop has to complain of is kept."""
    asyncio.get_running_loop().set_exception_handler(lambda _, about: noise.append(about))
    return await work


@pytest.mark.long
def test_random_chains_leave_nothing_behind() -> None:
    assert len(fuzz(range(100))) == 11


@pytest.mark.long
def test_many_random_chains_leave_nothing_behind() -> None:
    fuzz(range(100, 5300))

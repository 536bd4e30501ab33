"""Each start has exactly one end, whatever happens while handlers hear of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from modelwire.callbacks import AsyncCallbackHandler, BaseCallbackHandler, CallbackManager
from modelwire.errors import ModelwireError, Timeout
from modelwire.language_models import FakeListChatModel
from modelwire.retrievers import BaseRetriever
from modelwire.runnables import RunnableGenerator, RunnableLambda
from modelwire.runnables.deadline import covered, start_clock
from modelwire.tools import BaseTool, ToolException, tool
from modelwire.tracers.base import BaseTracer

KINDS = ("chain", "chat_model", "llm", "tool", "retriever")


class Ledger(BaseCallbackHandler):
    """Counts the starts and ends of each run."""

    def __init__(self) -> None:
        self.starts: Counter[Any] = Counter()
        self.ends: Counter[Any] = Counter()
        self.order: list[str] = []

    def check(self, *, runs: int | None = None) -> None:
        assert self.starts == self.ends
        assert set(self.starts.values()) <= {1}
        assert runs is None or len(self.starts) == runs

    def note(self, event: str, run_id: Any) -> None:
        (self.starts if event.endswith("_start") else self.ends)[run_id] += 1
        self.order.append(event)


def _noting(event: str) -> Any:
    def hear(self: Any, *args: Any, run_id: Any, **kwargs: Any) -> None:
        self.note(event, run_id)

    return hear


for kind in KINDS:
    for step in ("start",) if kind == "chat_model" else ("start", "end", "error"):
        setattr(Ledger, f"on_{kind}_{step}", _noting(f"on_{kind}_{step}"))


class Inline(Ledger):
    run_inline = True


class Slow(Ledger):
    """Hears of a start in a thread, for as long as it is held."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Event()

    def note(self, event: str, run_id: Any) -> None:
        if event.endswith("_start"):
            self.begun.set()
            time.sleep(0.05)
        super().note(event, run_id)


class ASlow(AsyncCallbackHandler):
    """Hears of a start in a coroutine, for ever."""

    def __init__(self, *, inline: bool) -> None:
        self.run_inline = inline
        self.ledger = Ledger()
        self.begun = threading.Event()

    async def note(self, event: str, run_id: Any) -> None:
        self.ledger.note(event, run_id)
        if event.endswith("_start"):
            self.begun.set()
            await asyncio.sleep(60)

    async def on_chain_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_chain_start", run_id)

    async def on_chat_model_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_chat_model_start", run_id)

    async def on_tool_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_tool_start", run_id)

    async def on_retriever_start(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_retriever_start", run_id)

    async def on_chain_error(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_chain_error", run_id)

    async def on_llm_error(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_llm_error", run_id)

    async def on_tool_error(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_tool_error", run_id)

    async def on_retriever_error(self, *args: Any, run_id: Any, **kwargs: Any) -> None:
        await self.note("on_retriever_error", run_id)


class Tracer(BaseTracer):
    def _persist_run(self, run: Any) -> None:
        """Keep nothing."""


class Nothing(BaseRetriever):
    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Any]:
        return []


@tool
def shout(text: str) -> str:
    """Shout."""
    return text.upper()


def count(_: Iterator[Any]) -> Iterator[int]:
    yield from range(3)


SUBJECTS: dict[str, Any] = {
    "lambda": RunnableLambda(lambda x: x),
    "sequence": RunnableLambda(lambda x: x) | (lambda x: x),
    "generator": RunnableGenerator(count),
    "model": FakeListChatModel(responses=["hi"]),
    "tool": shout,
    "retriever": Nothing(),
}
subjects = pytest.mark.parametrize("subject", SUBJECTS.values(), ids=SUBJECTS.keys())


async def drained(stream: Any) -> None:
    async for _ in stream:
        pass


@subjects
@pytest.mark.parametrize("way", ["ainvoke", "astream"])
@pytest.mark.parametrize("how", ["cancelled", "out of time"])
@pytest.mark.parametrize("slow", ["thread", "coroutine", "inline"])
def test_a_call_that_ends_while_handlers_hear_its_start(
    subject: Any, way: str, how: str, slow: str
) -> None:
    handler: Any = Slow() if slow == "thread" else ASlow(inline=slow == "inline")
    ledger = getattr(handler, "ledger", handler)
    before, after, inline, tracer = Ledger(), Ledger(), Inline(), Tracer()
    config: Any = {"callbacks": [before, inline, handler, after, tracer]}

    def call(given: Any) -> Any:
        return (
            subject.ainvoke("x", given)
            if way == "ainvoke"
            else drained(subject.astream("x", given))
        )

    async def main() -> None:
        if how == "cancelled":
            task = asyncio.create_task(call(config))
            while not handler.begun.is_set():  # noqa: ASYNC110 - a thread sets it
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            with pytest.raises(Timeout):
                await covered(call(config), start_clock(0.02), subject)

    asyncio.run(main())
    for one in (ledger, before, after, inline):
        one.check()
    assert sum(ledger.starts.values()) >= 1
    assert ledger.order[-1].endswith("_error")
    assert tracer.run_map == {}


class Loud(BaseCallbackHandler):
    """Raises as it hears of one event."""

    raise_error = True

    def __init__(self, event: str, error: BaseException, *, inline: bool) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise error

        self.run_inline = inline
        setattr(self, event, fail)


@pytest.mark.parametrize("inline", [False, True], ids=["", "inline"])
@pytest.mark.parametrize("event", ["start", "end"])
@subjects
def test_a_handler_that_raises_leaves_no_run_open(
    colour: Any, subject: Any, event: str, inline: bool
) -> None:
    kind = {"model": "llm", "tool": "tool", "retriever": "retriever"}.get(_name(subject), "chain")
    named = "on_chat_model_start" if (kind, event) == ("llm", "start") else f"on_{kind}_{event}"
    for error in (ValueError("mine"), KeyboardInterrupt()) if inline else (ValueError("mine"),):
        first, last = Inline(), Ledger()
        config = {"callbacks": [first, Loud(named, error, inline=inline), last]}
        with pytest.raises(type(error)):
            colour.invoke(subject, "x", config)
        first.check()
        last.check()
        assert first.starts


def _name(subject: Any) -> str:
    return next(name for name, one in SUBJECTS.items() if one is subject)


def test_the_end_reaches_all_inline_handlers_although_the_caller_is_cancelled() -> None:
    async def main() -> None:
        begun = asyncio.Event()

        class Hanging(AsyncCallbackHandler):
            run_inline = True

            async def on_chain_end(self, *args: Any, **kwargs: Any) -> None:
                begun.set()
                await asyncio.sleep(60)

        inline, other = Inline(), Ledger()
        config: Any = {"callbacks": [Hanging(), inline, other]}
        task = asyncio.create_task(RunnableLambda(lambda x: x).ainvoke(1, config))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        inline.check(runs=1)
        other.check(runs=1)

    asyncio.run(asyncio.wait_for(main(), 10))


class Unspeakable:
    def __str__(self) -> str:
        raise ZeroDivisionError("no words")

    __repr__ = __str__


def test_a_tool_whose_result_or_handler_raises_has_one_end(colour: Any) -> None:
    def worse(_: Exception) -> str:
        raise KeyError("worse")

    class Failing(BaseTool):
        name: str = "failing"
        description: str = "Fails."

        def _run(self, text: str) -> Any:
            raise ToolException("bad")

    class Mute(BaseTool):
        name: str = "mute"
        description: str = "Says nothing."

        def _run(self, text: str) -> Any:
            return Unspeakable()

    call = {"type": "tool_call", "id": "1", "name": "x", "args": {"text": "x"}}
    for subject, error in (
        (Failing(handle_tool_error=worse), KeyError),
        (Mute(), ZeroDivisionError),
    ):
        ledger, tracer = Ledger(), Tracer()
        with pytest.raises(error):
            colour.invoke(subject, call, {"callbacks": [ledger, tracer]})
        ledger.check(runs=1)
        assert ledger.order == ["on_tool_start", "on_tool_error"]
        assert tracer.run_map == {}


def test_a_stream_whose_chunks_refuse_to_add_is_reported(colour: Any) -> None:
    class Stubborn:
        def __add__(self, other: Any) -> Any:
            raise ValueError("never")

    def two(_: Iterator[Any]) -> Iterator[Any]:
        yield Stubborn()
        yield Stubborn()

    ledger = Inline()
    assert len(colour.stream(RunnableGenerator(two), 1, {"callbacks": [ledger]})) == 2
    ledger.check(runs=1)
    assert ledger.order[-1] == "on_chain_end"


def test_who_did_not_hear_of_a_start_hears_of_no_end() -> None:
    first, last = Inline(), Ledger()
    manager = CallbackManager(
        [first, Loud("on_chain_start", ModelwireError("mine"), inline=True), last]
    )
    with pytest.raises(ModelwireError, match="mine"):
        manager.on_chain_start({}, "x")
    first.check(runs=1)
    last.check(runs=0)

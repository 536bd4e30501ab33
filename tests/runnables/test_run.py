"""What listeners hear: every start has exactly one end or error, under the right names and tags."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.runnables import (
    Runnable,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnablePassthrough,
    chain,
)


class Listener(BaseCallbackHandler):
    """Keeps what it hears, as short tuples."""

    run_inline = True

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any, Any]] = []
        self.names: dict[UUID, str] = {}
        self.tags: dict[str, list[str]] = {}
        self.parents: dict[str, str | None] = {}
        self.ends: Counter[UUID] = Counter()
        self.inputs: dict[str, Any] = {}

    def on_chain_start(
        self,
        serialized: Any,
        inputs: Any,
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        **about: Any,
    ) -> None:
        name = about["name"]
        self.names[run_id] = name
        self.tags[name] = about["tags"]
        self.parents[name] = self.names.get(parent_run_id) if parent_run_id is not None else None
        self.heard.append(("start", name, inputs))

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **about: Any) -> None:
        self.ends[run_id] += 1
        self.inputs[self.names[run_id]] = about.get("inputs")
        self.heard.append(("end", self.names[run_id], outputs))

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> None:
        self.ends[run_id] += 1
        self.heard.append(("error", self.names[run_id], error))

    def check(self) -> None:
        """Every run that started is over, once."""
        assert self.ends == dict.fromkeys(self.names, 1)


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.check()


def first(x: Any) -> Any:
    return x + 1


def second(x: Any) -> Any:
    return x * 2


def fail(_: Any) -> Any:
    raise ValueError("mine")


def test_invoke_reports_steps_inside_the_sequence(colour: Any, listener: Listener) -> None:
    steps = RunnableLambda(first) | RunnableLambda(second)
    assert colour.invoke(steps, 1, {"callbacks": [listener], "tags": ["b", "a"]}) == 4
    assert listener.heard == [
        ("start", "RunnableSequence", 1),
        ("start", "first", 1),
        ("end", "first", 2),
        ("start", "second", 2),
        ("end", "second", 4),
        ("end", "RunnableSequence", 4),
    ]
    assert listener.tags == {
        "RunnableSequence": ["b", "a"],
        "first": ["seq:step:1", "b", "a"],
        "second": ["seq:step:2", "b", "a"],
    }
    assert listener.parents == {
        "RunnableSequence": None,
        "first": "RunnableSequence",
        "second": "RunnableSequence",
    }


def test_stream_reports_inputs_at_the_end(colour: Any, listener: Listener) -> None:
    steps = RunnableLambda(first) | RunnablePassthrough()
    assert colour.stream(steps, 1, {"callbacks": [listener]}) == [2]
    assert listener.heard == [
        ("start", "RunnableSequence", {"input": ""}),
        ("start", "first", {"input": ""}),
        ("start", "RunnablePassthrough", {"input": ""}),
        ("end", "first", 2),
        ("end", "RunnablePassthrough", 2),
        ("end", "RunnableSequence", 2),
    ]
    assert listener.inputs == {"RunnableSequence": 1, "first": 1, "RunnablePassthrough": 2}


def test_stream_reports_the_sum_of_its_chunks(colour: Any, listener: Listener) -> None:
    def letters(chunks: Iterator[str]) -> Iterator[str]:
        for chunk in chunks:
            yield from chunk

    async def aletters(chunks: AsyncIterator[str]) -> AsyncIterator[str]:
        async for chunk in chunks:
            for letter in chunk:
                yield letter

    runnable = RunnableGenerator(letters, aletters) | RunnablePassthrough()
    assert colour.transform(runnable, ["ab", "c"], {"callbacks": [listener]}) == ["a", "b", "c"]
    assert {event[2] for event in listener.heard if event[0] == "end"} == {"abc"}


def test_parallel_assign_pick_and_map_report_under_their_names(
    colour: Any, listener: Listener
) -> None:
    runnable = (
        RunnableParallel(k=RunnableLambda(first))
        | RunnablePassthrough.assign(z=RunnableLambda(lambda d: d["k"] * 2, name="inner"))
        | RunnableLambda(lambda d: [d["k"]], name="list")
        | RunnableLambda(second, name="each").map()
    )
    assert colour.invoke(runnable, 1, {"callbacks": [listener]}) == [4]
    assert listener.parents == {
        "RunnableSequence": None,
        "RunnableParallel<k>": "RunnableSequence",
        "first": "RunnableParallel<k>",
        "RunnableAssign<z>": "RunnableSequence",
        "RunnableParallel<z>": "RunnableAssign<z>",
        "inner": "RunnableParallel<z>",
        "list": "RunnableSequence",
        "RunnableEach<each>": "RunnableSequence",
        "each": "RunnableEach<each>",
    }
    assert listener.tags["first"] == ["map:key:k"]


def test_streams_of_dicts_report_every_run_once(colour: Any, listener: Listener) -> None:
    runnable = RunnableParallel(a=first, b=second) | RunnablePassthrough.assign(
        c=lambda d: d["a"] + d["b"]
    )
    chunks = colour.stream(runnable.pick("c"), 1, {"callbacks": [listener]})
    assert chunks == [4]
    assert len(listener.names) == 8


def test_error_is_reported_from_the_inside_out(colour: Any, listener: Listener) -> None:
    for call in (colour.invoke, colour.stream):
        listener.heard.clear()
        with pytest.raises(ValueError, match="mine"):
            call(RunnableLambda(first) | RunnableLambda(fail), 1, {"callbacks": [listener]})
        assert [event[1] for event in listener.heard if event[0] == "error"] == [
            "fail",
            "RunnableSequence",
        ]


def test_run_name_and_id_are_the_outer_runs_alone(colour: Any, listener: Listener) -> None:
    run_id = uuid4()
    config = {"callbacks": [listener], "run_name": "top", "run_id": run_id}
    colour.invoke(RunnableLambda(first) | RunnableLambda(second), 1, config)
    assert listener.names[run_id] == "top"
    assert sorted(listener.names.values()) == ["first", "second", "top"]


def test_nested_call_in_a_function_is_a_child(colour: Any, listener: Listener) -> None:
    inner = RunnableLambda(first)

    @chain
    def outer(x: int) -> int:
        return inner.invoke(x)  # type: ignore[no-any-return]

    colour.invoke(outer, 1, {"callbacks": [listener]})
    assert listener.parents == {"outer": None, "first": "outer"}


def test_nested_call_in_an_async_function_is_a_child(listener: Listener) -> None:
    inner = RunnableLambda(first)

    @chain
    async def outer(x: int) -> int:
        return await inner.ainvoke(x)  # type: ignore[no-any-return]

    asyncio.run(outer.ainvoke(1, {"callbacks": [listener]}))
    assert listener.parents == {"outer": None, "first": "outer"}


def test_returned_runnable_is_a_child(colour: Any, listener: Listener) -> None:
    inner = RunnableLambda(first)
    outer = RunnableLambda(lambda _: inner, name="outer")
    assert colour.invoke(outer, 1, {"callbacks": [listener]}) == 2
    assert colour.stream(outer, 1, {"callbacks": [listener]}) == [2]
    assert listener.parents == {"outer": None, "first": "outer"}


def test_binding_has_no_run_of_its_own(colour: Any, listener: Listener) -> None:
    bound = RunnableLambda(first).with_config(callbacks=[listener], tags=["t"], run_name="named")
    assert colour.invoke(bound, 1) == 2
    assert list(listener.names.values()) == ["named"]


def test_stream_left_early_has_ended(colour: Any, listener: Listener) -> None:
    steps = RunnableGenerator(*_counting()) | RunnablePassthrough()
    config: Any = {"callbacks": [listener]}

    def leave() -> None:
        stream: Any = steps.stream(1, config)
        next(stream)
        stream.close()

    async def aleave() -> None:
        stream: Any = steps.astream(1, config)
        await anext(stream)
        await stream.aclose()

    colour.run(leave, aleave)
    assert [event[0] for event in listener.heard] == ["start"] * 3 + ["end"] * 3
    assert {event[2] for event in listener.heard[3:]} == {0}


def _counting() -> tuple[Any, Any]:
    def count(_: Iterator[int]) -> Iterator[int]:
        yield from range(100)

    async def acount(_: AsyncIterator[int]) -> AsyncIterator[int]:
        for number in range(100):
            yield number

    return count, acount


def test_cancelling_and_interrupting_are_reported(listener: Listener) -> None:
    async def hang(_: int) -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        work = (RunnableLambda(hang) | RunnablePassthrough()).ainvoke(1, {"callbacks": [listener]})
        task = asyncio.create_task(work)
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    errors = [event for event in listener.heard if event[0] == "error"]
    assert [event[1] for event in errors] == ["hang", "RunnableSequence"]
    assert {type(event[2]) for event in errors} == {asyncio.CancelledError}

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RunnableLambda(interrupt).invoke(1, {"callbacks": [listener]})
    assert type(listener.heard[-1][2]) is KeyboardInterrupt


def test_batch_reports_a_run_for_each_input(colour: Any, listener: Listener) -> None:
    assert colour.batch(RunnableLambda(first), [1, 2, 3], {"callbacks": [listener]}) == [2, 3, 4]
    assert len(listener.names) == 3


def test_handler_set_by_a_hook_hears_without_a_config(colour: Any, listener: Listener) -> None:
    from contextvars import ContextVar

    from modelwire.callbacks import hooks, register_configure_hook

    variable: ContextVar[Any] = ContextVar("listener_of_test", default=None)
    before = hooks._hooks
    register_configure_hook(variable, True)
    token = variable.set(listener)
    try:
        assert colour.invoke(RunnableLambda(first) | RunnableLambda(second), 1) == 4
    finally:
        variable.reset(token)
        hooks._hooks = before
    assert len(listener.names) == 3


def test_nothing_of_runs_is_loaded_when_nobody_listens() -> None:
    import subprocess
    import sys

    script = (
        "import sys\n"
        "from modelwire.runnables import RunnableLambda, RunnablePassthrough\n"
        "chain = RunnablePassthrough() | RunnableLambda(str) | {'a': RunnablePassthrough()}\n"
        "chain.invoke(1); list(chain.stream(1))\n"
        "names = ('modelwire.callbacks.manager', 'asyncio', 'concurrent.futures', 'pydantic', 'uuid7')\n"
        "print([name for name in names if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_custom_runnable_reports_through_its_own_hook(colour: Any, listener: Listener) -> None:
    class Mine(Runnable[int, int]):
        def invoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            return self._call_with_config(self._work, input, config, run_type="tool")

        async def ainvoke(self, input: int, config: Any = None, **kwargs: Any) -> int:
            return await self._acall_with_config(self._awork, input, config)

        def transform(
            self, input: Iterator[int], config: Any = None, **kwargs: Any
        ) -> Iterator[int]:
            return self._transform_stream_with_config(input, self._each, config)

        def atransform(
            self, input: AsyncIterator[int], config: Any = None, **kwargs: Any
        ) -> AsyncIterator[int]:
            return self._atransform_stream_with_config(input, self._aeach, config)

        def _work(self, x: int, run_manager: Any, config: Any) -> int:
            assert run_manager.get_child().parent_run_id == run_manager.run_id
            return x + 1

        async def _awork(self, x: int, config: Any) -> int:
            return x + len(config["tags"])

        def _each(self, items: Iterator[int]) -> Iterator[int]:
            for item in items:
                yield item + 1

        async def _aeach(self, items: AsyncIterator[int], config: Any) -> AsyncIterator[int]:
            async for item in items:
                yield item + len(config["tags"])

    assert colour.invoke(Mine(), 1, {"tags": ["t"]}) == 2
    assert colour.invoke(Mine(), 1, {"callbacks": [listener], "tags": ["t"]}) == 2
    assert colour.transform(Mine(), [1, 2], {"tags": ["t"]}) == [2, 3]
    assert colour.transform(Mine(), [1, 2], {"callbacks": [listener], "tags": ["t"]}) == [2, 3]
    assert listener.heard[-1] == ("end", "Mine", 5)


def test_async_stream_that_is_too_deep_is_an_error_and_no_crash() -> None:
    import subprocess
    import sys

    script = (
        "import asyncio\n"
        "from modelwire.callbacks import BaseCallbackHandler\n"
        "from modelwire.runnables import RunnableLambda, RunnableSequence\n"
        "async def same(x): return x\n"
        "steps = RunnableSequence(*[RunnableLambda(same)] * 1000)\n"
        "async def main():\n"
        "    return [chunk async for chunk in steps.astream(1, {'callbacks': [BaseCallbackHandler()]})]\n"
        "try:\n"
        "    asyncio.run(main())\n"
        "except RecursionError:\n"
        "    print('an error')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "an error\n"), done.stderr[-2000:]

"""Listeners hear the outermost run of what they are bound to, once."""

from __future__ import annotations

from typing import Any

import pytest

from modelwire.runnables import RunnableLambda
from modelwire.tracers import AsyncRootListenersTracer, RootListenersTracer, Run


def tracer(heard: list[Any], *, asynchronous: bool) -> Any:
    config: Any = {"tags": ["t"]}

    def start(run: Run) -> None:
        heard.append(("start", run.name, run.inputs))

    def end(run: Run, config: Any) -> None:
        heard.append(("end", run.outputs, config))

    async def astart(run: Run) -> None:
        start(run)

    async def aend(run: Run, config: Any) -> None:
        end(run, config)

    async def aerror(run: Run) -> None:
        heard.append(("error", run.name))

    if asynchronous:
        return AsyncRootListenersTracer(
            config=config, on_start=astart, on_end=aend, on_error=aerror
        )
    return RootListenersTracer(
        config=config,
        on_start=start,
        on_end=end,
        on_error=lambda run: heard.append(("error", run.name)),
    )


@pytest.mark.parametrize("asynchronous", [True, False])
def test_the_root_is_heard_once_and_its_steps_are_not(colour: Any, asynchronous: bool) -> None:
    heard: list[Any] = []
    chain = RunnableLambda(lambda x: x + 1) | RunnableLambda(lambda x: x * 2)
    colour.invoke(chain, 1, {"callbacks": [tracer(heard, asynchronous=asynchronous)]})
    assert heard == [
        ("start", "RunnableSequence", {"input": 1}),
        ("end", {"output": 4}, {"tags": ["t"]}),
    ]


@pytest.mark.parametrize("asynchronous", [True, False])
def test_a_failure_is_heard_as_an_error(colour: Any, asynchronous: bool) -> None:
    def fail(value: int) -> int:
        raise ValueError("boom")

    heard: list[Any] = []
    with pytest.raises(ValueError, match="boom"):
        colour.invoke(
            RunnableLambda(fail), 1, {"callbacks": [tracer(heard, asynchronous=asynchronous)]}
        )
    assert [what[0] for what in heard] == ["start", "error"]


def test_what_a_listener_raises_changes_nothing(colour: Any) -> None:
    def break_down(run: Run) -> None:
        raise RuntimeError("mine")

    listener = RootListenersTracer(config={}, on_start=break_down, on_end=None, on_error=None)
    assert colour.invoke(RunnableLambda(lambda x: x), 1, {"callbacks": [listener]}) == 1


def test_a_listener_finds_the_usual_keys_in_the_config_of_a_call_without_any(colour: Any) -> None:
    seen: list[Any] = []
    listened = RunnableLambda(lambda x: x).with_listeners(
        on_start=lambda run, config: seen.append(config)
    )
    colour.invoke(listened, 1)
    assert [
        {key: config[key] for key in ("tags", "metadata", "configurable")} for config in seen
    ] == [{"tags": [], "metadata": {}, "configurable": {}}]

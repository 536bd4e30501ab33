"""`with_listeners`: functions hear of a runnable's own run, once, however it is wrapped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidType
from modelwire.runnables import RunnableLambda


class Ears:
    def __init__(self) -> None:
        self.heard: list[tuple[str, str]] = []

    def given(self) -> dict[str, Any]:
        return {f"on_{step}": self.hearing(step) for step in ("start", "end", "error")}

    def hearing(self, step: str) -> Any:
        return lambda run: self.heard.append((step, run.name))

    def agiven(self) -> dict[str, Any]:
        def hearing(step: str) -> Any:
            async def hear(run: Any) -> None:
                self.heard.append((step, run.name))

            return hear

        return {f"on_{step}": hearing(step) for step in ("start", "end", "error")}


class Parents(BaseCallbackHandler):
    """Keeps the name of each run, and of the one around it."""

    run_inline = True

    def __init__(self) -> None:
        self.names: dict[Any, str] = {}
        self.parents: dict[str, str | None] = {}

    def on_chain_start(self, serialized: Any, inputs: Any, *, run_id: Any, **about: Any) -> None:
        self.names[run_id] = about["name"]
        self.parents[about["name"]] = self.names.get(about["parent_run_id"])


def double(x: int) -> int:
    return x * 2


def test_listeners_hear_the_start_and_the_end_of_the_run_itself(colour: Any) -> None:
    ears = Ears()
    chain = (RunnableLambda(double) | double).with_listeners(**ears.given())
    assert colour.invoke(chain, 1) == 4
    assert ears.heard == [("start", "RunnableSequence"), ("end", "RunnableSequence")]
    ears.heard.clear()
    assert colour.stream(chain, 1) == [4]
    assert ears.heard == [("start", "RunnableSequence"), ("end", "RunnableSequence")]


def test_listeners_hear_an_error(colour: Any) -> None:
    ears = Ears()
    with pytest.raises(ZeroDivisionError):
        colour.invoke(
            RunnableLambda(lambda x: 1 / x, name="inverse").with_listeners(**ears.given()), 0
        )
    assert ears.heard == [("start", "inverse"), ("error", "inverse")]


def test_async_listeners_are_awaited() -> None:
    ears = Ears()
    chain = RunnableLambda(double).with_alisteners(**ears.agiven())
    assert asyncio.run(chain.ainvoke(1)) == 2
    assert ears.heard == [("start", "double"), ("end", "double")]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda chain: chain.with_config(tags=["t"]),
        lambda chain: chain.bind(),
        lambda chain: chain.with_types(input_type=int),
        lambda chain: chain.with_retry(wait_exponential_jitter=False),
    ],
    ids=["config", "bind", "types", "retry"],
)
def test_listeners_hear_once_however_it_is_wrapped(colour: Any, wrap: Any) -> None:
    ears, outer = Ears(), Ears()
    chain = wrap(RunnableLambda(double).with_listeners(**ears.given()))
    assert colour.invoke(chain, 1) == 2
    assert ears.heard == [("start", "double"), ("end", "double")]
    assert colour.invoke(chain.with_listeners(**outer.given()), 1) == 2
    assert outer.heard == [("start", "double"), ("end", "double")]
    assert len(ears.heard) == 4


def test_listeners_hear_of_each_element_of_a_batch(colour: Any) -> None:
    ears = Ears()
    chain = RunnableLambda(double).with_listeners(**ears.given())
    assert colour.batch(chain, [1, 2, 3]) == [2, 4, 6]
    assert sorted(ears.heard) == [("end", "double")] * 3 + [("start", "double")] * 3


def test_a_listener_may_take_the_config(colour: Any) -> None:
    seen: list[Any] = []
    chain = RunnableLambda(double).with_listeners(
        on_start=lambda run, config: seen.append(config["tags"])
    )
    colour.invoke(chain, 1, {"tags": ["t"]})
    assert seen == [["t"]]


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(InvalidType, match="`on_end` must be a function"):
        RunnableLambda(double).with_listeners(on_end=3)  # type: ignore[arg-type]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_listeners_are_added_to_the_handlers_that_a_nested_call_inherits(
    asynchronous: bool,
) -> None:
    ears, outside = Ears(), Parents()
    listened = RunnableLambda(double).with_listeners(**ears.given())
    inner = listened.with_config(tags=["t"])

    def call(x: int) -> Any:
        return inner.invoke(x)

    async def acall(x: int) -> Any:
        (only,) = [chunk async for chunk in inner.astream(x)]
        return only

    outer = RunnableLambda(call, acall, name="outer")
    config: Any = {"callbacks": [outside]}
    assert (asyncio.run(outer.ainvoke(1, config)) if asynchronous else outer.invoke(1, config)) == 2
    assert outside.parents == {"outer": None, "double": "outer"}
    assert ears.heard == [("start", "double"), ("end", "double")]

    async def events() -> list[tuple[str, str]]:
        return [(event["event"], event["name"]) async for event in outer.astream_events(1)]

    assert ("on_chain_start", "double") in asyncio.run(events())
    assert len(ears.heard) == 4


def test_listeners_hear_beside_the_callbacks_that_a_call_names(colour: Any) -> None:
    ears, outside, named = Ears(), Parents(), Parents()
    inner = RunnableLambda(double).with_listeners(**ears.given())
    outer = RunnableLambda(lambda x: inner.invoke(x, {"callbacks": [named]}), name="outer")
    assert colour.invoke(outer, 1, {"callbacks": [outside]}) == 2
    assert (outside.parents, named.parents) == ({"outer": None}, {"double": None})
    assert ears.heard == [("start", "double"), ("end", "double")]

"""`with_listeners`: functions hear of a runnable's own run, once, however it is wrapped."""

from __future__ import annotations

from typing import Any

import pytest

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
        colour.invoke(RunnableLambda(lambda x: 1 / x, name="inverse").with_listeners(**ears.given()), 0)
    assert ears.heard == [("start", "inverse"), ("error", "inverse")]


def test_async_listeners_are_awaited() -> None:
    import asyncio

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
    chain = RunnableLambda(double).with_listeners(on_start=lambda run, config: seen.append(config["tags"]))
    colour.invoke(chain, 1, {"tags": ["t"]})
    assert seen == [["t"]]


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(InvalidType, match="`on_end` must be a function"):
        RunnableLambda(double).with_listeners(on_end=3)  # type: ignore[arg-type]

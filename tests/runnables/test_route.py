"""`route`: the input names what runs on it."""

from __future__ import annotations

from typing import Any

import pytest
from support.heard import Heard

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.runnables import RunnableLambda, RunnableRoute, route


async def by_length(text: str) -> str:
    return "long" if len(text) > 3 else "short"


sized = route(by_length, {"short": lambda x: f"s:{x}", "long": RunnableLambda(lambda x: f"l:{x}")})


def test_each_input_runs_on_the_route_it_names(colour: Any) -> None:
    chosen = route(lambda text: "long" if len(text) > 3 else "short", sized.routes)
    assert colour.invoke(chosen, "abc") == "s:abc"
    assert colour.batch(chosen, ["a", "abcd", "b"]) == ["s:a", "l:abcd", "s:b"]
    assert colour.stream(chosen, "abcd") == ["l:abcd"]
    assert colour.invoke(chosen | (lambda x: x.upper()), "ab") == "S:AB"


def test_an_async_function_may_choose() -> None:
    import asyncio

    assert asyncio.run(sized.ainvoke("abcd")) == "l:abcd"


@pytest.mark.parametrize("key", ["lonk", None, 3, ["long"]])
def test_a_route_that_is_not_there_is_an_error_of_ours_or_the_default(
    colour: Any, key: Any
) -> None:
    with pytest.raises(InvalidArgument, match="There is no route"):
        colour.invoke(route(lambda x: key, {"long": lambda x: x}), "a")
    assert (
        colour.invoke(route(lambda x: key, {"long": lambda x: f"<{x}>"}, default="long"), "a")
        == "<a>"
    )


def test_close_matches_are_offered() -> None:
    with pytest.raises(InvalidArgument, match="`long`"):
        route(lambda x: "lonk", {"long": lambda x: x}).invoke("a")


@pytest.mark.parametrize(("routes", "default"), [({}, None), ([], None), ({"a": lambda x: x}, "b")])
def test_routes_that_cannot_be_are_refused_when_made(routes: Any, default: str | None) -> None:
    with pytest.raises(InvalidArgument):
        route(lambda x: "a", routes, default=default)


def test_what_cannot_run_is_refused_with_its_name() -> None:
    with pytest.raises(InvalidType, match="as the route `a`"):
        route(lambda x: "a", {"a": 3})


def test_the_run_of_a_route_has_the_choice_and_the_route_below_it(colour: Any) -> None:
    heard = Heard()
    plain = RunnableRoute(
        RunnableLambda(lambda x: "a"), {"a": RunnableLambda(lambda x: x + 1)}, name="by_hand"
    )
    assert colour.invoke(plain, 1, {"callbacks": [heard]}) == 2
    assert repr(plain).startswith("RunnableRoute(")
    assert [run.split()[0] for run in heard.runs] == ["by_hand", "RunnableLambda", "RunnableLambda"]
    assert "'choose'" in heard.runs[1] and "'route:a'" in heard.runs[2]

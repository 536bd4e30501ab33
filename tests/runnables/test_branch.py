"""`RunnableBranch`: the first condition that holds decides, in both colours and in streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.heard import Heard

from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import InvalidArgument, InvalidType, Timeout
from modelwire.runnables import RunnableBranch, RunnableGenerator, RunnableLambda, route


def positive(x: int) -> str:
    return f"+{x}"


def negative(x: int) -> str:
    return f"-{abs(x)}"


sign = RunnableBranch[int, str](
    (lambda x: x > 0, positive), (lambda x: x < 0, negative), lambda x: "zero"
)


@pytest.mark.parametrize(("given", "expected"), [(3, "+3"), (-3, "-3"), (0, "zero")])
def test_the_first_condition_that_holds_decides(colour: Any, given: int, expected: str) -> None:
    assert colour.invoke(sign, given) == expected
    assert colour.stream(sign, given) == [expected]
    assert colour.batch(sign, [given, 1]) == [expected, "+1"]


def test_later_conditions_are_not_asked(colour: Any) -> None:
    asked: list[int] = []
    branch = RunnableBranch(
        (lambda x: True, positive), (lambda x: asked.append(x), negative), positive
    )
    assert colour.invoke(branch, 1) == "+1"
    assert asked == []


def test_what_was_chosen_streams_chunk_by_chunk(colour: Any) -> None:
    def letters(chunks: Iterator[str]) -> Iterator[str]:
        for chunk in chunks:
            yield from chunk

    async def aletters(chunks: Any) -> Any:
        async for chunk in chunks:
            for letter in chunk:
                yield letter

    branch = RunnableBranch(
        (lambda x: len(x) > 1, RunnableGenerator(letters, aletters)), lambda x: x
    )
    assert colour.stream(branch, "abc") == ["a", "b", "c"]
    assert colour.transform(branch, ["a", "b"]) == ["a", "b"]
    assert colour.stream(branch, "a") == ["a"]
    assert colour.transform(branch, []) == []


def test_conditions_and_branches_are_runs_with_their_tags(colour: Any) -> None:
    heard = Heard()
    colour.invoke(sign, -1, {"callbacks": [heard]})
    assert heard.runs == [
        "RunnableBranch []",
        "RunnableLambda ['condition:1']",
        "RunnableLambda ['condition:2']",
        "negative ['branch:2']",
    ]
    heard = Heard()
    colour.stream(sign, 0, {"callbacks": [heard]})
    assert heard.runs[-1] == "RunnableLambda ['branch:default']"
    assert {how for _, how in heard.over} == {"end"}


def test_an_error_in_a_condition_is_the_branchs(colour: Any) -> None:
    heard = Heard()
    branch = RunnableBranch((lambda x: 1 / x, positive), negative)
    with pytest.raises(ZeroDivisionError):
        colour.invoke(branch, 0, {"callbacks": [heard]})
    assert heard.over == [
        ("RunnableLambda", "ZeroDivisionError"),
        ("RunnableBranch", "ZeroDivisionError"),
    ]


@pytest.mark.parametrize(
    ("branches", "error", "text"),
    [
        ((), InvalidArgument, "at least two branches"),
        (((positive, positive),), InvalidArgument, "at least two branches"),
        (((positive, positive), (positive, positive)), InvalidType, "has no default"),
        ((positive, negative), InvalidType, "Branch 1 .* must be a pair .* not a `function`"),
        (((positive,), negative), InvalidArgument, "it has 1 parts"),
        (
            ((positive, negative), (positive, 5), negative),
            InvalidType,
            "as branch 2 .* not a `int`",
        ),
        (((None, negative), negative), InvalidType, "as condition 1 .* not a `NoneType`"),
    ],
)
def test_bad_branches_are_named_at_construction(branches: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        RunnableBranch(*branches)


def test_a_branch_keeps_to_the_deadline(colour: Any) -> None:
    import time

    branch = RunnableBranch((lambda x: time.sleep(0.05), positive), negative)
    with pytest.raises(Timeout):
        colour.invoke(branch, 1, {"timeout": 0.01})


def test_equality_and_repr_show_the_parts() -> None:
    condition, body = RunnableLambda(positive), RunnableLambda(negative)
    branch = RunnableBranch((condition, body), body)
    assert branch == RunnableBranch((condition, body), body)
    assert branch != RunnableBranch((body, body), body)
    assert len({branch, RunnableBranch((condition, body), body)}) == 1
    assert repr(branch) == (
        "RunnableBranch(branches=[(RunnableLambda(positive), RunnableLambda(negative))], "
        "default=RunnableLambda(negative))"
    )


def test_the_schema_of_the_default_comes_first() -> None:
    def number(x: int) -> int:
        return x

    def text(x: str) -> str:
        return x

    branch = RunnableBranch((lambda x: isinstance(x, int), number), text)
    assert branch.input_schema.model_json_schema() == {"title": "text_input", "type": "string"}


def test_the_types_that_a_runnable_is_made_with_are_its_schemas() -> None:
    branch = RunnableBranch[int, str]((lambda x: x > 0, lambda x: "a"), lambda x: "b")
    assert branch.get_input_jsonschema() == {"title": "RunnableBranchInput", "type": "integer"}
    assert branch.get_output_jsonschema() == {"title": "RunnableBranchOutput", "type": "string"}


def same(x: Any) -> Any:
    return x


@pytest.mark.parametrize(
    "runnable",
    [
        RunnableBranch((bool, same), same),
        route(lambda _: "a", {"a": same}),
        RunnableLambda(same).with_fallbacks([RunnableLambda(same)]),
    ],
    ids=["branch", "route", "fallbacks"],
)
def test_a_stream_starts_with_the_whole_input(colour: Any, runnable: Any) -> None:
    """As in langchain-core 1.7.2: these run on the whole input."""
    starts: dict[str, Any] = {}

    class Starts(BaseCallbackHandler):
        def on_chain_start(self, serialized: Any, inputs: Any, **about: Any) -> None:
            starts.setdefault(about["name"], inputs)

    config = {"callbacks": [Starts()]}
    assert colour.stream(runnable, "hi", config) == ["hi"]
    assert starts[runnable.get_name()] == "hi"
    starts.clear()
    assert "".join(colour.transform(runnable, ["a", "b"], config)) == "ab"
    assert starts[runnable.get_name()] == "ab"
    assert colour.transform(runnable, [], config) == []

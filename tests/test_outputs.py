from __future__ import annotations

import pickle
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage
from modelwire.outputs import (
    ChatGeneration,
    ChatGenerationChunk,
    ChatResult,
    Generation,
    GenerationChunk,
    LLMResult,
    RunInfo,
)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ([], ""),
        (["x", "y"], "xy"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "reasoning", "reasoning": "r"}, "x", {"type": "text", "text": "b"}], "xb"),
        ([{"text": "q"}], "q"),
        ([{"type": "tool_use", "input": {}}], ""),
        ([{"type": "text", "text": None}], ""),
    ],
)
def test_the_text_of_a_generation_is_the_text_of_its_message(content: Any, text: str) -> None:
    assert ChatGeneration(message=AIMessage(content)).text == text
    assert ChatGeneration(message=AIMessage(content), text="ignored").text == text


@given(st.lists(st.text(max_size=5), min_size=1, max_size=8))
def test_chunks_add_up_in_any_grouping(texts: list[str]) -> None:
    chunks = [ChatGenerationChunk(message=AIMessageChunk(text)) for text in texts]
    one_by_one = chunks[0]
    for chunk in chunks[1:]:
        one_by_one = one_by_one + chunk
    at_once = chunks[0] + chunks[1:]
    assert one_by_one.text == at_once.text == "".join(texts)
    assert one_by_one.message == at_once.message


def test_generation_info_is_merged() -> None:
    first = ChatGenerationChunk(message=AIMessageChunk("a"), generation_info={"x": "1", "l": [1]})
    second = ChatGenerationChunk(
        message=AIMessageChunk("b"), generation_info={"x": "2", "l": [2], "y": 3}
    )
    assert (first + second).generation_info == {"x": "12", "l": [1, 2], "y": 3}
    assert (
        first + ChatGenerationChunk(message=AIMessageChunk("b"))
    ).generation_info == first.generation_info
    total = GenerationChunk(text="a", generation_info={"x": 1}) + GenerationChunk(text="b")
    assert (total.text, total.generation_info) == ("ab", {"x": 1})


def test_chunks_add_to_chunks_only() -> None:
    with pytest.raises(TypeError):
        ChatGenerationChunk(message=AIMessageChunk("a")) + 1  # type: ignore[operator]
    with pytest.raises(TypeError):
        GenerationChunk(text="a") + "b"  # type: ignore[operator]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ChatGeneration(message="x"), "`message` must be a message, not a `str`"),  # type: ignore[arg-type]
        (lambda: ChatGeneration(message=None), "not a `NoneType`"),  # type: ignore[arg-type]
        (lambda: ChatGenerationChunk(message=AIMessage("x")), "Yield an `AIMessageChunk`"),  # type: ignore[arg-type]
        (lambda: ChatResult(generations=[AIMessage("x")]), "Wrap the message"),  # type: ignore[list-item]
        (lambda: ChatResult(generations=AIMessage("x")), "must be a list of `ChatGeneration`"),  # type: ignore[arg-type]
        (lambda: ChatResult(generations="x"), "must be a list"),  # type: ignore[arg-type]
    ],
)
def test_what_a_custom_model_returns_by_mistake_is_named(make: Any, why: str) -> None:
    with pytest.raises(InvalidType, match=why):
        make()


def test_values_that_do_not_fit_a_field_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="Generation"):
        Generation(text=3)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument, match="lists of `Generation`"):
        LLMResult(generations=[["x"]])  # type: ignore[list-item]


EVERY = [
    Generation(text="x", generation_info={"a": 1}),
    GenerationChunk(text="x"),
    ChatGeneration(message=AIMessage("x"), generation_info={"a": 1}),
    ChatGenerationChunk(message=AIMessageChunk("x")),
    ChatResult(generations=[ChatGeneration(message=AIMessage("x"))], llm_output={"m": 1}),
    LLMResult(
        generations=[[ChatGeneration(message=AIMessage("x"))]], run=[RunInfo(run_id=uuid4())]
    ),
]


@pytest.mark.parametrize("value", EVERY, ids=lambda value: type(value).__name__)
def test_a_value_survives_copying_pickling_and_dumping(value: Any) -> None:
    assert pickle.loads(pickle.dumps(value)) == value == value.model_copy()
    dumped = value.model_dump()
    if "type" in dumped:
        assert dumped["type"] == value.type
    assert "x" in str(dumped)


def test_a_dump_can_be_read_back() -> None:
    rows = [[Generation(text="x")], [ChatGeneration(message=HumanMessage("y"))]]
    result = LLMResult(generations=rows, llm_output={"m": 1})
    again = LLMResult.model_validate(result.model_dump())
    assert [[type(item) for item in row] for row in again.generations] == [
        [Generation],
        [ChatGeneration],
    ]
    assert [[item.text for item in row] for row in again.generations] == [["x"], ["y"]]
    result = LLMResult(generations=rows[:1], llm_output={"m": 1})
    assert LLMResult.model_validate(result.model_dump()) == result
    assert Generation.model_validate({"text": "x"}) == Generation(text="x")


def test_a_subclass_may_have_fields() -> None:
    class Scored(ChatGeneration):
        score: float

    scored = Scored(message=AIMessage("x"), score=0.5)
    assert (scored.text, scored.score) == ("x", 0.5)
    with pytest.raises(InvalidArgument, match="Scored"):
        Scored(message=AIMessage("x"), score="much")


def test_flatten_counts_the_tokens_once() -> None:
    rows = [[ChatGeneration(message=AIMessage(text))] for text in "ab"]
    first, second = LLMResult(
        generations=rows, llm_output={"token_usage": {"t": 1}, "m": 2}
    ).flatten()
    assert (first.generations, second.generations) == ([rows[0]], [rows[1]])
    assert first.llm_output == {"token_usage": {"t": 1}, "m": 2}
    assert second.llm_output == {"token_usage": {}, "m": 2}


def test_results_are_equal_whoever_ran_them() -> None:
    rows = [[Generation(text="a")]]
    assert LLMResult(generations=rows, run=[RunInfo(run_id=uuid4())]) == LLMResult(generations=rows)
    assert LLMResult(generations=rows) != LLMResult(generations=[])

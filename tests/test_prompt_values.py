from __future__ import annotations

import pickle
from typing import Any

import pytest

from modelwire.errors import InvalidType
from modelwire.messages import AIMessage, HumanMessage
from modelwire.prompt_values import ChatPromptValue, PromptValue, StringPromptValue


@pytest.mark.parametrize(
    "value",
    [
        StringPromptValue(text="x"),
        ChatPromptValue(messages=[HumanMessage("x")]),
        ChatPromptValue.of([HumanMessage("x")]),
    ],
)
def test_a_value_survives_copying_pickling_and_dumping(value: PromptValue) -> None:
    assert pickle.loads(pickle.dumps(value)) == value == value.model_copy()
    assert type(value).model_validate(value.model_dump()) is not None
    assert value.to_messages() == [HumanMessage("x")]


def test_the_quick_construction_is_equal_to_the_checked_one() -> None:
    messages = [HumanMessage("x"), AIMessage("y")]
    assert ChatPromptValue.of(messages) == ChatPromptValue(messages=messages)
    assert repr(ChatPromptValue.of(messages)) == repr(ChatPromptValue(messages=messages))


def test_dumps_keep_the_fields_of_each_message_class() -> None:
    (dumped,) = ChatPromptValue.of([AIMessage("y")]).model_dump()["messages"]
    assert (dumped["type"], dumped["content"]) == ("ai", "y")


@pytest.mark.parametrize("wrong", [["x"], [("human", "x")], [HumanMessage("x"), 3]])
def test_what_is_no_message_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidType, match="must hold messages"):
        ChatPromptValue(messages=wrong)


def test_a_text_must_be_text() -> None:
    with pytest.raises(InvalidType, match="must be a `str`"):
        StringPromptValue(text=3)  # type: ignore[arg-type]

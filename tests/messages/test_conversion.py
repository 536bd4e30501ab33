from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from modelwire.errors import CallerError, InvalidArgument, InvalidType
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
    convert_to_message,
    convert_to_messages,
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
    tool_call,
)

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
DEVELOPER = SystemMessage("x", additional_kwargs={"__openai_role__": "developer"})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("x", HumanMessage("x")),
        (("human", "x"), HumanMessage("x")),
        (("user", "x"), HumanMessage("x")),
        (["user", "x"], HumanMessage("x")),
        (("ai", "x"), AIMessage("x")),
        (("assistant", "x"), AIMessage("x")),
        (("system", "x"), SystemMessage("x")),
        (("developer", "x"), DEVELOPER),
        (("user", [{"type": "text", "text": "x"}]), HumanMessage([{"type": "text", "text": "x"}])),
        ({"role": "user", "content": "x"}, HumanMessage("x")),
        ({"type": "human", "content": "x"}, HumanMessage("x")),
        ({"role": "developer", "content": "x"}, DEVELOPER),
        (
            {"role": "user", "content": "x", "name": "bob", "id": "3"},
            HumanMessage("x", name="bob", id="3"),
        ),
        (
            {
                "role": "user",
                "content": "x",
                "mood": 1,
                "additional_kwargs": {"a": 1},
                "response_metadata": {"b": 2},
            },
            HumanMessage("x", additional_kwargs={"mood": 1, "a": 1}, response_metadata={"b": 2}),
        ),
        ({"role": "assistant", "content": None}, AIMessage("")),
        (
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            AIMessage("", tool_calls=[tool_call(name="f", args={"a": 1}, id="1")]),
        ),
        (
            {"role": "assistant", "tool_calls": [CALL], "audio": None},
            AIMessage("", tool_calls=[tool_call(name="f", args={"a": 1}, id="1")]),
        ),
        ({"role": "assistant", "content": "x", "tool_calls": None}, AIMessage("x")),
        (
            {
                "role": "assistant",
                "content": "x",
                "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "1"}],
            },
            AIMessage("x", tool_calls=[tool_call(name="f", args={"a": 1}, id="1")]),
        ),
        (
            {"role": "assistant", "content": "", "refusal": "no"},
            AIMessage("", additional_kwargs={"refusal": "no"}),
        ),
        (
            {
                "role": "assistant",
                "content": "x",
                "function_call": {"name": "f", "arguments": "{}"},
            },
            AIMessage("x", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
        ),
        ({"role": "tool", "content": "x", "tool_call_id": "1"}, ToolMessage("x", tool_call_id="1")),
        ({"role": "tool", "content": None, "tool_call_id": "1"}, ToolMessage("", tool_call_id="1")),
        (
            {
                "role": "tool",
                "content": "x",
                "tool_call_id": "1",
                "artifact": 3,
                "status": "error",
                "name": "n",
            },
            ToolMessage("x", tool_call_id="1", artifact=3, status="error", name="n"),
        ),
        ({"role": "function", "content": "x", "name": "f"}, FunctionMessage("x", name="f")),
        ({"type": "remove", "id": "1"}, RemoveMessage(id="1")),
        (
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "schema", "messages", "AIMessageChunk"],
                "kwargs": {"content": "x", "type": "AIMessageChunk"},
            },
            AIMessage("x"),
        ),
    ],
)
def test_what_people_write_becomes_the_message_they_mean(given: Any, message: BaseMessage) -> None:
    converted = convert_to_message(given)
    assert converted == message
    assert repr(converted) == repr(message)
    assert convert_to_messages([given]) == [message]


def test_the_dump_of_a_message_converts_back() -> None:
    usage: Any = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    for message in (
        AIMessage(
            "x", tool_calls=[tool_call(name="f", args={}, id="1")], usage_metadata=usage, id="m"
        ),
        AIMessageChunk("x", id="m"),
        HumanMessage("x", name="bob"),
        ToolMessage("x", tool_call_id="1", artifact=[1]),
    ):
        assert convert_to_message(message.model_dump()) == message


def test_one_text_message_or_dict_is_one_message() -> None:
    message = HumanMessage("hi")
    assert convert_to_messages("hi") == [message]
    assert convert_to_messages(message)[0] is message
    assert convert_to_messages({"role": "user", "content": "hi"}) == [message]
    assert convert_to_messages(x for x in ["hi"]) == [message]
    assert convert_to_messages([]) == []


def test_messages_stay_the_same_objects_and_lists_are_copied() -> None:
    message = AIMessage("x")
    assert convert_to_messages([message])[0] is message
    blocks: list[Any] = [{"type": "text", "text": "x"}]
    [converted] = convert_to_messages([("user", blocks)])
    blocks.append("more")
    assert converted.content == [{"type": "text", "text": "x"}]


def test_a_prompt_value_says_its_messages_itself() -> None:
    class Prompt:
        def to_messages(self) -> list[BaseMessage]:
            return [SystemMessage("s")]

    assert convert_to_messages(Prompt()) == [SystemMessage("s")]


def test_arguments_of_a_history_that_do_not_parse_are_invalid_calls() -> None:
    broken = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":'}}
    [message] = convert_to_messages(
        [{"role": "assistant", "content": None, "tool_calls": [broken]}]
    )
    assert isinstance(message, AIMessage)
    assert (message.tool_calls, message.invalid_tool_calls[0]["args"]) == ([], '{"a":')


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (3, InvalidType, "`int`"),
        (None, InvalidType, "`NoneType`"),
        (("assistent", "x"), InvalidArgument, "`assistent`. Did you mean `assistant`"),
        ({"role": "User", "content": "x"}, InvalidArgument, "`User`. Did you mean `user`"),
        ({"role": None, "content": "x"}, InvalidType, "`NoneType`"),
        ((HumanMessage, "x"), InvalidType, "a role must be a text"),
        (("user",), InvalidArgument, "1 elements"),
        (("a", "b", "c"), InvalidArgument, "3 elements"),
        ({"role": "user"}, InvalidArgument, "got the keys `role`"),
        ({"content": "x"}, InvalidArgument, "got the keys `content`"),
        ({}, InvalidArgument, "empty dict"),
        ({"role": "assistant", "refusal": "no"}, InvalidArgument, "`refusal`"),
        ({"role": "user", "content": 3}, InvalidArgument, "`int`"),
        (("user", [3]), InvalidArgument, "content"),
        ({"role": "tool", "content": "x"}, InvalidArgument, "`tool_call_id`"),
        (("tool", "x"), InvalidArgument, "`tool_call_id`"),
        ({"role": "function", "content": "x"}, InvalidArgument, "`name`"),
        (("remove", "x"), InvalidArgument, "`id`"),
        (
            {"role": "assistant", "content": "x", "tool_calls": [{"type": "custom", "custom": {}}]},
            InvalidArgument,
            "`custom`",
        ),
        ({"role": "assistant", "content": "x", "tool_calls": ["f"]}, InvalidArgument, "`str`"),
        ({"role": "assistant", "content": "x", "tool_calls": "f"}, InvalidType, "`str`"),
        (
            {"lc": 1, "type": "constructor", "id": ["os", "system"], "kwargs": {}},
            InvalidArgument,
            "`system`",
        ),
    ],
)
def test_what_is_no_message_is_refused_with_its_place(
    given: Any, error: type[CallerError], said: str
) -> None:
    with pytest.raises(error) as caught:
        convert_to_messages(["fine", given])
    assert said in str(caught.value)
    assert str(caught.value).startswith("Message 1: ")


def test_a_refusal_never_shows_content() -> None:
    for given in (
        {"role": "usr", "content": "SECRET"},
        {"role": "user", "content": {"SECRET": 1}},
        {"content": "SECRET"},
        ("x" * 40 + "SECRET", "user"),
        {"x" * 40 + "SECRET": 1},
    ):
        with pytest.raises(InvalidArgument) as caught:
            convert_to_messages([given])
        assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("given", [3, None, 1.5])
def test_what_is_no_iterable_is_refused_by_type(given: Any) -> None:
    with pytest.raises(InvalidType, match=type(given).__name__):
        convert_to_messages(given)


def test_converting_a_text_builds_no_schema() -> None:
    code = (
        "from modelwire.messages import convert_to_messages as c\n"
        "from modelwire.messages import HumanMessage as H, AIMessage as A, SystemMessage as S\n"
        "c('hi'); c([('system', 'x'), {'role': 'user', 'content': 'x'}, {'role': 'assistant', 'content': 'x'}])\n"
        "H('x'); S(content='x'); A('x', id='1'); H('x') == H('y'); repr(H('x'))\n"
        "A.from_wire('x'); print([k.__pydantic_complete__ for k in (H, S, A)])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[False, False, False]"


def test_a_chunk_becomes_its_message_and_a_message_stays() -> None:
    chunk = HumanMessageChunk("x", name="bob", additional_kwargs={"a": 1})
    assert message_chunk_to_message(chunk) == HumanMessage(
        "x", name="bob", additional_kwargs={"a": 1}
    )
    message = HumanMessage("x")
    assert message_chunk_to_message(message) is message
    assert (
        message_chunk_to_message(AIMessageChunk("x", chunk_position="last")).model_dump()
        == AIMessage("x").model_dump()
    )


def test_messages_survive_dicts() -> None:
    messages = [
        HumanMessage("x"),
        AIMessage("y"),
        ToolMessage("x", tool_call_id="1"),
        ChatMessage("x", role="r"),
        FunctionMessage("q", name="r"),
        SystemMessage("d"),
        AIMessageChunk("z"),
        HumanMessageChunk("z"),
        RemoveMessage(id="1"),
    ]
    dicts = messages_to_dict(messages)
    assert dicts[0]["type"] == "human"
    assert dicts[0]["data"]["content"] == "x"
    assert messages_from_dict(dicts) == messages


@pytest.mark.parametrize(
    "given", [{"type": "nobody", "data": {}}, {"data": {}}, {"type": "human"}, 3]
)
def test_a_dict_that_is_no_message_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgument, match="type"):
        messages_from_dict([given])


@pytest.mark.parametrize(
    "given", [{"role": "xyz", "content": "x"}, 5, ("foo", "x"), {"content": "x"}, ("a", "b", "c")]
)
def test_what_is_no_message_names_the_code_that_scripts_look_for(given: Any) -> None:
    with pytest.raises(InvalidArgument, match="MESSAGE_COERCION_FAILURE"):
        convert_to_messages([given])

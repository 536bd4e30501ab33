"""Messages, prompts and documents are the same on both sides, whichever way they go."""

from __future__ import annotations

import copy
import json
from typing import Any

import langchain_core.messages as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.documents import Document as TheirDocument
from langchain_core.prompt_values import ChatPromptValue, StringPromptValue

import modelwire.messages as ours
from modelwire.documents import Document
from modelwire.errors import InvalidType
from modelwire.langchain import from_langchain, to_langchain
from modelwire.testing import ProviderServer

texts = st.text(max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | texts,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=4,
)
dicts = st.dictionaries(texts, json_values, max_size=2)
blocks = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.builds(
        lambda text: {"type": "reasoning", "reasoning": text, "extras": {"signature": "s"}}, texts
    ),
    st.builds(lambda value: {"type": "non_standard", "value": value}, dicts),
    st.just({"type": "image", "url": "https://x.test/a.png"}),
    texts,
)
contents = texts | st.lists(blocks, max_size=3)
ids = st.none() | st.text(min_size=1, max_size=4)
calls = st.lists(
    st.builds(
        lambda name, args, call_id: {
            "name": name,
            "args": args,
            "id": call_id,
            "type": "tool_call",
        },
        texts,
        dicts,
        ids,
    ),
    max_size=2,
)
chunks = st.lists(
    st.builds(
        lambda name, args, at: {
            "name": name,
            "args": args,
            "id": "c",
            "index": at,
            "type": "tool_call_chunk",
        },
        st.none() | texts,
        st.sampled_from(["", "{", '{"a": 1', '{"a": 1}', "[", "x"]),
        st.integers(0, 2),
    ),
    max_size=1,
)
usages = st.none() | st.just(
    {
        "input_tokens": 3,
        "output_tokens": 2,
        "total_tokens": 5,
        "output_token_details": {"reasoning": 1},
    }
)


@st.composite
def any_messages(draw: Any, module: Any) -> Any:
    """A message of any kind of `module`, with whatever its fields may hold, one unknown field among them."""
    kind = draw(
        st.sampled_from(
            [
                "AIMessage",
                "AIMessageChunk",
                "ChatMessage",
                "ChatMessageChunk",
                "FunctionMessage",
                "FunctionMessageChunk",
                "HumanMessage",
                "HumanMessageChunk",
                "RemoveMessage",
                "SystemMessage",
                "SystemMessageChunk",
                "ToolMessage",
                "ToolMessageChunk",
            ]
        )
    )
    if kind == "RemoveMessage":
        return module.RemoveMessage(id=draw(st.text(min_size=1, max_size=4)))
    fields: dict[str, Any] = {
        "content": draw(contents),
        "id": draw(ids),
        "additional_kwargs": draw(dicts),
    }
    fields["response_metadata"] = draw(dicts)
    if kind.startswith("AI"):
        fields["usage_metadata"] = draw(usages)
        if kind.endswith("Chunk"):
            fields["tool_call_chunks"] = draw(chunks)
            fields["chunk_position"] = draw(st.sampled_from([None, "last"]))
        else:
            fields["tool_calls"] = draw(calls)
            fields["invalid_tool_calls"] = draw(
                st.just([])
                | st.just(
                    [
                        {
                            "name": "f",
                            "args": "{",
                            "id": "1",
                            "error": "no",
                            "type": "invalid_tool_call",
                        }
                    ]
                )
            )
    elif kind.startswith("Chat"):
        fields["role"] = draw(texts)
    elif kind.startswith("Function"):
        fields["name"] = draw(texts)
    elif kind.startswith("Tool"):
        fields |= {
            "tool_call_id": draw(texts),
            "status": draw(st.sampled_from(["success", "error"])),
        }
        fields["artifact"] = draw(json_values | st.builds(object))
    if draw(st.booleans()):
        fields["a_field_of_the_users"] = draw(json_values)
    return getattr(module, kind)(**fields)


@given(any_messages(ours))
def test_a_message_of_ours_comes_back_equal_and_its_dict_is_what_langchain_writes(
    message: ours.BaseMessage,
) -> None:
    there = to_langchain(message)
    assert type(there).__name__ == type(message).__name__
    assert type(there).__module__.startswith("langchain_core.")
    back = from_langchain(there)
    assert type(back) is type(message)
    assert back == message
    if type(getattr(message, "artifact", None)) is not object:
        assert theirs.messages_to_dict([there]) == ours.messages_to_dict([message])
        (read,) = theirs.messages_from_dict(ours.messages_to_dict([message]))
        if (
            getattr(there, "chunk_position", None) == "last"
        ):  # LangChain then works these out anew, whoever wrote them
            read.tool_calls, read.invalid_tool_calls = there.tool_calls, there.invalid_tool_calls
        assert read == there


@given(any_messages(theirs))
def test_a_message_of_langchains_comes_back_equal(message: Any) -> None:
    here = from_langchain(message)
    assert type(here) is getattr(ours, type(message).__name__)
    assert to_langchain(here) == message


@given(texts, dicts, st.lists(st.integers(0, 20), max_size=3))
def test_the_sum_of_chunks_is_the_same_on_either_side(
    text: str, args: dict[str, Any], cuts: list[int]
) -> None:
    whole, at = json.dumps(args), sorted(cuts)
    pieces = [whole[start:end] for start, end in zip([0, *at], [*at, len(whole) + 20], strict=True)]
    parts = [
        ours.AIMessageChunk(
            text, tool_call_chunks=[{"name": name, "args": piece, "id": name, "index": 0}]
        )
        for name, piece in zip(["f", *[None] * len(at)], pieces, strict=True)
    ]
    there = [to_langchain(part) for part in parts]
    total = there[0]
    for part in there[1:]:
        total = total + part
    assert total.content == ours.merge_chunks(parts).content
    assert total.tool_call_chunks == ours.merge_chunks(parts).tool_call_chunks
    assert total.tool_calls == ours.merge_chunks(parts).tool_calls


def test_a_message_shares_nothing_that_can_change_but_its_artifact() -> None:
    artifact = {"rows": [1]}
    message = ours.ToolMessage([{"type": "text", "text": "a"}], tool_call_id="1", artifact=artifact)
    there = to_langchain(message)
    before = copy.deepcopy(message)
    there.content[0]["text"] = "b"
    there.additional_kwargs["x"] = 1
    assert message == before
    assert there.artifact is artifact


def test_values_inside_of_containers_are_converted_and_others_stay_the_same_objects() -> None:
    own = object()
    value = {
        "messages": [ours.HumanMessage("a")],
        "docs": (Document("b", metadata={"n": 1}),),
        "own": own,
        "x": [1],
    }
    there = to_langchain(value)
    assert isinstance(there["messages"][0], theirs.HumanMessage)
    assert there["docs"] == (TheirDocument(page_content="b", metadata={"n": 1}),)
    assert there["own"] is own
    assert there["x"] is value["x"]
    assert from_langchain(there) == value
    plain = {"a": [1, {"b": (2,)}]}
    assert to_langchain(plain) is plain


@pytest.mark.parametrize(
    "prompt",
    [
        StringPromptValue(text="hi"),
        ChatPromptValue(messages=[theirs.SystemMessage("s"), theirs.HumanMessage("hi")]),
    ],
)
def test_prompt_values_go_both_ways(prompt: Any) -> None:
    here = from_langchain(prompt)
    assert type(here).__module__.startswith("modelwire.")
    assert here.to_string() == prompt.to_string()
    assert to_langchain(here) == prompt


def test_a_class_of_the_users_own_goes_as_the_kind_it_is_built_on() -> None:
    class Mine(theirs.HumanMessage):
        mood: str = "good"

    here = from_langchain(Mine("hi"))
    assert type(here) is ours.HumanMessage
    assert (here.content, here.mood) == ("hi", "good")  # type: ignore[attr-defined]


def test_a_message_without_a_counterpart_is_refused_by_name() -> None:
    class Odd(theirs.BaseMessage):
        type: str = "odd"

    with pytest.raises(InvalidType, match=r"Odd.*`HumanMessage`"):
        from_langchain([Odd(content="hi")])


@pytest.mark.parametrize(
    "thing", [TheirDocument(page_content="x"), [TheirDocument(page_content="x")]]
)
def test_an_object_that_is_no_message_is_refused_by_name_before_any_request(thing: Any) -> None:
    with ProviderServer() as server:
        with pytest.raises(InvalidType, match="`langchain_core`'s `Document`"):
            server.model("openai").invoke(thing)
        assert not server.requests

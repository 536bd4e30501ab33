from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from modelwire.errors import CallerError, InvalidArgument, InvalidType
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    ChatMessage,
    ChatMessageChunk,
    FunctionMessage,
    FunctionMessageChunk,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    SystemMessageChunk,
    ToolMessage,
    ToolMessageChunk,
    merge_chunks,
    message_chunk_to_message,
)

EVERY_MESSAGE = [
    HumanMessage("x", name="bob", id="1"),
    SystemMessage("x"),
    AIMessage("x", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "1"}]),
    ToolMessage("x", tool_call_id="1", artifact={"rows": 3}, status="error"),
    ChatMessage("x", role="critic"),
    FunctionMessage("x", name="f"),
    HumanMessageChunk("x"),
    SystemMessageChunk("x"),
    AIMessageChunk("x", tool_call_chunks=[{"name": "f", "args": '{"a"', "id": "1", "index": 0}]),
    ToolMessageChunk("x", tool_call_id="1"),
    ChatMessageChunk("x", role="critic"),
    FunctionMessageChunk("x", name="f"),
]
IDS = [type(message).__name__ for message in EVERY_MESSAGE]


class Note(HumanMessage):
    colour: str = "red"
    stars: list[int] = []


class LongChunk(AIMessageChunk):
    source: str = "?"


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=IDS)
def test_every_message_survives_pickle_copy_and_its_own_dump(message: BaseMessage) -> None:
    assert pickle.loads(pickle.dumps(message)) == message
    assert copy.deepcopy(message) == message
    assert message.model_copy() == message
    assert type(message).model_validate(message.model_dump()) == message
    assert type(message).model_validate_json(message.model_dump_json()) == message


def test_any_message_reads_each_class_back_by_its_type() -> None:
    adapter: TypeAdapter[list[Any]] = TypeAdapter(list[AnyMessage])
    read = adapter.validate_json(adapter.dump_json(EVERY_MESSAGE))
    assert read == EVERY_MESSAGE
    assert [type(message) for message in read] == [type(message) for message in EVERY_MESSAGE]
    assert adapter.validate_python(EVERY_MESSAGE) == EVERY_MESSAGE
    with pytest.raises(ValidationError):
        adapter.validate_python([{"type": "nobody", "content": "x"}])
    assert "AIMessageChunk" in adapter.json_schema()["$defs"]


@pytest.mark.parametrize(
    "cls", [HumanMessage, SystemMessage, AIMessage, AIMessageChunk, HumanMessageChunk]
)
def test_a_message_made_without_validation_equals_a_validated_one(cls: type[BaseMessage]) -> None:
    validated = cls.model_validate({"content": "hi", "id": "1"})
    for quick in (cls.of("hi", id="1"), cls("hi", id="1"), cls(content="hi", id="1")):
        assert quick == validated
        assert repr(quick) == repr(validated)
        assert quick.model_dump() == validated.model_dump()
        assert list(quick.model_dump()) == list(validated.model_dump())
        assert quick.model_dump(exclude_unset=True) == {"content": "hi", "id": "1"}
        assert pickle.loads(pickle.dumps(quick)) == validated
        assert quick.model_copy(update={"id": "2"}) != validated


def test_messages_made_quickly_share_no_mutable_default() -> None:
    one, other = HumanMessage("a"), HumanMessage("b")
    one.additional_kwargs["x"] = 1
    assert other.additional_kwargs == {}


def test_a_users_subclass_keeps_its_fields_and_validation() -> None:
    note = Note("hi", colour="blue")
    assert (note.colour, note.stars, note.type) == ("blue", [], "human")
    assert Note("hi").colour == "red"
    assert Note.of("hi").model_dump()["colour"] == "red"
    with pytest.raises(InvalidArgument, match="stars"):
        Note("hi", stars="many")


def test_a_users_chunk_class_is_kept_by_sums_with_its_own_fields() -> None:
    total = LongChunk("a", source="wire") + AIMessageChunk("b")
    assert isinstance(total, LongChunk)
    assert (total.content, total.source) == ("ab", "wire")
    assert type(message_chunk_to_message(total)) is AIMessage


def test_content_is_positional_and_unknown_fields_are_kept() -> None:
    message = HumanMessage("hi", mood="good")
    assert message.content == "hi"
    assert message.mood == "good"  # type: ignore[attr-defined]
    assert message == HumanMessage(content="hi", mood="good")
    assert HumanMessage("x", id=3).id == "3"


def test_content_blocks_become_the_content() -> None:
    blocks = [{"type": "text", "text": "hi"}]
    assert HumanMessage(content_blocks=blocks).content == blocks
    assert HumanMessage.model_validate({"content_blocks": blocks}).content == blocks


@pytest.mark.parametrize("content", [3, None, {"a": 1}, [3], object()])
def test_content_of_a_foreign_type_is_refused_by_type_and_never_shown(content: Any) -> None:
    with pytest.raises(InvalidArgument, match="HumanMessage") as caught:
        HumanMessage(content)
    assert isinstance(caught.value, CallerError | ValueError)


def test_a_refused_message_does_not_show_the_prompt() -> None:
    with pytest.raises(InvalidArgument) as caught:
        AIMessage("SECRET PROMPT", tool_calls=[{"name": "f", "args": "SECRET ARGS", "id": "1"}])
    assert "SECRET" not in str(caught.value)
    assert "tool_calls.0.args" in str(caught.value)


def test_a_bad_message_inside_a_users_model_is_an_ordinary_validation_error() -> None:
    class Box(BaseModel):
        message: HumanMessage

    with pytest.raises(ValidationError, match="message"):
        Box.model_validate({"message": {"content": 3}})
    assert Box.model_validate({"message": {"content": "hi"}}).message == HumanMessage("hi")


def test_text_is_a_string_that_may_be_called() -> None:
    message = AIMessage(
        [
            "a",
            {"type": "text", "text": "b"},
            {"type": "reasoning", "reasoning": "no"},
            {"type": "text"},
        ]
    )
    assert message.text == "ab"
    assert message.text() == "ab"
    assert type(message.text()) is str
    assert AIMessage("plain").text.upper() == "PLAIN"


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        (
            AIMessage("hi"),
            "AIMessage(content='hi', additional_kwargs={}, response_metadata={}, tool_calls=[], invalid_tool_calls=[])",
        ),
        (
            HumanMessage("hi", name="bob"),
            "HumanMessage(content='hi', additional_kwargs={}, response_metadata={}, name='bob')",
        ),
        (ToolMessage("hi", tool_call_id="x"), "ToolMessage(content='hi', tool_call_id='x')"),
        (
            ToolMessage("hi", tool_call_id="x", status="error"),
            "ToolMessage(content='hi', tool_call_id='x', status='error')",
        ),
        (
            HumanMessage("hi", mood=1),
            "HumanMessage(content='hi', additional_kwargs={}, response_metadata={}, mood=1)",
        ),
    ],
)
def test_repr_shows_what_was_said_and_leaves_out_defaults(message: BaseMessage, shown: str) -> None:
    assert repr(message) == shown


def test_pretty_repr_centres_a_title_over_the_content(capsys: pytest.CaptureFixture[str]) -> None:
    message = HumanMessage("hi", name="bob")
    assert message.pretty_repr() == f"{'=' * 32} Human Message {'=' * 33}\nName: bob\n\nhi"
    assert (
        HumanMessage("x").pretty_repr(html=True)
        == f"{'=' * 32}\033[1m Human Message \033[0m{'=' * 33}\n\nx"
    )
    message.pretty_print()
    assert capsys.readouterr().out == message.pretty_repr() + "\n"


def test_a_chunk_adds_to_chunks_only() -> None:
    with pytest.raises(InvalidType, match="AIMessage"):
        AIMessageChunk("a") + AIMessage("b")
    with pytest.raises(TypeError):
        HumanMessageChunk("a") + "b"


def test_a_chunk_adds_a_list_of_chunks() -> None:
    more = [HumanMessageChunk("b"), HumanMessageChunk("c")]
    assert (HumanMessageChunk("a") + more).content == "abc"


def test_the_sum_of_mixed_kinds_has_the_left_kind() -> None:
    assert type(HumanMessageChunk("a") + AIMessageChunk("b")) is HumanMessageChunk
    assert (AIMessageChunk("a") + HumanMessageChunk("b")) == AIMessageChunk("ab")
    assert (ChatMessageChunk("a", role="r") + HumanMessageChunk("b")).content == "ab"


def test_the_sum_keeps_the_first_name_there_is() -> None:
    assert (
        HumanMessageChunk("a")
        + HumanMessageChunk("b", name="bob")
        + HumanMessageChunk("c", name="al")
    ).name == "bob"


@pytest.mark.parametrize(
    ("ids", "best"),
    [
        ([None, None], None),
        ([None, "x", "y"], "x"),
        (["lc_run-1", "x"], "x"),
        (["lc_1", "lc_run-2", "lc_run-3"], "lc_run-2"),
        (["lc_2", None], "lc_2"),
        (["run-1", "x"], "run-1"),
    ],
)
def test_an_id_of_the_provider_beats_one_made_up_here(
    ids: list[str | None], best: str | None
) -> None:
    assert merge_chunks([AIMessageChunk("a", id=id_) for id_ in ids]).id == best


def test_chat_chunks_of_two_roles_do_not_add_up() -> None:
    assert (ChatMessageChunk("a", role="r") + ChatMessageChunk("b", role="r")) == ChatMessageChunk(
        "ab", role="r"
    )
    with pytest.raises(ValueError, match="different roles"):
        ChatMessageChunk("a", role="r") + ChatMessageChunk("b", role="s")


def test_function_chunks_of_two_names_do_not_add_up() -> None:
    total = FunctionMessageChunk("a", name="f") + FunctionMessageChunk("b", name="f")
    assert total == FunctionMessageChunk("ab", name="f")
    with pytest.raises(ValueError, match="different names"):
        FunctionMessageChunk("a", name="f") + FunctionMessageChunk("b", name="g")


def test_merge_chunks_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="No chunks"):
        merge_chunks([])
    only = AIMessageChunk("a")
    assert merge_chunks(iter([only])) is only


def test_a_remove_message_is_only_an_id() -> None:
    assert RemoveMessage("3") == RemoveMessage(id="3")
    assert (RemoveMessage(id="3").content, RemoveMessage(id="3").type) == ("", "remove")
    with pytest.raises(InvalidArgument, match="content"):
        RemoveMessage(id="3", content="x")
    assert pickle.loads(pickle.dumps(RemoveMessage(id="3"))) == RemoveMessage(id="3")

"""An answer goes back in the next turn with all that the service needs of it; whole or streamed, dumped or not."""

from __future__ import annotations

import base64
import itertools
import json
from typing import Any

import pytest

from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.openai_chat.messages import OPENAI, Dialect, turns_from_messages
from modelwire.messages import (
    AIMessage,
    convert_to_messages,
    merge_chunks,
    message_chunk_to_message,
    messages_from_dict,
    messages_to_dict,
)
from modelwire.transport.wire import Reply, ServerEvent

CODEC = ChatCompletionsCodec()
SIGNED = {"google": {"thought_signature": "s=="}}
SIGNED_CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "f", "arguments": '{"a":1}'},
    "extra_content": SIGNED,
}
CUSTOM_CALL = {"id": "c2", "type": "custom", "custom": {"name": "sh", "input": 'echo "ä"\n'}}
PLAIN_CALL = {"id": "c3", "type": "function", "function": {"name": "g", "arguments": "{}"}}


def whole(message: dict[str, Any], codec: ChatCompletionsCodec = CODEC) -> AIMessage:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return codec.decode(Reply(200, {}, json.dumps({"id": "x", "choices": [choice]}).encode()))


def streamed(*deltas: dict[str, Any], codec: ChatCompletionsCodec = CODEC) -> AIMessage:
    decoder = codec.stream_decoder()
    chunks = []
    for delta in deltas:
        chunks += decoder.feed(
            ServerEvent(
                "", json.dumps({"id": "x", "choices": [{"index": 0, "delta": delta}]}).encode()
            )
        )
    decoder.feed(ServerEvent("", b"[DONE]"))
    message: Any = message_chunk_to_message(merge_chunks([*chunks, *decoder.close()]))
    return message


def pieces(call: dict[str, Any], index: int) -> list[dict[str, Any]]:
    """A call, its free text in two pieces."""
    if call["type"] == "function":
        return [{"tool_calls": [{**call, "index": index}]}]
    name, text = call["custom"]["name"], call["custom"]["input"]
    return [
        {"tool_calls": [{**call, "index": index, "custom": {"name": name, "input": text[:6]}}]},
        {"tool_calls": [{"index": index, "custom": {"input": text[6:]}}]},
    ]


def turn(message: Any, *, provider: str = "openai", dialect: Dialect = OPENAI) -> dict[str, Any]:
    (said,) = turns_from_messages([message], dialect, provider=provider)
    return said


CALLS = [SIGNED_CALL, CUSTOM_CALL, PLAIN_CALL]
ANSWERS = {
    "whole": whole({"content": None, "tool_calls": CALLS}),
    "streamed": streamed(*(delta for n, call in enumerate(CALLS) for delta in pieces(call, n))),
    "as a dict": convert_to_messages([{"role": "assistant", "content": None, "tool_calls": CALLS}])[
        0
    ],
}


@pytest.mark.parametrize("how", ANSWERS)
def test_calls_return_as_they_came_also_after_a_dump(how: str) -> None:
    answer: Any = ANSWERS[how]
    assert [call["args"] for call in answer.tool_calls] == [{"a": 1}, {"__arg1": 'echo "ä"\n'}, {}]
    dumped = type(answer).model_validate(answer.model_dump())
    for message in (answer, dumped, *messages_from_dict(messages_to_dict([answer]))):
        assert turn(message) == {"role": "assistant", "content": None, "tool_calls": CALLS}


def test_what_one_service_says_of_its_calls_is_not_told_to_another() -> None:
    said = turn(ANSWERS["whole"], provider="groq")["tool_calls"]
    assert [call["type"] for call in said] == ["function"] * 3
    assert "extra_content" not in said[0]
    assert json.loads(said[1]["function"]["arguments"]) == {"__arg1": 'echo "ä"\n'}


def test_extras_of_a_call_without_an_id_find_it() -> None:
    bare = {name: value for name, value in SIGNED_CALL.items() if name != "id"}
    for message in (whole({"tool_calls": [bare]}), streamed({"tool_calls": [bare]})):
        (call,) = turn(message)["tool_calls"]
        assert (call["extra_content"], call["id"]) == (SIGNED, message.tool_calls[0]["id"])


@pytest.mark.parametrize("extras", [7, {"c1": 7}, {"other": {"type": "custom"}}])
def test_extras_nobody_can_read_are_no_matter(extras: Any) -> None:
    message = AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "c1"}])
    message.additional_kwargs["tool_call_extras"] = extras
    assert turn(message)["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}


@pytest.mark.parametrize("cuts", [(), (1,), (3,), (4, 8), (2, 5, 7)])
def test_pieces_of_audio_are_joined_though_each_is_padded_for_itself(cuts: tuple[int, ...]) -> None:
    sound = bytes(range(11))
    edges = [0, *cuts, len(sound)]
    parts = [sound[start:end] for start, end in itertools.pairwise(edges)]
    audio = [{"data": base64.b64encode(part).decode()} for part in parts]
    audio = [{"id": "audio_1", "transcript": "a"}, *audio, {"transcript": "b", "expires_at": 7}]
    answer = streamed(*({"audio": each} for each in audio))
    said = answer.additional_kwargs["audio"]
    assert base64.b64decode(said["data"], validate=True) == sound
    assert (said["id"], said["transcript"], said["expires_at"]) == ("audio_1", "ab", 7)
    assert turn(answer) == {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}


def test_audio_cut_anywhere_is_joined_and_what_is_no_base64_stays() -> None:
    for data in (["AAE", "CAw=", "="], ["===", "?"]):
        answer = streamed(*({"audio": {"id": "a", "data": piece}} for piece in data))
        assert answer.additional_kwargs["audio"]["data"] == "".join(data)


def test_reasoning_returns_under_the_name_the_service_has_for_it() -> None:
    details = [{"type": "reasoning.encrypted", "data": "x", "index": 0}]
    answer = whole({"content": "a", "reasoning": "hm", "reasoning_details": details})
    for names, wanted in (
        ((), {}),
        (("reasoning",), {"reasoning": "hm"}),
        (
            ("reasoning_content", "reasoning_details"),
            {"reasoning_content": "hm", "reasoning_details": details},
        ),
    ):
        said = turn(answer, dialect=Dialect(replayed=names))
        assert said == {"role": "assistant", "content": "a", **wanted}

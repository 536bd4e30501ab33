"""Recorded Chat Completions answers as history; `tests/corpus` has how they are read."""

from __future__ import annotations

from typing import Any

from support.recordings import decoded, records

from modelwire.adapters.wires.openai_chat.codec import ChatCompletionsCodec
from modelwire.adapters.wires.openai_chat.messages import OPENAI, turns_from_messages


def test_an_answer_once_read_can_be_sent_back() -> None:
    """The first turn's answer is the second turn's history."""
    for record in records("openai_chat", failed=False):
        message = decoded(ChatCompletionsCodec(), record)
        (turn,) = turns_from_messages([message], OPENAI)
        assert turn["role"] == "assistant", record["id"]
        sent = [(call["id"], call["function"]["name"]) for call in turn.get("tool_calls", ())]
        calls: list[Any] = [*message.tool_calls, *message.invalid_tool_calls]
        assert sent == [(call["id"], call["name"]) for call in calls], record["id"]
        assert (turn["content"] or "") == message.content or isinstance(message.content, list), (
            record["id"]
        )

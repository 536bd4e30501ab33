"""Recorded calls read back: made again over the same wire, they send what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelwire.compare.recording import RecordedCall, read_recording
from modelwire.messages import HumanMessage, SystemMessage, ToolMessage
from modelwire.testing import Answer, ProviderServer, faults, recorded

WIRES = ("openai", "responses", "anthropic", "gemini", "bedrock")
PIXEL = {"type": "image", "base64": "iVBORw0KGgo=", "mime_type": "image/png"}
ADD: dict[str, Any] = {
    "name": "add",
    "description": "Add up.",
    "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}
SCHEMA = {
    "title": "answer",
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}


def bound(model: Any, call: RecordedCall) -> Any:
    params = dict(call.params)
    tools, choice = params.pop("tools", None), params.pop("tool_choice", None)
    return (model.bind_tools(tools, tool_choice=choice) if tools else model).bind(**params)


@pytest.mark.parametrize("wire", WIRES)
def test_what_is_read_back_is_sent_as_it_was_recorded(wire: Any, tmp_path: Path) -> None:
    with ProviderServer([Answer(tool_calls=[{"name": "add", "args": {"a": 1}}])]) as server:
        model: Any = server.model(wire, temperature=0.5, max_tokens=50)
        with recorded(tmp_path / "run.jsonl"):
            tools = model.bind_tools([{"type": "function", "function": ADD}], tool_choice="any")
            asked = [
                SystemMessage("Be short."),
                HumanMessage([{"type": "text", "text": "What is it?"}, PIXEL]),
            ]
            answer = tools.invoke(asked)
            tools.invoke(
                [*asked, answer, ToolMessage("2", tool_call_id=answer.tool_calls[0]["id"])]
            )
            assert "".join(chunk.text for chunk in model.stream("Hello there.")) == "Hello there."
            model.bind(response_format=FORM).invoke("As JSON.")
        calls = read_recording(tmp_path / "run.jsonl")
        bodies = [request.body for request in server.requests]
        plain = server.model(wire)
        for call, body in zip(calls, bodies, strict=True):
            kwargs = bound(plain, call).kwargs
            again = plain._build_request(
                call.messages, kwargs.pop("stop", None), kwargs, stream=False
            )[1].body
            assert {**again, "stream": None, "stream_options": None} == {
                **body,
                "stream": None,
                "stream_options": None,
            }
            assert call.left_out == []
    assert [call.error for call in calls] == [None] * 4
    assert calls[0].answer is not None and calls[0].answer.tool_calls == answer.tool_calls
    assert calls[2].answer is not None and calls[2].answer.text == "Hello there."
    assert {call.model for call in calls} == {model.model}


def test_of_the_tries_of_a_call_the_last_one_counts(tmp_path: Path) -> None:
    with (
        ProviderServer([faults.status(503), "Yes.", faults.status(400)]) as server,
        recorded(tmp_path / "run.jsonl"),
    ):
        model = server.model("openai", max_retries=2)
        model.invoke("Well?")
        with pytest.raises(Exception, match="400"):
            model.invoke("And now?")
    calls = read_recording(tmp_path / "run.jsonl")
    assert [
        (call.answer and call.answer.text, (call.error or "").partition(":")[0]) for call in calls
    ] == [
        ("Yes.", ""),
        (None, "BadRequest"),
    ]

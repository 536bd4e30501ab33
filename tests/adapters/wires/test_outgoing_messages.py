"""Tool calls of a history that one wire takes and another refuses: each wire gets pairs of call and result."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest

from modelwire.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from modelwire.testing import ProviderServer

WIRES = ("openai", "responses", "anthropic", "bedrock", "gemini")


def body_of(wire: str, history: list[Any]) -> Any:
    with ProviderServer() as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        server.model(wire).invoke(history)  # type: ignore[arg-type]
        return server.requests[0].body


def found(value: Any, key: str) -> list[Any]:
    """Return all values under a key, in the order of the body."""
    if isinstance(value, list):
        return [it for item in value for it in found(item, key)]
    if not isinstance(value, dict):
        return []
    own = [value[key]] if key in value else []
    return own + [it for item in value.values() for it in found(item, key)]


def pairs_of(wire: str, body: Any) -> tuple[list[Any], list[Any]]:
    """Return the ids of the calls and those of the results in a body, each in order."""
    if wire == "openai":
        calls = [call["id"] for turn in body["messages"] for call in turn.get("tool_calls", ())]
        return calls, found(body["messages"], "tool_call_id")
    if wire == "responses":
        kinds = ("function_call", "function_call_output")
        items = [[it["call_id"] for it in body["input"] if it.get("type") == k] for k in kinds]
        return items[0], items[1]
    if wire == "anthropic":
        blocks = [it for it in found(body, "content") if isinstance(it, list)]
        calls = [it["id"] for one in blocks for it in one if it["type"] == "tool_use"]
        return calls, found(body, "tool_use_id")
    if wire == "bedrock":
        ids = [[it["toolUseId"] for it in found(body, k)] for k in ("toolUse", "toolResult")]
        return ids[0], ids[1]
    ids = [[it.get("id") for it in found(body, k)] for k in ("functionCall", "functionResponse")]
    return ids[0], ids[1]


def call(id: Any, **args: Any) -> dict[str, Any]:
    return {"name": "add", "args": args, "id": id, "type": "tool_call"}


def cut_call(id: Any) -> dict[str, Any]:
    return {
        "name": "add",
        "args": '{"a": 17',
        "id": id,
        "error": "cut",
        "type": "invalid_tool_call",
    }


CUT: dict[str, AIMessage] = {
    "text": AIMessage("Let me.", invalid_tool_calls=[cut_call("c1")]),  # type: ignore[list-item]
    "sum of a stream": AIMessageChunk(
        "Let me.",
        chunk_position="last",
        tool_call_chunks=[
            {"name": "add", "args": '{"a": 17', "id": "c1", "index": 0, "type": "tool_call_chunk"}
        ],
    ),
    "raw": AIMessage(
        "Let me.",
        additional_kwargs={
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "add", "arguments": '{"a": 17'},
                }
            ]
        },
    ),
    "block of Anthropic's": AIMessage(
        [
            {"type": "text", "text": "Let me."},
            {"type": "tool_use", "id": "c1", "name": "add", "input": {}},
        ],
        invalid_tool_calls=[cut_call("c1")],  # type: ignore[list-item]
    ),
    "item of Responses": AIMessage(
        [
            {"type": "text", "text": "Let me."},
            {
                "type": "function_call",
                "id": "fc_1",
                "call_id": "c1",
                "name": "add",
                "arguments": '{"a": 17',
            },
        ],
        invalid_tool_calls=[cut_call("c1")],  # type: ignore[list-item]
    ),
}


@pytest.mark.parametrize("form", CUT)
@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_call_without_a_result_is_left_out(wire: str, form: str) -> None:
    before = CUT[form].model_dump()
    body = body_of(wire, [HumanMessage("hi"), CUT[form], HumanMessage("go on")])
    assert pairs_of(wire, body) == ([], [])
    assert "17" not in json.dumps(body)
    assert "Let me." in json.dumps(body)
    assert CUT[form].model_dump() == before


@pytest.mark.parametrize("wire", WIRES)
def test_a_cut_call_with_a_result_is_sent_with_it(wire: str) -> None:
    body = body_of(
        wire, [HumanMessage("hi"), CUT["text"], ToolMessage("again, please", tool_call_id="c1")]
    )
    assert pairs_of(wire, body) == (["c1"], ["c1"])


@pytest.mark.parametrize("wire", WIRES)
def test_a_result_of_a_later_call_with_the_same_id_does_not_keep_a_cut_one(wire: str) -> None:
    later = AIMessage("", tool_calls=[call("c1", a=2)])  # type: ignore[list-item]
    history = [HumanMessage("hi"), CUT["text"], HumanMessage("go on"), later]
    body = body_of(wire, [*history, ToolMessage("sum", tool_call_id="c1")])
    assert pairs_of(wire, body) == (["c1"], ["c1"])
    assert "17" not in json.dumps(body)


@pytest.mark.parametrize("wire", WIRES)
def test_repeated_ids_of_calls_become_unique_and_their_results_follow(wire: str) -> None:
    history = [HumanMessage("hi")]
    for turn in range(2):
        calls = [call("c1", a=turn, b=n) for n in range(2)]
        history += [AIMessage("", tool_calls=calls)]  # type: ignore[list-item]
        history += [ToolMessage(f"sum {turn} {n}", tool_call_id="c1") for n in range(2)]
    before = [message.model_dump() for message in history]
    calls_sent, results_sent = pairs_of(wire, body := body_of(wire, history))
    assert calls_sent == results_sent
    assert len(calls_sent) == 4
    if wire == "gemini":  # without an id, order pairs them
        assert calls_sent == ["c1", None, None, None]
    else:
        assert len(set(calls_sent)) == 4
        assert calls_sent[0] == "c1"
        # The beginning of a history stays as it is when it grows, for the provider's cache.
        assert pairs_of(wire, body_of(wire, history[:4]))[0] == calls_sent[:2]
    text = json.dumps(body)
    assert text.index("sum 0 0") < text.index("sum 0 1") < text.index("sum 1 0")
    assert [message.model_dump() for message in history] == before


@pytest.mark.parametrize("form", ["calls", "blocks"])
@pytest.mark.parametrize("missing", [None, ""])
@pytest.mark.parametrize("wire", WIRES)
def test_a_missing_id_of_a_call_is_made_and_its_result_gets_it(
    wire: str, missing: Any, form: str
) -> None:
    calls: list[Any] = [call(missing, a=n) for n in range(2)]
    content: Any = [{"type": "text", "text": "So."}] if form == "blocks" else "So."
    if form == "blocks":
        content += [
            {"type": "tool_use", "id": missing, "name": "add", "input": {"a": n}} for n in range(2)
        ]
    history = [
        HumanMessage("hi"),
        AIMessage(content, tool_calls=calls),
        ToolMessage("sum 0", tool_call_id="", name="add"),
        ToolMessage("sum 1", tool_call_id="", name="add"),
    ]
    calls_sent, results_sent = pairs_of(wire, body_of(wire, history))
    assert calls_sent == results_sent
    if wire == "gemini":
        assert calls_sent == [None, None]  # Gemini's calls need no id
    else:
        assert len(set(calls_sent)) == 2
        assert all(isinstance(id, str) and len(id) == 9 and id.isalnum() for id in calls_sent)


@pytest.mark.parametrize("wire", WIRES)
def test_results_that_a_caller_writes_as_blocks_follow_the_new_ids(wire: str) -> None:
    calls: list[Any] = [call("c1", a=n) for n in range(2)]
    results = [
        {"type": "tool_result", "tool_use_id": "c1", "content": f"sum {n}"} for n in range(2)
    ]
    history = [HumanMessage("hi"), AIMessage("", tool_calls=calls), HumanMessage(results)]
    calls_sent, results_sent = pairs_of(wire, body_of(wire, history))
    assert calls_sent == results_sent
    assert len(set(calls_sent)) == 2


def test_extra_fields_and_signatures_of_a_call_stay_with_its_new_id() -> None:
    from modelwire.adapters.wires.outgoing_messages import CALL_SIGNATURES

    kwargs = {CALL_SIGNATURES: {"c1": "sig"}}
    history = [HumanMessage("hi")]
    for turn in range(2):
        answer = AIMessage("", tool_calls=[call("c1", a=turn)], additional_kwargs=kwargs)  # type: ignore[list-item]
        history += [answer, ToolMessage("sum", tool_call_id="c1")]
    assert found(body_of("gemini", history), "thoughtSignature") == ["sig", "sig"]

"""Agent runs, as the series of calls that they are: three of our own, and the longest of the recorded traffic."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from support.recordings import records

from modelwire.messages import (
    AIMessage,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    convert_to_messages,
)

__all__ = ["AgentRun", "own_runs", "recorded_runs"]

Tool = dict[str, Any]


class AgentRun(NamedTuple):
    """The whole history of a run, and its tools."""

    name: str
    tools: list[Tool]
    history: list[AnyMessage]

    def calls(self) -> Iterator[list[AnyMessage]]:
        """Yield what each call of the run has sent: all that stood before an answer, and at last the whole."""
        for at, message in enumerate(self.history):
            if isinstance(message, AIMessage) and at:
                yield self.history[:at]
        if not isinstance(self.history[-1], AIMessage):
            yield self.history


def _text(size_bytes: int, seed: str) -> str:
    """Return a text that differs from others from its first word on."""
    sentence = f"{seed}: this is a sentence of a long text, as agents read them. "
    return (sentence * (size_bytes // len(sentence) + 1))[:size_bytes]


def _tool(name: str, size_bytes: int) -> Tool:
    parameters = {"type": "object", "properties": {"n": {"type": "integer"}}}
    described = {"name": name, "description": _text(size_bytes, name), "parameters": parameters}
    return {"type": "function", "function": described}


def _run(
    name: str, *, system_bytes: int, result_bytes: int, tools: int, calls_a_turn: int = 1
) -> AgentRun:
    """Return a run of 20 turns, each with calls of tools and their results."""
    history: list[AnyMessage] = [
        SystemMessage(_text(system_bytes, "rules")),
        HumanMessage(f"Do the work of {name}."),
    ]
    for turn in range(20):
        calls = [
            {"name": "tool_0", "args": {"n": n}, "id": f"call_{turn}_{n}"}
            for n in range(calls_a_turn)
        ]
        history.append(AIMessage(f"Step {turn}.", tool_calls=calls))
        for call in calls:
            text = _text(result_bytes // calls_a_turn, str(call["id"]))
            history.append(ToolMessage(text, tool_call_id=str(call["id"])))
    return AgentRun(name, [_tool(f"tool_{n}", 1_000) for n in range(tools)], history)


def own_runs() -> list[AgentRun]:
    """Return three runs of some 100 KB: a long system prompt, long results, and many parallel calls."""
    return [
        _run("a long system prompt", system_bytes=60_000, result_bytes=1_700, tools=6),
        _run("long results", system_bytes=4_000, result_bytes=4_600, tools=3),
        # More blocks in a turn than a provider looks back.
        _run("parallel calls", system_bytes=8_000, result_bytes=4_200, tools=4, calls_a_turn=24),
    ]


def recorded_runs(count: int) -> list[AgentRun]:
    """Return the longest histories of the recorded traffic; the test is skipped where there is none."""
    found: dict[str, AgentRun] = {}
    for record in records("openai_chat"):
        body = record["request_body"]
        turns = body.get("messages") or []
        if not any(turn.get("role") == "assistant" for turn in turns):
            continue
        try:
            history = convert_to_messages(turns)
        except ValueError:
            continue  # A body that was recorded with an error.
        tools = [
            {"type": "function", "function": tool["function"]}  # without marks of its own
            for tool in body.get("tools") or []
            if tool.get("type") == "function"
        ]
        found.setdefault(repr(turns), AgentRun(record["id"], tools, list(history)))
    longest = sorted(found.values(), key=lambda run: len(repr(run.history)), reverse=True)
    return longest[:count]

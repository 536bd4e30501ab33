"""Answers that the provider makes in the background: polled until they are final, cancelled if the caller leaves."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import modelwire
from modelwire.adapters.model import background
from modelwire.budgets import budget
from modelwire.errors import IncompleteAnswer, InvalidArgument, Refused, ServerError, Timeout
from modelwire.testing import Answer, ProviderServer, faults
from modelwire.transport.connections import pooled

ROOT = str(Path(modelwire.__file__).parents[1])


@pytest.fixture(autouse=True)
def short_polls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "FIRST_POLL_S", 0.01)
    monkeypatch.setattr(background, "LONGEST_POLL_S", 0.02)


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


def paths(server: ProviderServer) -> list[tuple[str, str]]:
    return [(request.method, request.path) for request in server.requests]


@pytest.mark.parametrize("polls", [0, 1, 4])
def test_an_answer_in_the_background_is_polled_until_it_is_there(
    server: ProviderServer, colour: Any, polls: int
) -> None:
    server.say(Answer("At last.", polls=polls, usage={"input_tokens": 7, "output_tokens": 3}))
    message = colour.invoke(server.model("responses"), "hi", background=True)
    assert message.text == "At last."
    assert message.usage_metadata["output_tokens"] == 3
    first, *rest = paths(server)
    assert first == ("POST", "/v1/responses")
    assert rest == [("GET", "/v1/responses/resp_1")] * (polls + 1)
    assert server.background.cancelled == []


@pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
def test_every_engine_polls(server: ProviderServer, engine: Any) -> None:
    server.say(Answer("At last."))
    model = server.model("responses", engine=engine)
    assert asyncio.run(model.ainvoke("hi", background=True)).text == "At last."


def test_a_client_of_the_sdk_polls(server: ProviderServer) -> None:
    from openai import OpenAI

    from modelwire.adapters import ChatOpenAI

    server.say(Answer("At last."))
    client = OpenAI(base_url=server.base_url_for("responses"), api_key="k")
    model = ChatOpenAI(model="gpt-test", client=client, use_responses_api=True)
    assert model.invoke("hi", background=True).text == "At last."


def test_a_users_client_polls(server: ProviderServer) -> None:
    import httpx2

    server.say(Answer("At last."))
    with httpx2.Client() as client:
        model = server.model("responses", http_client=client)
        assert model.invoke("hi", background=True).text == "At last."


def test_the_pauses_grow_and_retry_after_is_obeyed(
    server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "FIRST_POLL_S", 1.0)
    monkeypatch.setattr(background, "LONGEST_POLL_S", 10.0)
    pauses: list[float] = []
    monkeypatch.setattr(pooled, "sleep", pauses.append)
    server.say(Answer("At last.", polls=8))
    server.model("responses").invoke("hi", background=True)
    assert pauses[0] == 1.0
    assert pauses == sorted(pauses)
    assert pauses[-1] == 10.0
    assert len(pauses) == 9


def test_without_continuations_the_beginning_is_returned_and_can_be_resumed(
    server: ProviderServer, colour: Any
) -> None:
    server.say(Answer("At last.", polls=2))
    model = server.model("responses")
    queued = colour.invoke(model, "hi", background=True, max_continuations=0)
    assert (queued.text, queued.response_metadata["status"]) == ("", "queued")
    id = queued.response_metadata["id"]
    message = colour.run(lambda: model.resume_response(id), lambda: model.aresume_response(id))
    assert message.text == "At last."


def test_a_wrong_id_or_wire_is_an_error(server: ProviderServer, colour: Any) -> None:
    with pytest.raises(InvalidArgument, match="`id`"):
        server.model("responses").resume_response("")
    model = server.model("openai", use_responses_api=False)
    with pytest.raises(InvalidArgument):
        colour.run(lambda: model.resume_response("r"), lambda: model.aresume_response("r"))


@pytest.mark.parametrize("status", ["failed", "cancelled", "incomplete"])
def test_another_end_is_an_error(server: ProviderServer, colour: Any, status: str) -> None:
    body: dict[str, Any] = {"id": "resp_x", "object": "response", "status": status, "output": []}
    if status == "failed":
        body["error"] = {"code": "server_error", "message": "The model broke."}
    if status == "incomplete":
        body["incomplete_details"] = {"reason": "max_output_tokens"}
    server.say(body)
    kind = ServerError if status == "failed" else IncompleteAnswer
    words = {"failed": "The model broke", "incomplete": r"incomplete \(max_output_tokens\)"}
    with pytest.raises(kind, match=words.get(status, "ended as cancelled")):
        colour.invoke(server.model("responses", max_retries=0), "hi", background=True)


def test_a_refusal_in_the_background_is_refused(server: ProviderServer, colour: Any) -> None:
    server.say(Answer(refusal="I cannot."))
    with pytest.raises(Refused, match="I cannot"):
        colour.invoke(server.model("responses"), "hi", background=True)


def test_the_calls_timeout_cancels_the_answer(server: ProviderServer, colour: Any) -> None:
    server.say(Answer("Never.", polls=10**6))
    with pytest.raises(Timeout):
        colour.invoke(server.model("responses"), "hi", {"timeout": 0.5}, background=True)
    assert server.background.cancelled == ["resp_1"]


def test_a_cancelled_task_cancels_the_answer(server: ProviderServer) -> None:
    server.say(Answer("Never.", polls=10**6))

    async def leave() -> None:
        model = server.model("responses")
        task = asyncio.ensure_future(model.ainvoke("hi", background=True))
        while server.counts.requests < 3:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(leave())
    assert server.background.cancelled == ["resp_1"]


def test_ctrl_c_cancels_the_answer(server: ProviderServer, monkeypatch: pytest.MonkeyPatch) -> None:
    server.say(Answer("Never.", polls=10**6))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(pooled, "sleep", sleep)
    with pytest.raises(KeyboardInterrupt):
        server.model("responses").invoke("hi", background=True)
    assert server.background.cancelled == ["resp_1"]


def test_a_poll_that_fails_is_retried_and_cancels_nothing(
    server: ProviderServer, colour: Any
) -> None:
    server.say(Answer("At last.", polls=2))
    model = server.model("responses")
    queued = colour.invoke(model, "hi", background=True, max_continuations=0)
    id = queued.response_metadata["id"]
    server.close()
    with pytest.raises(modelwire.errors.ChatError, match=f"resume_response\\('{id}'\\)"):
        colour.run(
            lambda: model.resume_response(id, max_retries=0),
            lambda: model.aresume_response(id, max_retries=0),
        )
    assert server.background.cancelled == []


PROGRAM = """
import sys
from modelwire.adapters import ChatOpenAI

model = ChatOpenAI(model="gpt-test", base_url=sys.argv[1], api_key="k", use_responses_api=True)
begun = model.invoke("hi", background=True, max_continuations=0)
print(begun.response_metadata["id"], flush=True)
model.resume_response(begun.response_metadata["id"])
"""


def test_a_killed_program_is_picked_up(server: ProviderServer, colour: Any) -> None:
    server.say(Answer("At last.", polls=10**6))
    command = [sys.executable, "-c", PROGRAM, server.base_url_for("responses")]
    env = {**os.environ, "PYTHONPATH": ROOT}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        id = program.stdout.readline().strip()
        while not any(request.method == "GET" for request in server.requests):
            assert program.poll() is None
            time.sleep(0.01)
        os.kill(program.pid, signal.SIGKILL)
    assert server.background.cancelled == []
    server.background.finish(id)
    model = server.model("responses")
    message = colour.run(lambda: model.resume_response(id), lambda: model.aresume_response(id))
    assert message.text == "At last."


def test_a_stream_in_the_background_is_a_stream(server: ProviderServer, colour: Any) -> None:
    server.say(Answer("One two three."))
    chunks = colour.stream(server.model("responses"), "hi", background=True)
    assert "".join(str(chunk.text) for chunk in chunks) == "One two three."
    assert paths(server) == [("POST", "/v1/responses")]


def test_three_paused_turns_with_tools_between_are_one_turn(
    server: ProviderServer, colour: Any
) -> None:
    from modelwire.tools import arun_tools, run_tools

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    def part(number: int, reason: str, *blocks: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"msg_{number}",
            "type": "message",
            "role": "assistant",
            "model": "claude-test",
            "content": list(blocks),
            "stop_reason": reason,
            "usage": {"input_tokens": 10, "output_tokens": 1},
        }

    def text(words: str) -> dict[str, Any]:
        return {"type": "text", "text": words}

    def call(number: int) -> dict[str, Any]:
        args = {"a": number, "b": 1}
        return {"type": "tool_use", "id": f"toolu_{number}", "name": "add", "input": args}

    script = []
    for number in range(3):
        script.append(part(2 * number, "pause_turn", text(f"Search {number}. ")))
        script.append(part(2 * number + 1, "tool_use", text("Then add."), call(number)))
    script.append(part(6, "end_turn", text("Done.")))
    server.say(*script)
    model = server.model("anthropic")
    history = colour.run(
        lambda: run_tools(model, "hi", [add]), lambda: arun_tools(model, "hi", [add])
    )
    assert [message.type for message in history] == ["human", *["ai", "tool"] * 3, "ai"]
    assert [message.text for message in history if message.type == "tool"] == ["1", "2", "3"]
    turns = [message for message in history if message.type == "ai"]
    assert [turn.response_metadata.get("continued") for turn in turns] == [1, 1, 1, None]
    assert turns[0].text == "Search 0. Then add."
    assert sum(turn.usage_metadata["input_tokens"] for turn in turns) == 70
    assert server.counts.requests == 7


def test_the_pause_turn_fault_suspends_an_answer(server: ProviderServer, colour: Any) -> None:
    server.say(faults.pause_turn().on("The first half "), "and the rest.")
    message = colour.invoke(server.model("anthropic"), "hi")
    assert message.text == "The first half and the rest."
    server.say(faults.pause_turn().on("The first half "), "and the rest.")
    chunks = colour.stream(server.model("anthropic"), "hi")
    assert "".join(str(chunk.text) for chunk in chunks) == "The first half and the rest."


def test_a_resumed_answer_counts_in_a_budget(server: ProviderServer, colour: Any) -> None:
    server.say(Answer("At last.", polls=0, usage={"input_tokens": 7, "output_tokens": 3}))
    model = server.model("responses")
    id = model.invoke("hi", background=True, max_continuations=0).response_metadata["id"]
    with budget(tokens=1_000_000) as spending:
        colour.run(lambda: model.resume_response(id), lambda: model.aresume_response(id))
    assert (spending.spent.tokens, spending.spent.calls) == (10, 1)

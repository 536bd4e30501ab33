"""The test server refuses the requests that the providers refuse, in their words, unless `strict=False`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from modelwire.errors import BadRequest
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.testing import Answer, BatchPlan, ProviderServer
from modelwire.testing.server import request_rules
from modelwire.tools import tool
from tests.support import request_fields
from tests.support.answer_schemas import problems

Serve = Callable[..., ProviderServer]
JSON = dict[str, Any]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
RESPONSES = {"model": "m", "input": "hi"}
MESSAGES = {"max_tokens": 9, **CHAT}
CONVERSE = {"messages": [{"role": "user", "content": [{"text": "hi"}]}]}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
BODIES: dict[str, tuple[str, JSON]] = {
    "openai": ("/v1/chat/completions", CHAT),
    "responses": ("/v1/responses", RESPONSES),
    "anthropic": ("/v1/messages", MESSAGES),
    "bedrock": ("/model/m/converse", CONVERSE),
    "gemini": ("/v1beta/models/m:generateContent", GEMINI),
}
CHAT_CALL = {
    "role": "assistant",
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
CHAT_RESULT = {"role": "tool", "tool_call_id": "c1", "content": "1"}
USER = {"role": "user", "content": "hi"}
MARK = {"type": "ephemeral"}
USE = {"type": "tool_use", "id": "t1", "name": "f", "input": {"cache_control": MARK}}
RESULT = {"type": "tool_result", "tool_use_id": "t1", "content": "1"}
CONVERSE_USE = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {}}}
CONVERSE_RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"text": "1"}]}}
CONVERSE_TOOLS = {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}]}
POINT = {"cachePoint": {"type": "default"}}
G_CALL = {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]}
G_RESULT = {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]}
G_USER = GEMINI["contents"][0]


def said(role: str, *blocks: Any) -> JSON:
    return {"role": role, "content": list(blocks)}


def marked(many: int) -> JSON:
    return said(
        "user", *({"type": "text", "text": "x", "cache_control": MARK} for _ in range(many))
    )


# The wire, what is added to a body, and a part of the refusal.
REFUSED: list[tuple[str, JSON, str]] = [
    ("openai", {"foo": 1}, "Unrecognized request argument supplied: foo"),
    ("openai", {"messages": [{**USER, "foo": 1}]}, "Unknown parameter: 'messages[0].foo'."),
    ("openai", {"messages": [{**USER, "role": "human"}]}, "Invalid value: 'human'."),
    ("openai", {"messages": [USER, CHAT_CALL]}, "did not have response messages: c1"),
    ("openai", {"messages": [USER, CHAT_CALL, USER, CHAT_RESULT]}, "response messages: c1"),
    ("openai", {"messages": [USER, CHAT_RESULT]}, "must be a response to a preceeding message"),
    (
        "openai",
        {"tools": [{"type": "function", "function": {"name": "f"}, "foo": 1}]},
        "Unknown parameter: 'tools[0].foo'.",
    ),
    ("responses", {"foo": 1}, "Unknown parameter: 'foo'."),
    (
        "responses",
        {"input": [{"type": "function_call_output", "call_id": "c1", "output": "1"}]},
        "No tool call found for function call output with call_id c1.",
    ),
    (
        "responses",
        {"input": [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}]},
        "No tool output found for function call c1.",
    ),
    ("anthropic", {"foo": 1}, "foo: Extra inputs are not permitted"),
    ("anthropic", {"mcp_servers": []}, "mcp_servers: Extra inputs are not permitted"),
    (
        "anthropic",
        {"messages": [said("user", {"type": "text", "text": "x", "foo": 1})]},
        "messages.0.content.0.text.foo: Extra inputs are not permitted",
    ),
    (
        "anthropic",
        {"tools": [{"name": "f", "input_schema": {}, "foo": 1}]},
        "tools.0.custom.foo: Extra inputs are not permitted",
    ),
    ("anthropic", {"messages": [{**USER, "role": "tool"}]}, "messages.0.role: Input should be"),
    ("anthropic", {"messages": [USER, said("assistant", USE)]}, "without `tool_result` blocks"),
    ("anthropic", {"messages": [USER, said("assistant", USE), USER]}, "immediately after: t1."),
    ("anthropic", {"messages": [said("user", RESULT)]}, "unexpected `tool_use_id` found"),
    ("anthropic", {"messages": [marked(5)]}, "A maximum of 4 blocks with cache_control"),
    (
        "anthropic",
        {"messages": [marked(4)], "system": [{"type": "text", "text": "s", "cache_control": MARK}]},
        "Found 5.",
    ),
    ("bedrock", {"messages": [said("assistant", {"text": "x"})]}, "must start with a user message"),
    ("bedrock", {"messages": [CONVERSE["messages"][0]] * 2}, "must alternate between user and"),
    (
        "bedrock",
        {
            "messages": [CONVERSE["messages"][0], said("assistant", CONVERSE_USE)],
            "toolConfig": CONVERSE_TOOLS,
        },
        "Expected toolResult blocks at messages.2.content for the following Ids: t1",
    ),
    (
        "bedrock",
        {"messages": [said("user", CONVERSE_RESULT)], "toolConfig": CONVERSE_TOOLS},
        "exceeds the number of toolUse blocks of previous turn.",
    ),
    (
        "bedrock",
        {
            "messages": [
                CONVERSE["messages"][0],
                said("assistant", CONVERSE_USE),
                said("user", CONVERSE_RESULT),
            ]
        },
        "The toolConfig field must be defined",
    ),
    ("bedrock", {"system": [{"text": "s"}, POINT] * 5}, "A maximum of 4 blocks with cache_control"),
    ("gemini", {"foo": 1}, 'Unknown name "foo": Cannot find field.'),
    (
        "gemini",
        {"generationConfig": {"foo": 1}},
        "Unknown name \"foo\" at 'generation_config': Cannot find field.",
    ),
    (
        "gemini",
        {"contents": [{"role": "user", "parts": [{"text": "x", "foo": 1}]}]},
        "Unknown name \"foo\" at 'contents[0].parts[0]': Cannot find field.",
    ),
    ("gemini", {"contents": [{**G_USER, "role": "assistant"}]}, "Please use a valid role"),
    ("gemini", {"contents": [G_CALL, G_RESULT]}, "comes immediately after a user turn"),
    ("gemini", {"contents": [G_USER, G_RESULT]}, "comes immediately after a function call turn"),
    (
        "gemini",
        {"contents": [G_USER, {**G_CALL, "parts": G_CALL["parts"] * 2}, G_RESULT]},
        "number of function response parts is equal to",
    ),
]
# What the providers take, near to what they refuse.
TAKEN: list[tuple[str, JSON]] = [
    *((wire, {}) for wire in BODIES),
    ("openai", {"messages": [USER, CHAT_CALL, CHAT_RESULT]}),
    ("openai", {"messages": [USER, USER, {"role": "developer", "content": "x"}]}),
    (
        "responses",
        {
            "input": [{"type": "function_call_output", "call_id": "c", "output": "1"}],
            "previous_response_id": "r",
        },
    ),
    ("responses", {"input": [{"role": "user", "content": "x", "type": "message"}], "store": False}),
    ("anthropic", {"messages": [USER, USER, said("assistant", USE), said("user", RESULT)]}),
    ("anthropic", {"messages": [USER, said("assistant", USE), said("user", RESULT), USER]}),
    ("anthropic", {"messages": [marked(4)]}),
    ("anthropic", {"temperature": 0.5, "top_k": 3}),
    (
        "bedrock",
        {
            "messages": [
                CONVERSE["messages"][0],
                said("assistant", CONVERSE_USE),
                said("user", CONVERSE_RESULT),
            ],
            "toolConfig": CONVERSE_TOOLS,
        },
    ),
    (
        "gemini",
        {"contents": [G_USER, G_CALL, G_RESULT], "generation_config": {"top_k": 2, "topP": 1}},
    ),
]


def post(server: ProviderServer, wire: str, more: JSON, **headers: str) -> Any:
    path, body = BODIES[wire]
    return httpx2.post(server.base_url + path, json={**body, **more}, headers=headers)


@pytest.mark.parametrize(("wire", "more", "words"), REFUSED)
def test_what_a_provider_refuses_is_a_400_in_its_words(
    wire: str, more: JSON, words: str, serve: Serve
) -> None:
    server = serve()
    reply = post(server, wire, more)
    assert reply.status_code == 400
    body = reply.json()
    error = body.get("error", body)
    assert words in error["message"]
    if wire in ("openai", "responses"):
        from openai.types.shared import ErrorObject

        assert list(problems(ErrorObject, error)) == []
        assert error["type"] == "invalid_request_error"
    server.strict = False
    # The prompt cache of the server cannot know what more marks would do.
    is_of_cache = "cache_control" in error["message"]
    assert post(server, wire, more).status_code == (400 if is_of_cache else 200)


@pytest.mark.parametrize(("wire", "more"), TAKEN)
def test_what_a_provider_takes_is_answered(wire: str, more: JSON, serve: Serve) -> None:
    reply = post(serve(), wire, more)
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_what_messages_must_have_is_required(name: str, serve: Serve) -> None:
    body = {key: value for key, value in MESSAGES.items() if key != name}
    reply = httpx2.post(serve().base_url + "/v1/messages", json=body)
    assert reply.json()["error"]["message"] == f"{name}: Field required"


def test_a_beta_field_is_taken_with_its_header(serve: Serve) -> None:
    reply = post(serve(), "anthropic", {"mcp_servers": []}, **{"anthropic-beta": "mcp-client"})
    assert reply.status_code == 200


def test_the_model_of_azure_is_in_the_url(serve: Serve) -> None:
    url = serve().base_url + "/openai/deployments/d/chat/completions"
    assert httpx2.post(url, json={"messages": [USER]}).status_code == 200


def test_openai_names_the_parameter(serve: Serve) -> None:
    error = post(serve(), "openai", {"messages": [{**USER, "foo": 1}]}).json()["error"]
    assert (error["param"], error["code"]) == ("messages[0].foo", "unknown_parameter")


@tool
def weather(city: str) -> str:
    """Return the weather."""
    return f"sun in {city}"


@pytest.mark.parametrize("wire", BODIES)
def test_our_own_requests_are_what_providers_take(wire: Any, colour: Any, serve: Serve) -> None:
    server = serve(default="ok")
    call = {"name": "weather", "args": {"city": "Bern"}, "id": "c1"}
    history = [
        SystemMessage("Be short."),
        HumanMessage("weather?"),
        AIMessage("I look.", tool_calls=[call]),
        ToolMessage("sun", tool_call_id="c1", name="weather"),
        AIMessage("Sun."),
        HumanMessage("Thanks."),
    ]
    model = server.model(wire, max_tokens=50, temperature=0.5).bind_tools([weather])
    assert colour.invoke(model, history).text == "ok"
    structured = server.model(wire).with_structured_output(
        {"title": "t", "type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    )
    server.say(Answer('{"a": "x"}', tool_calls=[{"name": "t", "args": {"a": "x"}}]))
    assert colour.invoke(structured, "hi") == {"a": "x"}


def test_the_client_gets_the_refusal_as_a_bad_request(serve: Serve) -> None:
    with pytest.raises(BadRequest, match="Unrecognized request argument supplied: foo"):
        serve().model("openai", extra_body={"foo": 1}).invoke("hi")


def test_a_row_of_a_batch_is_checked_too(serve: Serve) -> None:
    server = serve(batches=BatchPlan(polls=0))
    row = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions"}
    content = json.dumps({**row, "body": {**CHAT, "foo": 1}}).encode()
    import openai

    with openai.OpenAI(base_url=server.base_url_for("openai"), api_key="k") as client:
        file = client.files.create(file=("a.jsonl", content), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h"
        )
        batch = client.batches.retrieve(batch.id)
        where = batch.error_file_id or batch.output_file_id
        assert where is not None
        result = json.loads(client.files.content(where).text)
    assert result["response"]["status_code"] == 400
    assert "foo" in result["response"]["body"]["error"]["message"]


def test_a_row_of_a_batch_may_have_beta_fields(serve: Serve) -> None:
    server = serve("ok", batches=BatchPlan(polls=0))
    own = {"x-api-key": "k", "anthropic-version": "2023-06-01", "anthropic-beta": "mcp-client"}
    row = {"custom_id": "1", "params": {**MESSAGES, "mcp_servers": []}}
    path = server.base_url + "/v1/messages/batches"
    made = httpx2.post(path, json={"requests": [row]}, headers=own).json()
    httpx2.get(f"{path}/{made['id']}", headers=own)
    result = json.loads(httpx2.get(f"{path}/{made['id']}/results", headers=own).text)
    assert result["result"]["type"] == "succeeded"


def test_the_table_of_fields_is_that_of_the_sdks() -> None:
    pytest.importorskip("google.genai")
    assert json.loads(request_fields.PLACE.read_text()) == request_fields.fields_of_sdks(), (
        "run `python -m tests.support.request_fields`, and read what it changes"
    )


def test_no_request_waits_for_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server reads its tables before its event loop runs: a detector of blocking calls finds none there."""
    request_rules.table.cache_clear()

    def read_bytes(*args: Any) -> None:
        raise AssertionError("A request waits for a file.")

    with ProviderServer(["yes"]) as server:
        monkeypatch.setattr(request_rules, "files", read_bytes)
        form = {"title": "Form", "type": "object", "properties": {"a": {"type": "string"}}}
        model = server.model("openai").bind_tools([form], strict=True)
        assert model.invoke("hi").text == "yes"

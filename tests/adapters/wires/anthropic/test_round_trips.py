"""What an answer said returns unchanged in the next turn: whole or streamed, in either version of the content."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest
from support.anthropic_wire import THINKING, USE, events_of, text, whole
from support.mocked import answered_by

from modelwire.adapters import ChatAnthropic
from modelwire.errors import ParameterWarning
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    ToolMessage,
    merge_chunks,
    messages_from_dict,
    messages_to_dict,
)

REDACTED = {"type": "redacted_thinking", "data": "EmwKAhgBEgy3va3p"}
DIRECT, BY_CODE = {"type": "direct"}, {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}


def ran(name: str, input: dict[str, Any], content: Any, **more: Any) -> list[dict[str, Any]]:
    """A tool of the provider's, and what it answered."""
    return [
        {"type": "server_tool_use", "id": f"srvtoolu_{name}", "name": name, "input": input, **more},
        {
            "type": f"{name.split('_tool_')[0]}_tool_result",
            "tool_use_id": f"srvtoolu_{name}",
            "content": content,
            **more,
        },
    ]


def cited(kind: str, **where: Any) -> dict[str, Any]:
    return {"type": kind, "cited_text": "q", **where}


WEB_PAGE = {
    "type": "web_search_result",
    "title": "t",
    "url": "https://e.org",
    "encrypted_content": "ZW5j",
}
CITATIONS = [
    cited("web_search_result_location", url="https://e.org", title="t", encrypted_index="ZQ=="),
    cited("web_search_result_location", url="https://e.org", title=None, encrypted_index="ZQ=="),
    cited(
        "search_result_location",
        source="s",
        title="t",
        search_result_index=0,
        start_block_index=0,
        end_block_index=1,
    ),
    cited(
        "char_location", document_index=0, document_title="d", start_char_index=0, end_char_index=3
    ),
    cited(
        "page_location",
        document_index=1,
        document_title=None,
        start_page_number=1,
        end_page_number=2,
    ),
    cited(
        "content_block_location",
        document_index=0,
        document_title="d",
        start_block_index=0,
        end_block_index=1,
    ),
]
MCP_USE = {
    "type": "mcp_tool_use",
    "id": "mcptoolu_1",
    "name": "echo",
    "server_name": "s",
    "input": {"a": 1},
}


def mcp_result(*, is_error: bool) -> dict[str, Any]:
    return {
        "type": "mcp_tool_result",
        "tool_use_id": "mcptoolu_1",
        "is_error": is_error,
        "content": [text("r")],
    }


RAN = {"stdout": "4\n", "stderr": "", "return_code": 0, "content": []}
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "text": [text("b")],
    "thinking": [THINKING, REDACTED, text("b"), THINKING, USE],
    "thinking left out": [{"type": "thinking", "thinking": "", "signature": "c2ln"}, text("b")],
    "a call by code": [text("a"), USE | {"caller": BY_CODE}],
    "a call of a toolset": [USE | {"caller": DIRECT, "toolset_name": "browser"}, text("b")],
    "web search": [
        *ran("web_search", {"query": "q"}, [WEB_PAGE], caller=DIRECT),
        text("b", citations=CITATIONS[:1]),
    ],
    "a failed search": ran(
        "web_search",
        {"query": "q"},
        {"type": "web_search_tool_result_error", "error_code": "max_uses_exceeded"},
    ),
    "web fetch": ran(
        "web_fetch",
        {"url": "https://e.org"},
        {
            "type": "web_fetch_result",
            "url": "https://e.org",
            "retrieved_at": "2026-11-01T00:00:00Z",
            "content": {
                "type": "document",
                "title": "t",
                "citations": {"enabled": True},
                "source": {"type": "text", "media_type": "text/plain", "data": "x"},
            },
        },
    ),
    "code execution": ran(
        "code_execution", {"code": "2+2"}, {"type": "code_execution_result", **RAN}
    ),
    "encrypted code execution": ran(
        "code_execution",
        {"code": "2+2"},
        {
            "type": "encrypted_code_execution_result",
            "encrypted_stdout": "eA==",
            "stderr": "",
            "return_code": 0,
            "content": [],
        },
    ),
    "bash": ran(
        "bash_code_execution",
        {"command": "ls"},
        {
            "type": "bash_code_execution_result",
            **RAN,
            "content": [{"type": "bash_code_execution_output", "file_id": "file_1"}],
        },
    ),
    "text editor": ran(
        "text_editor_code_execution",
        {"command": "create", "path": "a", "file_text": "x"},
        {"type": "text_editor_code_execution_create_result", "is_file_update": False},
    ),
    "tool search": [
        {
            "type": "server_tool_use",
            "id": "srvtoolu_1",
            "name": "tool_search_tool_regex",
            "input": {"pattern": "w.*"},
        },
        {
            "type": "tool_search_tool_result",
            "tool_use_id": "srvtoolu_1",
            "content": {
                "type": "tool_search_tool_search_result",
                "tool_references": [{"type": "tool_reference", "tool_name": "weather"}],
            },
        },
        USE,
    ],
    "mcp": [
        {"type": "mcp_tool_listing", "mcp_server_name": "s", "tools": []},
        MCP_USE,
        mcp_result(is_error=False),
    ],
    "mcp that failed": [MCP_USE, mcp_result(is_error=True), text("b")],
    "advisor": ran(
        "advisor", {}, {"type": "advisor_result", "text": "t", "stop_reason": "end_turn"}
    ),
    "citations": [
        text("a"),
        *(text(f"b{n}", citations=[citation]) for n, citation in enumerate(CITATIONS)),
    ],
    "several citations": [text("b", citations=CITATIONS)],
    "compaction": [
        {"type": "compaction", "content": "so far", "encrypted_content": "ZW5j"},
        text("b"),
    ],
    "fallback": [
        THINKING,
        {"type": "fallback", "from": {"model": "claude-a"}, "to": {"model": "claude-b"}},
        THINKING,
        text("b"),
    ],
    "container upload": [{"type": "container_upload", "file_id": "file_1"}, text("b")],
    "blocks of tomorrow": [
        {"type": "hologram", "beam": {"id": 7}},
        {"type": "hologram_tool_use", "id": "h_1", "name": "shine", "input": {"to": "Bern"}},
        text("b"),
    ],
}


class Anthropic:
    """A provider that gives one answer, and keeps what it was sent."""

    def __init__(self, content: list[dict[str, Any]], **more: Any) -> None:
        self.content, self.more, self.bodies = content, more, []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.content)
        self.bodies.append(body)
        if body.get("stream"):
            said = events_of(self.content, **self.more)
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=said)
        return httpx2.Response(200, content=whole(self.content, **self.more))


def model_of(provider: Anthropic, **settings: Any) -> ChatAnthropic:
    return ChatAnthropic(
        model="claude-sonnet-4-6",
        api_key="none",
        max_retries=0,
        **answered_by(provider),
        **settings,
    )


def answer_of(model: ChatAnthropic, how: str) -> AIMessage:
    return model.invoke("a") if how == "whole" else merge_chunks(list(model.stream("a")))


def said_again(
    provider: Anthropic, model: ChatAnthropic, answer: AIMessage
) -> list[dict[str, Any]]:
    results = [ToolMessage("r", tool_call_id=call["id"]) for call in answer.tool_calls]
    model.invoke([HumanMessage("a"), answer, *results, HumanMessage("c")])
    content = provider.bodies[-1]["messages"][1]["content"]
    return [text(content)] if isinstance(content, str) else content


def kept(message: AIMessage) -> AIMessage:
    """Store a message as JSON and read it again, by its class and by its type."""
    read = type(message).model_validate_json(message.model_dump_json())
    (again,) = messages_from_dict(json.loads(json.dumps(messages_to_dict([read]))))
    return again  # type: ignore[return-value]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("how", ["whole", "streamed"])
@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_returns_as_it_came(name: str, how: str, version: str | None) -> None:
    provider = Anthropic(ANSWERS[name])
    model = model_of(provider, output_version=version)
    answer = answer_of(model, how)
    assert isinstance(answer, AIMessageChunk) == (how == "streamed")
    assert said_again(provider, model, answer) == ANSWERS[name]
    assert said_again(provider, model, kept(answer)) == ANSWERS[name]


@pytest.mark.parametrize("how", ["whole", "streamed"])
@pytest.mark.parametrize("name", ANSWERS)
def test_its_standard_blocks_return_as_it_came(name: str, how: str) -> None:
    provider = Anthropic(ANSWERS[name])
    model = model_of(provider)
    answer = answer_of(model, how)
    again = AIMessage(content_blocks=answer.content_blocks)
    assert said_again(provider, model, again) == ANSWERS[name]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_a_paused_turn_goes_on_with_the_answer_appended(how: str, version: str | None) -> None:
    """https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons#pause_turn, read 2026-11."""
    paused = [text("I search."), ran("web_search", {"query": "q"}, [])[0]]
    provider = Anthropic(paused, stop_reason="pause_turn")
    model = model_of(provider, output_version=version, max_continuations=0)
    answer = answer_of(model, how)
    assert answer.response_metadata["stop_reason"] == "pause_turn"
    model.invoke([HumanMessage("a"), answer])
    assert provider.bodies[-1]["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": paused},
    ]


@pytest.mark.parametrize("version", [None, "v1"])
def test_a_refusal_says_why_and_its_reason_is_not_put_into_the_models_mouth(
    version: str | None, colour: Any
) -> None:
    details = {
        "type": "refusal",
        "category": "cyber",
        "explanation": "No.",
        "fallback_credit_token": "tok",
    }
    provider = Anthropic([text("I ")], stop_reason="refusal", stop_details=details)
    model = model_of(provider, output_version=version, on_refusal="message")
    for answer in (colour.invoke(model, "a"), merge_chunks(colour.stream(model, "a"))):
        assert answer.response_metadata["stop_reason"] == "refusal"
        assert answer.response_metadata["stop_details"] == details
        reason = {"type": "refusal", "refusal": "No.", "extras": {"category": "cyber"}}
        assert reason.items() <= answer.content_blocks[-1].items()  # a stream's has an `index`
        assert said_again(provider, model, answer) == [text("I ")]


def test_what_the_end_says_is_kept_streamed_and_whole(colour: Any) -> None:
    end = {
        "container": {"id": "container_1", "expires_at": "2026-11-01T00:00:00Z"},
        "context_management": {
            "applied_edits": [{"type": "clear_tool_uses_20250919", "cleared_tool_uses": 2}]
        },
    }
    model = model_of(Anthropic([text("b")], **end))
    for answer in (colour.invoke(model, "a"), merge_chunks(colour.stream(model, "a"))):
        assert {name: answer.response_metadata[name] for name in end} == end
        json.loads(answer.model_dump_json())


def test_tokens_of_the_cache_are_counted_by_lifetime(colour: Any) -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "cache_read_input_tokens": 30,
        "cache_creation_input_tokens": 9,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 5},
        "server_tool_use": {"web_search_requests": 1},
    }
    model = model_of(Anthropic([text("b")], usage=usage))
    for answer in (colour.invoke(model, "a"), merge_chunks(colour.stream(model, "a"))):
        assert answer.usage_metadata == {
            "input_tokens": 49,
            "output_tokens": 5,
            "total_tokens": 54,
            "input_token_details": {
                "cache_read": 30,
                "cache_creation": 9,
                "ephemeral_5m_input_tokens": 4,
                "ephemeral_1h_input_tokens": 5,
            },
        }
        assert answer.response_metadata["usage"]["server_tool_use"] == {"web_search_requests": 1}


def test_the_container_of_the_latest_answer_is_used_again() -> None:
    provider = Anthropic(
        [text("b")], container={"id": "container_1", "expires_at": "2026-11-01T00:00:00Z"}
    )
    model = model_of(provider, reuse_last_container=True)
    answer = model.invoke("a")
    model.invoke([HumanMessage("a"), answer, HumanMessage("c")])
    model.invoke([HumanMessage("a"), answer, HumanMessage("c")], container="mine")
    model_of(provider).invoke([HumanMessage("a"), answer, HumanMessage("c")])
    assert [body.get("container") for body in provider.bodies] == [
        None,
        "container_1",
        "mine",
        None,
    ]


def test_reasoning_of_another_provider_is_not_shown_to_anthropic() -> None:
    """Its signature is none of Anthropic's."""
    provider = Anthropic([text("b")])
    other = AIMessage(
        content=[{"type": "reasoning", "reasoning": "hm", "extras": {"signature": "x"}}, text("b")],
        response_metadata={"model_provider": "google_genai", "output_version": "v1"},
    )
    with pytest.warns(
        ParameterWarning, match="`reasoning` block of an answer of `google_genai` is left out"
    ):
        assert said_again(provider, model_of(provider), other) == [text("b")]

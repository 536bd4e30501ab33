"""What `ChatAnthropic` sends, with every parameter the API has: the SDK's own request, and of the SDK's own types."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Sequence
from typing import Any

import anthropic
import pytest
from anthropic.types import ToolUnionParam, message_create_params
from anthropic.types.beta import BetaToolUnionParam
from anthropic.types.beta import message_create_params as beta_params
from pydantic import ValidationError
from support.anthropic_types import check_type
from support.anthropic_wire import THINKING, USE, text
from support.mocked import Case, Sent, answered_by
from support.sdk_versions import read_from

from modelwire.adapters import ChatAnthropic
from modelwire.adapters.wires.anthropic.parameters import FEATURE_OF_PARAMETER, FEATURE_OF_TYPE
from modelwire.errors import InvalidArgument
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.tools import tool

MODEL = "claude-opus-5"
CACHE, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
PNG, PDF = "iVBORw0KGgo=", "JVBERi0xLjQ="
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "toolu_1", "type": "tool_call"}
HI = [{"role": "user", "content": "hi"}]
SERVER = {
    "type": "url",
    "url": "https://mcp.example.com",
    "name": "s",
    "authorization_token": "none",
}
TOOLSETS = [
    {"type": "mcp_toolset", "mcp_server_name": "s"},
    {"type": "mcp_toolset", "mcp_server_name": "t"},
]
SEARCH = {
    "type": "web_search_20260209",
    "name": "web_search",
    "max_uses": 2,
    "allowed_domains": ["example.com"],
}
FETCH = {
    "type": "web_fetch_20260209",
    "name": "web_fetch",
    "citations": {"enabled": True},
    "max_content_tokens": 500,
}
OWN_TOOLS = [
    SEARCH,
    FETCH,
    {"type": "code_execution_20260120", "name": "code_execution"},
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    {"type": "memory_20250818", "name": "memory"},
    {
        "type": "tool_search_tool_regex_20251119",
        "name": "tool_search_tool_regex",
        "cache_control": CACHE,
    },
]
CLEAR = {
    "edits": [
        {"type": "clear_tool_uses_20250919", "trigger": {"type": "input_tokens", "value": 30000}}
    ]
}
COMPACT = {"edits": [{"type": "compact_20260112"}]}


@tool(extras={"cache_control": HOUR, "defer_loading": True, "input_examples": [{"city": "Bern"}]})
def weather(city: str) -> str:
    """The weather."""
    return city


WEATHER = {"name": "weather", "description": "The weather.", "input_schema": SCHEMA}
OPENAI_WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA},
    "cache_control": CACHE,
    "allowed_callers": ["code_execution_20260120"],
}


def asked(*blocks: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


def document(source: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "document", "source": source, **more}


def file_source(id: str) -> dict[str, Any]:
    return {"type": "file", "file_id": id}


def beside(said: dict[str, Any], needs: Sequence[str]) -> dict[str, Any]:
    return {**said, "betas": [*needs]} if needs else said


def same(needs: Sequence[str] = (), **parameters: Any) -> Case:
    """A parameter that goes out as it is set, on the model; `needs`: the features that we name and the SDK does not."""
    return parameters, "hi", {}, beside(parameters, needs)


def per_call(needs: Sequence[str] = (), **parameters: Any) -> Case:
    return {}, "hi", parameters, beside(parameters, needs)


def bound(tools: list[Any], needs: Sequence[str] = (), **parameters: Any) -> Case:
    return parameters, ("hi", tools, {}), {}, beside({**parameters, "tools": tools}, needs)


# `betas` are what the SDK's user has to know, and ours need not say.
CASES: dict[str, Case] = {
    "sampling": (
        {"model": "claude-of-old", "temperature": 0.5, "top_k": 5, "top_p": 0.9, "stop": ["END"]},
        "hi",
        {"metadata": {"user_id": "u"}},
        # temperature and its like are no longer in the SDK's types, nor taken by the latest models; ours have them
        {
            "model": "claude-of-old",
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u"},
            "extra_body": {"temperature": 0.5, "top_k": 5, "top_p": 0.9},
        },
    ),
    "thinking, adaptive": (
        {"thinking": {"type": "adaptive", "display": "summarized"}, "effort": "xhigh"},
        "hi",
        {},
        {
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "xhigh"},
        },
    ),
    "thinking, with a budget": same(
        model="claude-of-old",
        thinking={"type": "enabled", "budget_tokens": 2048},
        betas=["interleaved-thinking-2025-05-14"],
    ),
    "no thinking": per_call(thinking={"type": "disabled"}),
    "effort of one call, beside a form": (
        {"output_config": {"effort": "low"}},
        "hi",
        {
            "effort": "max",
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "c", "schema": SCHEMA},
            },
        },
        {"output_config": {"effort": "max", "format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    "a form under its old name": (
        {"effort": "low"},
        "hi",
        {"output_format": {"type": "json_schema", "schema": SCHEMA}},
        {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}}},
    ),
    "a task budget": (
        {"output_config": {"task_budget": {"type": "tokens", "total": 30000}}},
        "hi",
        {"output_config": {"task_budget": {"type": "tokens", "total": 20000}}},
        {
            "output_config": {"task_budget": {"type": "tokens", "total": 20000}},
            "betas": ["task-budgets-2026-03-13"],
        },
    ),
    "the place and the pace": same(
        inference_geo="eu",
        service_tier="standard_only",
        speed="fast",
        needs=["fast-mode-2026-02-01"],
    ),
    "for whom": same(
        user_profile_id="uprof_1",
        workspace_id="wrkspc_1",
        billing_policy={"type": "billing_policy", "bill_to": "user_profile"},
        needs=["user-profiles-2026-03-24", "user-profiles-billing-2026-10-01"],
    ),
    "caching by itself": per_call(cache_control=HOUR),
    "caching of every kind of block": (
        {},
        [
            SystemMessage([text("be kind", cache_control=HOUR)]),
            HumanMessage(
                [
                    {
                        "type": "image",
                        "base64": PNG,
                        "mime_type": "image/png",
                        "cache_control": CACHE,
                    },
                    {
                        "type": "file",
                        "base64": PDF,
                        "mime_type": "application/pdf",
                        "cache_control": CACHE,
                    },
                    text("hi", cache_control=CACHE),
                ]
            ),
            AIMessage([USE | {"cache_control": CACHE}], tool_calls=[CALL]),
            ToolMessage([text("sunny", cache_control=CACHE)], tool_call_id="toolu_1"),
        ],
        {},
        {
            "system": [text("be kind", cache_control=HOUR)],
            "messages": [
                *asked(
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                        "cache_control": CACHE,
                    },
                    document(
                        {"type": "base64", "media_type": "application/pdf", "data": PDF},
                        cache_control=CACHE,
                    ),
                    text("hi", cache_control=CACHE),
                ),
                {"role": "assistant", "content": [USE | {"cache_control": CACHE}]},
                *asked(
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [text("sunny")],
                        "cache_control": CACHE,
                    }
                ),
            ],
        },
    ),
    "a tool with all it may have": (
        {},
        ("hi", [weather], {"strict": True}),
        {},
        {
            "tools": [
                {
                    **WEATHER,
                    "input_schema": SCHEMA | {"additionalProperties": False},
                    "strict": True,
                    "cache_control": HOUR,
                    "defer_loading": True,
                    "input_examples": [{"city": "Bern"}],
                }
            ]
        },
    ),
    "OpenAI's tool, cached and called by code": (
        {},
        "hi",
        {"tools": [OPENAI_WEATHER]},
        {
            "tools": [
                WEATHER | {"cache_control": CACHE, "allowed_callers": ["code_execution_20260120"]}
            ]
        },
    ),
    "the tools of the provider's": bound(OWN_TOOLS),
    "tools in beta": bound(
        [
            {
                "type": "computer_20251124",
                "name": "computer",
                "display_width_px": 800,
                "display_height_px": 600,
            },
            {"type": "advisor_20260301", "name": "advisor", "model": "claude-opus-5"},
        ],
        needs=["computer-use-2025-11-24", "advisor-tool-2026-03-01"],
    ),
    "two MCP servers": bound(
        TOOLSETS, mcp_servers=[SERVER, SERVER | {"name": "t"}], needs=["mcp-client-2025-11-20"]
    ),
    "an MCP server of the older kind": same(
        mcp_servers=[SERVER | {"tool_configuration": {"enabled": True}}],
        betas=["mcp-client-2025-04-04"],
    ),
    "a container with skills": same(
        container={"skills": [{"type": "anthropic", "skill_id": "xlsx", "version": "latest"}]},
        needs=["skills-2025-10-02"],
    ),
    "a container by its id": per_call(container="container_1"),
    "clearing": same(context_management=CLEAR, needs=["context-management-2025-06-27"]),
    "compaction as it goes": per_call(context_management=COMPACT, needs=["compact-2026-01-12"]),
    "compaction now": per_call(compaction={"type": "summarize"}, needs=["compact-2026-09-04"]),
    "fallbacks": same(
        fallbacks=[{"model": "claude-sonnet-5"}],
        fallback_credit_token="tok",
        needs=["fallback-credit-2026-07-01", "server-side-fallback-2026-07-01"],
    ),
    "a thread, and why the cache missed": per_call(
        thread={"type": "continue", "previous_message_id": "msg_1"},
        diagnostics={"previous_message_id": "msg_1"},
        needs=["message-threads-2026-08-12"],
    ),
    "documents to cite from": (
        {},
        [
            HumanMessage(
                [
                    {
                        "type": "file",
                        "url": "https://e.org/a.pdf",
                        "extras": {"citations": {"enabled": True}},
                    },
                    {
                        "type": "file",
                        "file_id": "file_1",
                        "citations": {"enabled": True},
                        "title": "t",
                    },
                    {
                        "type": "file",
                        "source_type": "id",
                        "id": "file_2",
                        "metadata": {"context": "c"},
                    },
                    {"type": "file", "source_type": "text", "text": "x", "mime_type": "text/plain"},
                    {"type": "text-plain", "text": "y", "mime_type": "text/plain", "title": "u"},
                    document(
                        {"type": "content", "content": [text("z")]}, citations={"enabled": True}
                    ),
                    {
                        "type": "search_result",
                        "source": "s",
                        "title": "t",
                        "content": [text("r")],
                        "citations": {"enabled": True},
                    },
                    {"type": "container_upload", "file_id": "file_3"},
                ]
            )
        ],
        {},
        {
            "messages": asked(
                document(
                    {"type": "url", "url": "https://e.org/a.pdf"}, citations={"enabled": True}
                ),
                document(file_source("file_1"), citations={"enabled": True}, title="t"),
                document(file_source("file_2"), context="c"),
                document({"type": "text", "media_type": "text/plain", "data": "x"}),
                document({"type": "text", "media_type": "text/plain", "data": "y"}, title="u"),
                document({"type": "content", "content": [text("z")]}, citations={"enabled": True}),
                {
                    "type": "search_result",
                    "source": "s",
                    "title": "t",
                    "content": [text("r")],
                    "citations": {"enabled": True},
                },
                {"type": "container_upload", "file_id": "file_3"},
            ),
            "betas": ["files-api-2025-04-14"],
        },
    ),
    "images and files as OpenAI says them": (
        {},
        [
            HumanMessage(
                [
                    {"type": "input_text", "text": "see"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                    {"type": "input_image", "file_id": "file_1"},
                    {"type": "image", "source_type": "url", "url": "https://e.org/a.png"},
                    {"type": "input_file", "file_url": "https://e.org/a.pdf"},
                    {
                        "type": "input_file",
                        "file_data": f"data:application/pdf;base64,{PDF}",
                        "filename": "a.pdf",
                    },
                ]
            )
        ],
        {},
        {
            "messages": asked(
                text("see"),
                {
                    "type": "image",
                    "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                },
                {"type": "image", "source": file_source("file_1")},
                {"type": "image", "source": {"type": "url", "url": "https://e.org/a.png"}},
                document({"type": "url", "url": "https://e.org/a.pdf"}),
                document(
                    {"type": "base64", "media_type": "application/pdf", "data": PDF}, title="a.pdf"
                ),
            ),
            "betas": ["files-api-2025-04-14"],
        },
    ),
    "a turn with its tool": (
        {},
        (
            [
                HumanMessage("hi"),
                AIMessage([THINKING, text("b"), USE], tool_calls=[CALL]),
                ToolMessage("r", tool_call_id="toolu_1"),
            ],
            [WEATHER],
            {"tool_choice": "weather", "parallel_tool_calls": False},
        ),
        {},
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": [THINKING, text("b"), USE]},
                *asked({"type": "tool_result", "tool_use_id": "toolu_1", "content": "r"}),
            ],
            "tools": [WEATHER],
            "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        },
    ),
    "a system prompt as a parameter": per_call(system="be kind"),
    "a stream": per_call(stream=True),
}


def sent() -> Sent:
    answer = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": "end_turn",
    }
    stream = b'data: {"type":"message_start","message":{"content":[]}}\n\ndata: {"type":"message_stop"}\n\n'
    return Sent(answer, stream)


def sent_by_us(case: Case) -> Sent:
    return sent().by_us(ChatAnthropic, case, model=MODEL, max_tokens=64)


def sent_by_the_sdk(case: Case) -> Sent:
    arguments = {"messages": HI, "model": MODEL, "max_tokens": 64, **case[3]}
    return sent().by_sdk(
        anthropic.Anthropic, lambda client: client.beta.messages.create, **arguments
    )


@pytest.mark.parametrize("name", CASES)
def test_the_request_is_the_one_the_sdk_sends(name: str) -> None:
    ours, theirs = sent_by_us(CASES[name]), sent_by_the_sdk(CASES[name])
    assert ours.body == theirs.body
    for header in ("anthropic-beta", "anthropic-user-profile-id", "anthropic-workspace-id"):
        assert ours.headers.get(header) == theirs.headers.get(header), header


# ---------------------------------------------------------------- the SDK's types


@pytest.mark.parametrize("name", CASES)
def test_the_body_is_of_the_sdks_types(name: str) -> None:
    body = sent_by_us(CASES[name]).body
    check_type(body, beta=True)
    if "betas" not in CASES[name][3]:
        check_type(body, beta=False)


def test_a_wrong_body_is_none_of_the_sdks_types() -> None:
    """The test above can fail."""
    good = {"model": "m", "max_tokens": 1, "messages": HI}
    check_type(good, beta=True)
    for wrong in (
        {"messages": asked(text("a", colour="red"))},
        {"messages": asked({"type": "image", "source": {"type": "base64", "data": PNG}})},
        {"tools": [{"name": "f"}]},
        {"unknown": 1},
    ):
        with pytest.raises((ValidationError, AssertionError)):
            check_type(good | wrong, beta=True)


def hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def parameters(module: Any) -> set[str]:
    return set(hints(module.MessageCreateParamsNonStreaming)) - {
        "messages",
        "model",
        "stream",
        "betas",
    }


@read_from("anthropic", "2.13")
@pytest.mark.parametrize("name", sorted(parameters(beta_params)))
def test_every_parameter_of_the_sdk_can_be_set_and_sent_without_a_word(name: str) -> None:
    value: Any = 64 if name == "max_tokens" else {"x": 1}
    if name in ("user_profile_id", "workspace_id", "service_tier", "inference_geo", "speed"):
        value = "x"
    elif name in ("tools", "mcp_servers"):
        value = [{"type": "x", "name": "x"}]
    elif name == "stop_sequences":
        value = ["x"]
    model = ChatAnthropic(model=MODEL, api_key="none")
    requests = [model.build_request("hi", **{name: value})]  # a warning is an error here
    settings = {"model_kwargs": {name: value}} if name == "metadata" else {name: value}
    requests.append(ChatAnthropic(model=MODEL, api_key="none", **settings).build_request("hi"))
    for request in requests:
        header = request.headers.get("anthropic-" + name.replace("_", "-"))
        assert request.body.get(name, header) == value


def types_of(union: Any) -> Iterator[str]:
    for member in typing.get_args(union):
        kind = hints(member).get("type")
        while kind is not None and typing.get_origin(kind) is not typing.Literal:
            kind = typing.get_args(kind)[0]
        yield from typing.get_args(kind) if kind is not None else ()


@read_from("anthropic", "2.13")
def test_what_only_the_beta_types_have_names_its_feature() -> None:
    only_beta = (
        parameters(beta_params) - parameters(message_create_params) - {"context_management"}
    )  # by its edits
    assert set(FEATURE_OF_PARAMETER) == only_beta | {"speed", "anthropic-user-profile-id"}
    tools = set(types_of(BetaToolUnionParam)) - set(types_of(ToolUnionParam))
    edits = set(types_of(hints_of_edits()))
    assert set(FEATURE_OF_TYPE) == tools | edits | {"code_execution_20250522"}
    known = set(typing.get_args(typing.get_args(anthropic.types.AnthropicBetaParam)[1]))
    assert {*FEATURE_OF_PARAMETER.values(), *FEATURE_OF_TYPE.values()} <= known


def hints_of_edits() -> Any:
    from anthropic.types.beta import beta_context_management_config_param as module

    return module.Edit


def test_a_system_prompt_said_twice_is_refused() -> None:
    model = ChatAnthropic(model=MODEL, api_key="none")
    with pytest.raises(InvalidArgument, match="`system`"):
        model.build_request([SystemMessage("a"), HumanMessage("b")], system="c")


def test_a_token_for_an_mcp_server_is_not_shown() -> None:
    model = ChatAnthropic(
        model=MODEL, api_key="none", mcp_servers=[SERVER | {"authorization_token": "hush"}]
    )
    assert "hush" not in repr(model)


def test_a_schema_is_asked_for_by_the_wire(colour: Any) -> None:
    sent = Sent({"content": [text('{"city": "Bern"}')]}, b"")
    model = ChatAnthropic(model=MODEL, api_key="none", **answered_by(sent))
    schema = {"title": "place", **SCHEMA}
    assert colour.invoke(model.with_structured_output(schema, method="json_schema"), "a") == {
        "city": "Bern"
    }
    assert sent.body["output_config"]["format"]["schema"]["properties"] == SCHEMA["properties"]
    check_type(sent.body, beta=False)

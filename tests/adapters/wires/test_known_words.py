"""What providers document beside the common words goes out, and what they send beside the answer is kept."""

from __future__ import annotations

import json
import warnings
from typing import Any, get_args

import pytest
from openai.types.shared.chat_model import ChatModel
from support.mocked import Sent, answered_by

from modelwire import init_chat_model
from modelwire.adapters import ChatAnthropic, ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.adapters.providers.model_families import family_of
from modelwire.adapters.wires.anthropic.families import CLAUDE
from modelwire.adapters.wires.anthropic.parameters import (
    DEFAULT_MAX_TOKENS,
    MAX_TOKENS,
    max_tokens_of,
)
from modelwire.adapters.wires.wire import wire_named
from modelwire.errors import InvalidArgument, ParameterWarning
from modelwire.messages import AIMessage, HumanMessage, ToolMessage
from modelwire.transport.wire import Reply

CALL = {"name": "f", "args": {}, "id": "c1", "type": "tool_call"}


def decoded(wire: str, data: Any) -> AIMessage:
    return wire_named(wire).codec("p").decode(Reply(200, {}, json.dumps(data).encode()))


@pytest.mark.parametrize("store", [True, False])
def test_gemini_is_told_whether_to_store_a_call(store: bool) -> None:
    model = ChatGoogleGenerativeAI(model="gemini-2.5-flash", api_key="k")
    assert model.build_request("hi", store=store).body["store"] is store


def test_vertex_has_no_store_and_the_caller_is_warned() -> None:
    model = ChatGoogleGenerativeAI(
        model="gemini-2.5-flash", project="p", credentials=lambda: "t", vertexai=True
    )
    with pytest.warns(ParameterWarning, match="store"):
        request = model.build_request("hi", store=True)
    assert "store" not in request.body


@pytest.mark.parametrize("origin", ["deepseek", "openai", "anthropic"])
def test_deepseek_gets_its_reasoning_key_with_every_turn_that_has_calls(origin: str) -> None:
    turn = AIMessage("", tool_calls=[CALL], response_metadata={"model_provider": origin})
    model = ChatOpenAI(model="deepseek-reasoner", provider="deepseek", api_key="k")
    history = [HumanMessage("hi"), turn, ToolMessage("r", tool_call_id="c1"), AIMessage("done")]
    sent = model.build_request([*history, HumanMessage("on")]).body["messages"]
    assert sent[1]["reasoning_content"] == ""
    assert "reasoning_content" not in sent[3]


def test_content_that_is_a_json_object_is_the_text_of_the_answer(colour: Any) -> None:
    whole = {"choices": [{"message": {"content": {"city": "Rome"}}, "finish_reason": "stop"}]}
    model = ChatOpenAI(model="m", api_key="k", **answered_by(Sent(whole, b"")))
    answer = colour.invoke(model, "hi")
    assert json.loads(answer.text) == {"city": "Rome"}
    sent = model.build_request([HumanMessage("hi"), answer, HumanMessage("on")]).body["messages"]
    assert json.loads(sent[1]["content"]) == {"city": "Rome"}
    schema = {"title": "T", "type": "object", "properties": {"city": {"type": "string"}}}
    form = model.with_structured_output(schema, method="json_schema")
    assert colour.invoke(form, "hi") == {"city": "Rome"}


def test_responses_keeps_fields_about_the_answer_that_the_api_gets_later() -> None:
    later = {"tool_usage": {"web_search": 1}, "made_up_tomorrow": [1]}
    echoes = {"tools": [{"type": "function"}], "temperature": 1.0, "instructions": "Be brief."}
    item = {"type": "message", "content": [{"type": "output_text", "text": "Hi"}]}
    answer = {"id": "resp_1", "status": "completed", "output": [item], **later, **echoes}
    metadata = decoded("responses", answer).response_metadata
    assert later.items() <= metadata.items()
    assert metadata.keys().isdisjoint(echoes)


def test_every_family_of_claude_has_a_limit_of_tokens() -> None:
    names = [name for family in CLAUDE for name in family.models.split()]
    unknown = {it for it in names if max_tokens_of(f"claude-{it}") == DEFAULT_MAX_TOKENS}
    assert unknown == {"3-opus", "3-sonnet", "3-haiku"}  # these do write 4,096 at most


def test_every_claude_with_a_limit_of_tokens_is_in_a_family() -> None:
    families = [f"claude-{name}" for family in CLAUDE for name in family.models.split()]
    for limit, _ in MAX_TOKENS:
        name = limit.removesuffix("$")
        dated = family_of("anthropic", "anthropic", f"{name.removesuffix('2025')}20250514")
        assert dated is not None or any(known.startswith(name) for known in families), name


def test_every_gpt_6_that_the_sdk_names_is_in_a_family() -> None:
    named = {name for name in get_args(ChatModel) if name.startswith("gpt-6")}
    assert "gpt-6.2-sol" in named
    unknown = {name for name in named if family_of("openai", "openai", name) is None}
    assert unknown <= {"gpt-6-cyber", "gpt-6-rosalind"}  # no page says what these take


def test_counts_that_a_service_sends_as_texts_are_counted() -> None:
    usage = {"prompt_tokens": "12", "completion_tokens": "3", "total_tokens": "15"}
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    counted = decoded("openai", {"choices": [choice], "usage": usage}).usage_metadata
    assert counted == {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}


OWN = [
    ("groq", {"reasoning_format": "parsed"}),
    ("groq", {"include_reasoning": False}),
    ("openrouter", {"models": ["a/b", "c/d"]}),
    ("openrouter", {"provider": {"order": ["x"]}}),
    ("openrouter", {"plugins": [{"id": "web"}]}),
    ("vercel", {"models": ["a/b"]}),
    ("vercel", {"providerOptions": {"gateway": {"order": ["x"]}}}),
]


@pytest.mark.parametrize("place", ["call", "made"])
@pytest.mark.parametrize(("service", "own"), OWN)
def test_the_words_that_a_service_documents_go_out(
    service: str, own: dict[str, Any], place: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = {} if place == "call" else own
        model: Any = init_chat_model(f"{service}:m", api_key="k", **made)
        body = model.build_request("hi", **(own if place == "call" else {})).body
    name, value = next(iter(own.items()))
    assert body[name] == value
    assert model.provider == service


def test_words_of_one_service_stay_slips_at_another() -> None:
    with pytest.raises(InvalidArgument, match="reasoning_effort"):
        ChatOpenAI(model="m", api_key="k", reasoning_format="parsed")
    model = ChatOpenAI(model="m", api_key="k")
    with pytest.raises(InvalidArgument, match="reasoning_effort"):
        model.build_request("hi", reasoning_format="parsed")
    with pytest.raises(InvalidArgument, match="is set when"):
        model.build_request("hi", provider={"order": ["x"]})


def test_words_of_a_service_may_come_from_the_config() -> None:
    model = init_chat_model("groq:m", api_key="k", configurable_fields=("reasoning_format",))
    assert "reasoning_format" in repr(model)
    with pytest.raises(InvalidArgument, match="reasoning_effort"):
        init_chat_model("openai:m", api_key="k", configurable_fields=("reasoning_format",))


@pytest.mark.parametrize("role", ["system", "user", "assistant"])
@pytest.mark.parametrize("service", ["openrouter", "vercel", "litellm"])
def test_a_cache_mark_beside_the_content_of_a_message_goes_out(service: str, role: str) -> None:
    marked = {"role": role, "content": "long", "cache_control": {"type": "ephemeral"}}
    model = ChatOpenAI(model="m", api_key="k", provider=service)
    messages = [marked, {"role": "user", "content": "hi"}]
    assert model.build_request(messages).body["messages"] == messages
    plain = ChatOpenAI(model="m", api_key="k").build_request(messages).body["messages"]
    assert plain == [{"role": role, "content": "long"}, messages[1]]


def test_anthropic_gets_the_id_of_the_user_that_a_model_is_made_with() -> None:
    user = {"user_id": "u-1"}
    model = ChatAnthropic(model="claude-sonnet-4-5", api_key="k", metadata=user)
    assert model.build_request("hi").body["metadata"] == user
    call = model.build_request("hi", metadata={"user_id": "u-2"}).body
    assert call["metadata"] == {"user_id": "u-2"}
    of_runs = ChatAnthropic(model="claude-sonnet-4-5", api_key="k", metadata={**user, "team": "a"})
    assert "metadata" not in of_runs.build_request("hi").body

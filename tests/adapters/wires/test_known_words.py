"""What providers document beside the common words goes out, and what they send beside the answer is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.mocked import Sent, answered_by

from modelwire.adapters import ChatGoogleGenerativeAI, ChatOpenAI
from modelwire.adapters.wires.anthropic.families import CLAUDE
from modelwire.adapters.wires.anthropic.parameters import DEFAULT_MAX_TOKENS, max_tokens_of
from modelwire.adapters.wires.wire import wire_named
from modelwire.errors import ParameterWarning
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


def test_counts_that_a_service_sends_as_texts_are_counted() -> None:
    usage = {"prompt_tokens": "12", "completion_tokens": "3", "total_tokens": "15"}
    choice = {"message": {"content": "Hi"}, "finish_reason": "stop"}
    counted = decoded("openai", {"choices": [choice], "usage": usage}).usage_metadata
    assert counted == {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}

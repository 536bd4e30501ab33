"""One vocabulary of parameters, in the words of the models on Bedrock."""

from __future__ import annotations

import json
from typing import Any

import pytest
from support.own_calls import own_calls
from support.raw_server import RawServer

from modelwire.adapters import ChatBedrockConverse, ChatOpenAI
from modelwire.errors import InvalidArgument, ParameterWarning
from modelwire.messages import AIMessage, HumanMessage, ToolMessage
from modelwire.tools import tool

CLAUDE, NOVA = "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.amazon.nova-2-lite-v1:0"


@tool
def weather(city: str) -> str:
    """The weather."""
    return city


def model(name: str, **settings: Any) -> ChatBedrockConverse:
    return ChatBedrockConverse(model=name, api_key="k", region_name="us-east-1", **settings)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (CLAUDE, {"thinking": {"type": "enabled", "budget_tokens": 2000}}),
        (
            "us.anthropic.claude-opus-4-6-v1",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (NOVA, {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "high"}}),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "high"}),
        ("nobody.knows-v1:0", {"reasoning": {"effort": "high"}}),
    ],
)
def test_reasoning_is_said_in_the_models_words(name: str, fields: Any) -> None:
    body = model(name, reasoning={"effort": "high"}, max_tokens=4000).build_request("hi").body
    assert body["additionalModelRequestFields"] == fields
    assert body["inferenceConfig"] == {"maxTokens": 4000}


def test_an_arn_is_fitted_by_the_model_behind_it() -> None:
    arn = "arn:aws:bedrock:us-east-1:1:application-inference-profile/abc"
    request = model(arn, base_model=NOVA, reasoning={"effort": "low"}).build_request("hi")
    assert request.url.endswith(
        "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aapplication-inference-profile%2Fabc/converse"
    )
    assert (
        request.body["additionalModelRequestFields"]["reasoningConfig"]["maxReasoningEffort"]
        == "low"
    )


@pytest.mark.parametrize(
    ("name", "settings", "left_out"),
    [
        (CLAUDE, {"seed": 3}, "seed"),
        (NOVA, {"user": "me"}, "user"),
        ("nobody.knows", {}, "parallel_tool_calls"),
    ],
)
def test_nothing_is_left_out_in_silence(name: str, settings: Any, left_out: str) -> None:
    parallel = {"parallel_tool_calls": False} if left_out == "parallel_tool_calls" else {}
    bound: Any = model(name, **settings).bind_tools([weather], **parallel)
    with pytest.warns(ParameterWarning, match=left_out):
        body = bound.bound.build_request("hi", **bound.kwargs).body
    assert left_out not in {**body, **body.get("additionalModelRequestFields", {})}


def test_a_tool_that_cannot_be_forced_may_be_called() -> None:
    bound: Any = model("us.meta.llama4-maverick-17b-instruct-v1:0").bind_tools(
        [weather], tool_choice="any"
    )
    with pytest.warns(ParameterWarning, match="cannot be forced to call a tool, see"):
        body = bound.bound.build_request("hi", **bound.kwargs).body
    assert body["toolConfig"]["toolChoice"] == {"auto": {}}


def test_no_tool_is_no_tools_unless_the_history_has_calls() -> None:
    bound: Any = model(NOVA).bind_tools([weather], tool_choice="none")
    with pytest.warns(ParameterWarning, match="tools are left out"):
        assert "toolConfig" not in bound.bound.build_request("hi", **bound.kwargs).body
    call = {"name": "weather", "args": {}, "id": "t"}
    history = [
        HumanMessage("hi"),
        AIMessage("", tool_calls=[call]),
        ToolMessage("rain", tool_call_id="t"),
    ]
    with pytest.raises(InvalidArgument, match="none"):
        bound.bound.build_request(history, **bound.kwargs)


def test_the_guardrail_may_look_at_the_last_turn_only() -> None:
    history = [HumanMessage("old"), AIMessage("yes"), HumanMessage("new")]
    messages = model(NOVA, guard_last_turn_only=True).build_request(history).body["messages"]
    assert [turn["content"] for turn in messages] == [
        [{"text": "old"}],
        [{"text": "yes"}],
        [{"guardContent": {"text": {"text": "new"}}}],
    ]


def test_a_system_prompt_of_the_model_stands_before_the_messages() -> None:
    body = (
        model(NOVA, system=["Be brief.", {"cachePoint": {"type": "default"}}])
        .build_request([("system", "Be kind."), ("human", "hi"), ("system", "Now!")])
        .body
    )
    assert body["system"] == [
        {"text": "Be brief."},
        {"cachePoint": {"type": "default"}},
        {"text": "Be kind."},
    ]
    assert body["messages"][0]["content"][1] == {"text": "<system>\nNow!\n</system>"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image", "url": "https://a.test/b.png"},
        {"type": "file", "file_id": "f"},
        {"type": "image", "base64": "AA=="},
    ],
)
def test_what_converse_does_not_take_is_refused_before_any_request(block: Any) -> None:
    with pytest.raises(InvalidArgument):
        model(NOVA).build_request([HumanMessage([block])])


def _reply(body: Any) -> bytes:
    data = json.dumps(body).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(data),
        data,
    )


def test_a_call_enters_few_more_functions_than_openais() -> None:
    pytest.importorskip("botocore")
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": "Hello!"},
        "finish_reason": "stop",
    }
    openai = RawServer([[_reply({"id": "c", "model": "m", "choices": [choice]})]], repeat=True)
    message = {"role": "assistant", "content": [{"text": "Hello!"}]}
    bedrock = RawServer(
        [[_reply({"output": {"message": message}, "stopReason": "end_turn"})]], repeat=True
    )
    keys = {"aws_access_key_id": "A", "aws_secret_access_key": "s"}
    usual = own_calls(ChatOpenAI(model="m", api_key="k", base_url=openai.url))
    signed: Any = ChatBedrockConverse(
        model="m", region_name="us-east-1", base_url=bedrock.url, **keys
    )
    assert own_calls(signed) <= 1.3 * usual
    openai.close()
    bedrock.close()


@pytest.mark.parametrize("choice", ["none", {"type": "none"}])
def test_no_tool_at_all_leaves_the_tools_out_and_says_so(choice: Any) -> None:
    model = ChatBedrockConverse(
        model="us.amazon.nova-pro-v1:0", api_key="k", region_name="us-east-1"
    )
    tools = [{"name": "add", "description": "Add.", "input_schema": {"type": "object"}}]
    with pytest.warns(
        ParameterWarning, match='The tools are left out: Converse has no `tool_choice="none"`'
    ):
        assert "toolConfig" not in model.build_request("hi", tools=tools, tool_choice=choice).body


def test_documents_of_one_name_are_told_apart_in_the_whole_history() -> None:
    """Converse refuses names that repeat."""
    file = {"type": "file", "base64": "QQ==", "mime_type": "application/pdf"}
    call = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
    history = [
        HumanMessage(
            [{"type": "text", "text": "see"}, file, {**file, "extras": {"filename": "Report.pdf"}}]
        ),
        AIMessage("", tool_calls=[call]),
        ToolMessage([file], tool_call_id="1"),
        HumanMessage([file, {**file, "extras": {"filename": "report.docx"}}]),
    ]
    turns: Any = model(NOVA).build_request(history).body["messages"]
    (result,) = turns[2]["content"][0]["toolResult"]["content"]
    told = [it for turn in (turns[0], turns[2]) for it in turn["content"] if "document" in it]
    names = [it["document"]["name"] for it in (*told[:2], result, *told[2:])]
    assert names == ["document", "Report", "document (2)", "document (3)", "report (2)"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]

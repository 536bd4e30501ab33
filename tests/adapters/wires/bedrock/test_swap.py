"""One history on every wire: what an answer had goes to Bedrock and back, or is left out with a warning."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelwire.adapters import ChatAnthropic, ChatBedrockConverse, ChatOpenAI
from modelwire.errors import InvalidArgument, ParameterWarning
from modelwire.messages import AIMessage, HumanMessage, ToolMessage

CALL = {"name": "weather", "args": {"city": "Bern"}, "id": "call.1:x"}
# An answer of each wire, with what it may have.
ANSWERS: dict[str, Any] = {
    "anthropic": [
        {"type": "thinking", "thinking": "Hm.", "signature": "sig-of-anthropic"},
        {
            "type": "text",
            "text": "Let me see.",
            "citations": [
                {
                    "type": "char_location",
                    "cited_text": "so",
                    "start_char_index": 0,
                    "end_char_index": 2,
                    "document_index": 0,
                    "document_title": "a",
                }
            ],
        },
        {"type": "tool_use", "id": CALL["id"], "name": "weather", "input": {"city": "Bern"}},
    ],
    "openai": [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "Hm."}],
            "encrypted_content": "sig-of-openai",
        },
        {
            "type": "text",
            "text": "Let me see.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url": "https://a.test",
                    "title": "a",
                    "start_index": 0,
                    "end_index": 3,
                }
            ],
        },
        {
            "type": "function_call",
            "call_id": CALL["id"],
            "name": "weather",
            "arguments": '{"city": "Bern"}',
        },
    ],
    "bedrock_converse": [
        {
            "type": "reasoning_content",
            "reasoning_content": {"text": "Hm.", "signature": "sig-of-bedrock"},
        },
        {
            "type": "text",
            "text": "Let me see.",
            "citations": [
                {
                    "title": "a",
                    "sourceContent": [{"text": "so"}],
                    "location": {"documentChar": {"start": 0}},
                }
            ],
        },
        {"type": "server_tool_call", "id": "s1", "name": "nova_grounding", "args": {}},
        {
            "type": "server_tool_result",
            "tool_call_id": "s1",
            "status": "success",
            "output": [{"text": "found"}],
        },
        {"type": "tool_use", "id": CALL["id"], "name": "weather", "input": {"city": "Bern"}},
    ],
}
MODELS: dict[str, Any] = {
    "anthropic": lambda **kwargs: ChatAnthropic(model="claude-sonnet-4-5", api_key="k", **kwargs),
    "openai": lambda **kwargs: ChatOpenAI(model="gpt-5", api_key="k", **kwargs),
    "responses": lambda **kwargs: ChatOpenAI(
        model="gpt-5", api_key="k", use_responses_api=True, **kwargs
    ),
    "bedrock": lambda **kwargs: ChatBedrockConverse(
        model="m", api_key="k", region_name="us-east-1", **kwargs
    ),
}


def history(provider: str) -> list[Any]:
    answer = AIMessage(
        ANSWERS[provider], tool_calls=[CALL], response_metadata={"model_provider": provider}
    )
    return [HumanMessage("hi"), answer, ToolMessage("rain", tool_call_id=CALL["id"])]


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
def test_an_answer_of_another_wire_goes_to_bedrock(provider: str) -> None:
    with pytest.warns(ParameterWarning) as warned:
        body = MODELS["bedrock"]().build_request(history(provider)).body
    hi, answer, result = body["messages"]
    text, use = answer["content"]
    assert (hi["role"], answer["role"], result["role"]) == ("user", "assistant", "user")
    assert text == {"text": "Let me see."}
    assert use["toolUse"]["name"] == "weather"
    assert use["toolUse"]["toolUseId"] == result["content"][0]["toolResult"]["toolUseId"]
    told = " ".join(str(one.message) for one in warned)
    assert "A `reasoning` block" in told
    assert "citations" in told
    assert "sig-of" not in json.dumps(body)
    with pytest.raises(InvalidArgument, match="strict_params"):
        MODELS["bedrock"](strict_params=True).build_request(history(provider))


def test_an_answer_of_its_own_goes_back_whole() -> None:
    body = MODELS["bedrock"](strict_params=True).build_request(history("bedrock_converse")).body
    kinds = [next(iter(block)) for block in body["messages"][1]["content"]]
    assert kinds == ["reasoningContent", "citationsContent", "toolUse", "toolResult", "toolUse"]
    assert "sig-of-bedrock" in json.dumps(body)


@pytest.mark.filterwarnings("ignore::modelwire.errors.ParameterWarning")
@pytest.mark.parametrize("wire", ["anthropic", "openai", "responses"])
def test_an_answer_of_bedrock_goes_to_every_wire(wire: str) -> None:
    text = json.dumps(MODELS[wire]().build_request(history("bedrock_converse")).body)
    assert "Let me see." in text
    assert "weather" in text
    assert "rain" in text
    assert not any(
        word in text for word in ("sig-of", "reasoning_content", "sourceContent", "server_tool")
    )


def test_a_picture_that_has_an_address_only_is_left_out() -> None:
    answer = AIMessage(
        [{"type": "text", "text": "Here."}, {"type": "image", "url": "https://a.test/b.png"}],
        response_metadata={"model_provider": "anthropic"},
    )
    with pytest.warns(ParameterWarning, match="fetches nothing"):
        body = (
            MODELS["bedrock"]()
            .build_request([HumanMessage("hi"), answer, HumanMessage("why?")])
            .body
        )
    assert body["messages"][1]["content"] == [{"text": "Here."}]

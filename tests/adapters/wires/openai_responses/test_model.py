"""`ChatOpenAI` on the Responses API: when it takes it, and what a conversation over it looks like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

import httpx2
import pytest
from openai.types.shared.responses_model import ResponsesModel
from pydantic import BaseModel
from support.mocked import answered_by
from support.sdk_versions import read_from

from modelwire.adapters import ChatOpenAI
from modelwire.errors import ModelRefusalError, RateLimited, StreamInterrupted
from modelwire.messages import AIMessage, HumanMessage, ToolMessage, message_chunk_to_message

REASONING = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "secret"}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "add",
    "arguments": '{"x":1}',
    "status": "completed",
}
ASK = [HumanMessage("hi")]


def said(text: str, kind: str = "output_text") -> dict[str, Any]:
    key = "text" if kind == "output_text" else "refusal"
    notes = {"annotations": []} if kind == "output_text" else {}
    return {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": kind, key: text, **notes}],
    }


def streamed(response: dict[str, Any]) -> Iterator[bytes]:
    events: list[dict[str, Any]] = [
        {
            "type": "response.created",
            "response": {**response, "output": [], "status": "in_progress"},
        }
    ]
    for number, item in enumerate(response["output"]):
        head = (
            {**item, "content": [], "arguments": ""}
            if item["type"] != "reasoning"
            else {**item, "encrypted_content": "first"}
        )
        events.append({"type": "response.output_item.added", "output_index": number, "item": head})
        for at, part in enumerate(item.get("content", ())):
            if part["type"] == "output_text":
                about = {"output_index": number, "content_index": at, "item_id": item["id"]}
                events += [
                    {"type": "response.output_text.delta", "delta": letter, **about}
                    for letter in part["text"]
                ]
        events.append(
            {
                "type": "response.output_item.done",
                "output_index": number,
                "item": {
                    **item,
                    **({"encrypted_content": "second"} if item["type"] == "reasoning" else {}),
                },
            }
        )
    events.append({"type": f"response.{response['status']}", "response": response})
    for event in events:
        yield f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


class Provider:
    """Answers every call with the same items, in the way it is asked."""

    def __init__(self, *output: dict[str, Any], **more: Any) -> None:
        self.bodies: list[Any] = []
        self.response = {
            "id": "resp_1",
            "object": "response",
            "status": "completed",
            "model": "gpt-5",
            "output": list(output),
            **more,
        }

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        assert request.url.path == "/v1/responses"
        self.bodies.append(json.loads(request.content))
        if self.bodies[-1].get("stream"):
            body = b"".join(streamed(self.response))
            return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
        return httpx2.Response(200, json=self.response)

    def model(self, **given: Any) -> ChatOpenAI:
        given = {"use_responses_api": True, **answered_by(self), **given}
        return ChatOpenAI(model="gpt-5", api_key="k", max_retries=0, **given)


# ---------------------------------------------------------------- when

BY_ITSELF: dict[str, dict[str, Any]] = {
    "a built-in tool": {"tools": [{"type": "web_search"}]},
    "an earlier answer": {"previous_response_id": "resp_1"},
    "in the background": {"background": True},
    "a summary of the reasoning": {"reasoning": {"effort": "low", "summary": "auto"}},
    "included": {"include": ["reasoning.encrypted_content"]},
    "a prompt kept there": {"prompt": {"id": "pmpt_1"}},
}
ON_CHAT: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a function": {"tools": [{"type": "function", "function": {"name": "f"}}]},
    "a custom tool": {"tools": [{"type": "custom", "custom": {"name": "f"}}]},
    "an effort": {"reasoning": {"effort": "low"}},
}


@pytest.mark.parametrize("case", BY_ITSELF)
def test_responses_api_is_taken_where_a_parameter_needs_it(case: str) -> None:
    assert (
        ChatOpenAI(model="gpt-5", api_key="k")
        .build_request("x", **BY_ITSELF[case])
        .url.endswith("/responses")
    )
    chat = ChatOpenAI(
        model="gpt-5", api_key="k", use_responses_api=False, model_kwargs=BY_ITSELF[case]
    )
    assert chat._call(ASK, None, {}, stream=False).params.keys() >= BY_ITSELF[case].keys()
    assert (
        type(chat._codec(chat._call(ASK, None, {}, stream=False))).__name__
        == "ChatCompletionsCodec"
    )


@pytest.mark.parametrize("case", ON_CHAT)
def test_chat_completions_is_taken_for_the_rest(case: str) -> None:
    assert (
        ChatOpenAI(model="gpt-5", api_key="k")
        .build_request("x", **ON_CHAT[case])
        .url.endswith("/chat/completions")
    )


@read_from("openai", "3.57")
def test_models_that_are_only_there_are_known() -> None:
    """The SDK's type names the models of Chat Completions first, then those that are only on Responses."""
    _, on_chat, only_there = ((), *(get_args(names) for names in get_args(ResponsesModel)[-2:]))

    def url(model: str) -> str:
        return ChatOpenAI(model=model, api_key="k").build_request("x").url.rpartition("/v1/")[2]

    assert {model for model in only_there if url(model) != "responses"} == set()
    # These the SDK has on both, and the provider's pages on Responses only.
    unsure = {"codex-mini-latest", "gpt-5.1-codex", "gpt-5.2-pro", "gpt-5.2-pro-2025-12-11"}
    assert {model for model in on_chat if url(model) == "responses"} == unsure


@pytest.mark.parametrize(
    "model", ["google/gemini-2.5-pro", "sonar-pro", "gemini-2.5-pro", "deepseek-v3-pro"]
)
def test_a_model_of_another_service_is_left_on_chat_completions(model: str) -> None:
    request = ChatOpenAI(model=model, base_url="http://gateway/v1").build_request("x")
    assert request.url == "http://gateway/v1/chat/completions"


# ---------------------------------------------------------------- conversations


@pytest.mark.parametrize("way", ["whole", "streamed", "dumped"])
def test_encrypted_reasoning_goes_through_a_conversation_unchanged(way: str, colour: Any) -> None:
    provider = Provider(REASONING, CALL)
    model = provider.model(store=False)
    if way == "streamed":
        chunks = colour.stream(model, ASK)
        answer: Any = message_chunk_to_message(sum(chunks[1:], chunks[0]))
    else:
        answer = colour.invoke(model, ASK)
    if way == "dumped":
        answer = AIMessage.model_validate_json(answer.model_dump_json())
    assert answer.tool_calls == [{"name": "add", "args": {"x": 1}, "id": "c1", "type": "tool_call"}]
    colour.invoke(provider.model(store=False), [*ASK, answer, ToolMessage("2", tool_call_id="c1")])
    assert provider.bodies[-1]["input"] == [
        {"role": "user", "content": "hi"},
        REASONING,
        CALL,
        {"type": "function_call_output", "call_id": "c1", "output": "2"},
    ]
    assert provider.bodies[-1]["include"] == ["reasoning.encrypted_content"]


@pytest.mark.parametrize("streaming", [False, True])
def test_an_answer_is_the_same_whole_and_streamed(streaming: bool, colour: Any) -> None:
    usage = {
        "input_tokens": 9,
        "output_tokens": 5,
        "total_tokens": 14,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 2},
    }
    answer = colour.invoke(
        Provider(REASONING, said("Hello"), usage=usage).model(streaming=streaming), "hi"
    )
    assert (answer.text, answer.id) == ("Hello", "resp_1")
    assert answer.usage_metadata == {
        "input_tokens": 9,
        "output_tokens": 5,
        "total_tokens": 14,
        "input_token_details": {"cache_read": 3},
        "output_token_details": {"reasoning": 2},
    }
    assert [block["type"] for block in answer.content_blocks] == ["reasoning", "text"]


def test_text_is_streamed_piece_by_piece(colour: Any) -> None:
    chunks = colour.stream(Provider(said("abc")).model(), "hi")
    assert [str(chunk.text) for chunk in chunks if chunk.text] == ["a", "b", "c"]
    assert chunks[-1].chunk_position == "last"


class Sum(BaseModel):
    x: int


def test_the_name_langchain_has_for_this_content_is_taken(colour: Any) -> None:
    answer = colour.invoke(Provider(said("so")).model(output_version="responses/v1"), "hi")
    assert answer.content == [{"type": "text", "text": "so", "annotations": [], "id": "msg_1"}]


@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_structured_output_is_read_from_the_text(method: str, colour: Any) -> None:
    provider = Provider(REASONING, said('{"x": 1}'))
    asking = provider.model().with_structured_output(Sum, method=method)
    assert colour.invoke(asking, "hi") == Sum(x=1)
    kind = {"json_schema": "json_schema", "json_mode": "json_object"}[method]
    assert provider.bodies[-1]["text"]["format"]["type"] == kind
    assert colour.stream(asking, "hi")[-1] == Sum(x=1)


def test_structured_output_is_read_from_a_call(colour: Any) -> None:
    provider = Provider(REASONING, {**CALL, "name": "Sum"})
    assert colour.invoke(
        provider.model().with_structured_output(Sum, method="function_calling"), "hi"
    ) == Sum(x=1)
    assert provider.bodies[-1]["tool_choice"] == {"type": "function", "name": "Sum"}


def test_a_refusal_is_no_data(colour: Any) -> None:
    with pytest.raises(ModelRefusalError, match="never"):
        colour.invoke(Provider(said("never", "refusal")).model().with_structured_output(Sum), "hi")


def test_tools_that_openai_runs_are_bound_beside_ours() -> None:
    def add(x: int) -> int:
        """Add one."""
        return x + 1

    servers = [
        {"type": "mcp", "server_label": name, "server_url": f"https://{name}"}
        for name in ("one", "two")
    ]
    provider = Provider(said("so"))
    provider.model().bind_tools(
        [add, {"type": "web_search"}, *servers], tool_choice="web_search"
    ).invoke("hi")
    kinds = [tool["type"] for tool in provider.bodies[-1]["tools"]]
    assert kinds == ["function", "web_search", "mcp", "mcp"]
    assert provider.bodies[-1]["tool_choice"] == {"type": "web_search"}


def test_standard_blocks_return_as_items() -> None:
    provider = Provider(REASONING, said("so"))
    model = provider.model(output_version="v1", store=False)
    answer = model.invoke("hi")
    assert [block["type"] for block in answer.content] == ["reasoning", "text"]  # type: ignore[index]
    model.invoke([*ASK, answer, *ASK])
    assert provider.bodies[-1]["input"][1:3] == [REASONING, said("so")]


def test_a_failed_answer_is_an_error_on_every_way(colour: Any) -> None:
    failed = {"status": "failed", "error": {"code": "rate_limit_exceeded", "message": "slow"}}
    for run in (colour.invoke, colour.stream):
        with pytest.raises(RateLimited):
            run(Provider(**failed).model(), "hi")
    with pytest.raises(StreamInterrupted) as caught:
        colour.stream(Provider(said("ab"), **failed).model(), "hi")
    assert caught.value.partial.text == "ab"

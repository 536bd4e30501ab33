"""The same script on every wire, whole and streamed, read by our own models and by the official SDKs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from modelwire.messages import AIMessage, AIMessageChunk
from modelwire.testing import Answer, ProviderServer
from modelwire.testing.server.answers import Call, pieces
from modelwire.testing.server.wires import answer_reply

CALL = {"name": "weather", "args": {"city": "Zürich", "days": [1, 2, 3], "unit": "°C"}}
RICH = Answer(
    "It is 20 degrees.",
    reasoning="The user asks about weather.",
    tool_calls=[CALL, {"name": "now", "args": {}, "id": "call_own"}],
    usage={"input_tokens": 30, "output_tokens": 12, "cached_tokens": 10, "reasoning_tokens": 4},
)
ANSWERS = {
    "plain": Answer("Hello there,\n friend"),
    "empty": Answer(""),
    "rich": RICH,
    "refusal": Answer(refusal="I will not say that."),
    "cut short": Answer("It was a dark and", stop="length"),
}
SERVED = ["openai", "responses", "anthropic", "bedrock", "gemini"]  # the wires our own models speak


@given(st.text(alphabet=st.sampled_from("ab \n\té"), max_size=40))
def test_the_words_of_a_stream_are_the_text_again(text: str) -> None:
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize("wire", SERVED)
def test_our_models_read_an_answer_whole_and_streamed(
    wire: str, colour: Any, serve: Callable[..., ProviderServer]
) -> None:
    server = serve(default=RICH)
    model = server.model(wire)
    whole = colour.invoke(model, "hi")
    chunks = colour.stream(model, "hi")
    merged = sum(chunks[1:], chunks[0])
    for message in (whole, merged):
        assert message.text == "It is 20 degrees."
        assert [(call["name"], call["args"]) for call in message.tool_calls] == [
            ("weather", CALL["args"]),
            ("now", {}),
        ]
        assert message.tool_calls[1]["id"] == "call_own"
        usage = message.usage_metadata
        assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (
            30,
            12,
            42,
        )
        assert usage["input_token_details"]["cache_read"] == 10
    assert isinstance(merged, AIMessageChunk)
    assert len(chunks) > len(RICH.text.split())


@pytest.mark.parametrize("name", ANSWERS)
def test_openai_sdk_reads_chat_completions(name: str, serve: Callable[..., ProviderServer]) -> None:
    answer, server = ANSWERS[name], serve(default=ANSWERS[name])
    client = openai.OpenAI(base_url=server.base_url_for("openai"), api_key="k", max_retries=0)
    asked: dict[str, Any] = {"model": "gpt-test", "messages": [{"role": "user", "content": "hi"}]}
    with client:
        whole = client.chat.completions.create(**asked)
        ChatCompletion.model_validate(whole.model_dump(), strict=True)
        completions = [whole]
        if answer.stop != "length":  # there the SDK's accumulator raises
            with client.chat.completions.stream(
                **asked, stream_options={"include_usage": True}
            ) as stream:
                completions.append(stream.get_final_completion())
    for completion in completions:
        [choice] = completion.choices
        assert (choice.message.content or "") == answer.text
        assert (choice.message.refusal or "") == answer.refusal
        assert choice.finish_reason == answer.stop_reason
        calls = choice.message.tool_calls or []
        assert [json.loads(call.function.arguments) for call in calls] == [
            one["args"] for one in answer.tool_calls
        ]
        assert completion.usage.completion_tokens == whole.usage.completion_tokens


@pytest.mark.parametrize("name", ANSWERS)
def test_openai_sdk_reads_responses(name: str, serve: Callable[..., ProviderServer]) -> None:
    answer, server = ANSWERS[name], serve(default=ANSWERS[name])
    client = openai.OpenAI(base_url=server.base_url_for("responses"), api_key="k", max_retries=0)
    with client:
        whole = client.responses.create(model="gpt-test", input="hi")
        events = list(client.responses.create(model="gpt-test", input="hi", stream=True))
        with client.responses.stream(model="gpt-test", input="hi") as stream:
            list(stream)
    done = events[-1].response
    assert [event.sequence_number for event in events] == list(range(len(events)))
    for response in (whole, done):
        Response.model_validate(response.model_dump(by_alias=True, exclude_unset=True))
        assert response.output_text == answer.text
        assert response.status == ("incomplete" if answer.stop == "length" else "completed")
        calls = [item for item in response.output if item.type == "function_call"]
        assert [json.loads(call.arguments) for call in calls] == [
            one["args"] for one in answer.tool_calls
        ]
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert said == answer.text
    written = [event for event in events if event.type == "response.function_call_arguments.delta"]
    assert "".join(event.delta for event in written if event.output_index == 2) == (
        json.dumps(CALL["args"], separators=(",", ":"), ensure_ascii=False)
        if name == "rich"
        else ""
    )


@pytest.mark.parametrize("name", ANSWERS)
def test_anthropic_sdk_reads_messages(name: str, serve: Callable[..., ProviderServer]) -> None:
    answer, server = ANSWERS[name], serve(default=ANSWERS[name])
    asked: dict[str, Any] = {
        "model": "claude-test",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    }
    with anthropic.Anthropic(base_url=server.base_url, api_key="k", max_retries=0) as client:
        whole = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
    for message in (whole, streamed):
        Message.model_validate(message.model_dump())
        texts = [block.text for block in message.content if block.type == "text"]
        assert "".join(texts) == (answer.text or answer.refusal)
        uses = [block for block in message.content if block.type == "tool_use"]
        assert [use.input for use in uses] == [one["args"] for one in answer.tool_calls]
        assert message.usage.output_tokens == whole.usage.output_tokens
        expected = (
            "refusal"
            if answer.refusal
            else {"stop": "end_turn", "length": "max_tokens"}.get(answer.stop_reason)
        )
        assert message.stop_reason == (expected or "tool_use")


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ("openai", ChatCompletionChunk),
        ("responses", ResponseStreamEvent),
        ("anthropic", RawMessageStreamEvent),
    ],
)
@pytest.mark.parametrize("name", ANSWERS)
def test_every_event_is_of_a_type_the_provider_documents(wire: str, kind: Any, name: str) -> None:
    answer, reader = ANSWERS[name], TypeAdapter(kind)
    call = Call(wire, 7, "m", True, answer.tokens(40))
    for event in answer_reply(answer, call).parts:
        data = event.partition(b"data: ")[2].strip()
        if data != b"[DONE]" and b'"ping"' not in data:
            reader.validate_json(data)


def test_usage_of_a_stream_comes_where_openai_would_send_it(
    serve: Callable[..., ProviderServer], ask_raw: Callable[..., Any]
) -> None:
    server = serve(default="hi")
    assert b'"usage"' not in ask_raw(server, stream=True).raw
    assert b'"usage"' in ask_raw(server, stream=True, stream_options={"include_usage": True}).raw


def test_what_is_left_unsaid_is_estimated(serve: Callable[..., ProviderServer]) -> None:
    server = serve(default="one two three")
    message = server.model("openai").invoke("x" * 400)
    assert isinstance(message, AIMessage)
    usage = message.usage_metadata
    assert usage is not None
    assert usage["output_tokens"] == 3
    assert usage["input_tokens"] == len(server.requests[0].content) // 4 > 100

"""Several choices of one answer (`n` > 1): kept apart, whole and streamed; the first is the answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from support.mocked import answered_by

from modelwire.adapters import ChatOpenAI
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import IncompleteStream
from modelwire.messages import HumanMessage, merge_chunks

USAGE = {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
TOKENS = {"input_tokens": 3, "output_tokens": 6, "total_tokens": 9}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
LOGPROBS = {"content": [{"token": "a"}, {"token": "b"}]}
MESSAGES: list[dict[str, Any]] = [
    {"content": "first"},
    {"content": "second", "reasoning_content": "hm", "refusal": "no"},
    {"content": None, "tool_calls": [CALL]},
]
REASONS = ["stop", "length", "tool_calls"]
OTHERS = [
    {
        "index": 1,
        "content": "second",
        "tool_calls": [],
        "invalid_tool_calls": [],
        "additional_kwargs": {"reasoning_content": "hm", "refusal": "no"},
        "finish_reason": "length",
        "native_finish_reason": "MAX",
        "logprobs": LOGPROBS,
    },
    {
        "index": 2,
        "content": "",
        "tool_calls": [{"name": "f", "args": {"a": 1}, "id": "c1", "type": "tool_call"}],
        "invalid_tool_calls": [],
        "additional_kwargs": {},
        "finish_reason": "tool_calls",
        "logprobs": None,
    },
]


def whole() -> dict[str, Any]:
    choices = [
        {
            "index": n,
            "message": {"role": "assistant", **MESSAGES[n]},
            "finish_reason": REASONS[n],
            "logprobs": None,
        }
        for n in (2, 0, 1)
    ]
    choices[2] |= {"logprobs": LOGPROBS, "native_finish_reason": "MAX"}
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": choices, "usage": USAGE}


def piece(*choices: tuple[int, dict[str, Any], dict[str, Any]]) -> dict[str, Any]:
    said = [
        {"index": n, "delta": delta, "finish_reason": None, **more} for n, delta, more in choices
    ]
    return {"id": "chatcmpl-1", "created": 1, "model": "m", "choices": said}


EVENTS = [
    piece((1, {"role": "assistant", "reasoning_content": "hm"}, {})),
    piece((0, {"role": "assistant", "content": "fir"}, {})),
    piece(
        (
            2,
            {"tool_calls": [{**CALL, "index": 0, "function": {"name": "f", "arguments": '{"a"'}}]},
            {},
        )
    ),
    piece((1, {"content": "sec"}, {"logprobs": {"content": [{"token": "a"}]}})),
    piece(
        (2, {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]}, {}),
        (0, {"content": "st"}, {}),
    ),
    piece((1, {"content": "ond", "refusal": "no"}, {"logprobs": {"content": [{"token": "b"}]}})),
    piece(*((n, {}, {"finish_reason": REASONS[n]}) for n in (0, 2))),
    piece((1, {}, {"finish_reason": "length", "native_finish_reason": "MAX"})),
    {"id": "chatcmpl-1", "choices": [], "usage": USAGE},
]


def model(events: list[Any] | None = None, *, done: bool = True, **settings: Any) -> ChatOpenAI:
    said = "".join(f"data: {json.dumps(event)}\n\n" for event in events or EVENTS) + (
        "data: [DONE]\n\n" * done
    )

    def reply(request: httpx2.Request) -> httpx2.Response:
        body = json.loads(request.read())
        assert body["n"] == 3
        if body.get("stream"):
            return httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, content=said.encode()
            )
        return httpx2.Response(200, json=whole())

    return ChatOpenAI(
        model="m", n=3, api_key="none", max_retries=0, **answered_by(reply), **settings
    )


@pytest.mark.parametrize("streaming", [False, True])
def test_the_first_choice_is_the_answer_and_the_others_are_in_its_metadata(
    colour: Any, streaming: bool
) -> None:
    answer = colour.invoke(model(streaming=streaming), "hi")
    assert (answer.content, answer.tool_calls, answer.usage_metadata) == ("first", [], TOKENS)
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.response_metadata["other_choices"] == OTHERS


def test_a_stream_hands_out_the_first_choice_and_the_others_leave_with_the_last_chunk(
    colour: Any,
) -> None:
    chunks = colour.stream(model(), "hi")
    assert [chunk.content for chunk in chunks] == ["fir", "st", ""]
    assert all("other_choices" not in chunk.response_metadata for chunk in chunks[:-1])
    total = merge_chunks(chunks)
    assert (total.usage_metadata, total.response_metadata["other_choices"]) == (TOKENS, OTHERS)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("heard", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
def test_generate_gives_every_choice_as_a_generation(
    streaming: bool, heard: bool, is_async: bool
) -> None:
    handler = Kept()
    asked: Any = {"messages": [[HumanMessage("hi")]], "callbacks": [handler] if heard else None}
    made = model(streaming=streaming)
    result = asyncio.run(made.agenerate(**asked)) if is_async else made.generate(**asked)
    (generations,) = result.generations
    first, second, third = (generation.message for generation in generations)
    assert [generation.text for generation in generations] == ["first", "second", ""]
    assert (first.usage_metadata, second.usage_metadata, third.usage_metadata) == (
        TOKENS,
        None,
        None,
    )
    assert second.additional_kwargs == OTHERS[0]["additional_kwargs"]
    assert third.tool_calls == OTHERS[1]["tool_calls"]
    reasons = [generation.message.response_metadata["finish_reason"] for generation in generations]
    assert reasons == REASONS
    assert [generation.generation_info["finish_reason"] for generation in generations] == REASONS
    assert generations[1].generation_info["logprobs"] == LOGPROBS
    assert result.llm_output == {"token_usage": USAGE, "model_name": "m"}
    assert second.response_metadata["model_name"] == "m"
    assert second.response_metadata["logprobs"] == LOGPROBS
    assert "other_choices" not in second.response_metadata
    if heard:
        assert [
            (len(each.generations[0]), each.llm_output["token_usage"]) for each in handler.results
        ] == [(3, USAGE)]


class Kept(BaseCallbackHandler):
    def __init__(self) -> None:
        self.results: list[Any] = []

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.results.append(response)


def test_a_stream_without_the_end_of_a_choice_is_incomplete() -> None:
    cut = [event for event in EVENTS if event["choices"][:1] != [EVENTS[7]["choices"][0]]]
    with pytest.raises(IncompleteStream):
        model(cut, done=False, streaming=True).invoke("hi")
    assert (
        model(cut, streaming=True)
        .invoke("hi")
        .response_metadata["other_choices"][0]["finish_reason"]
        is None
    )
    assert model(done=False, streaming=True).invoke("hi").content == "first"

"""One history on every wire: what each wire's model answered becomes a request of each other wire."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

import pytest

from modelwire.adapters.wires.gemini.codec import GenerateContentCodec
from modelwire.adapters.wires.wire import wire_named
from modelwire.errors import InvalidArgument, ParameterWarning
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.testing import Answer, ProviderServer
from modelwire.transport.wire import Reply

pytestmark = pytest.mark.filterwarnings("ignore::modelwire.errors.ParameterWarning")
WIRES = ("openai", "responses", "anthropic", "bedrock", "gemini")
OWNERS = {
    "openai": "openai",
    "responses": "openai",
    "anthropic": "anthropic",
    "bedrock": "bedrock_converse",
    "gemini": "google_genai",
}
CALLS = [{"name": "add", "args": {"a": 1}}, {"name": "add", "args": {"a": 2}}]


def answer_of(wire: str, **fields: Any) -> AIMessage:
    with ProviderServer([Answer("So.", **fields)]) as server:
        return server.model(wire).invoke("hi")  # type: ignore[arg-type]


def request_of(wire: str, history: list[Any], **settings: Any) -> str:
    with ProviderServer() as server:
        model: Any = server.model(wire, **settings)  # type: ignore[arg-type]
        model.invoke(history)
        return json.dumps(server.requests[0].body)


def results(answer: AIMessage) -> list[ToolMessage]:
    return [
        ToolMessage(f"sum {n}", tool_call_id=str(call["id"]))
        for n, call in enumerate(answer.tool_calls)
    ]


@pytest.mark.parametrize("to", WIRES)
@pytest.mark.parametrize("of", WIRES)
def test_text_reasoning_and_calls_cross(of: str, to: str) -> None:
    answer = answer_of(of, tool_calls=CALLS, reasoning="Thought so.")
    assert len({call["id"] for call in answer.tool_calls}) == 2
    sent = request_of(
        to, [SystemMessage("s"), HumanMessage("hi"), answer, *results(answer), HumanMessage("and?")]
    )
    for words in ("So.", "sum 0", "sum 1", '"and?"'):
        assert words in sent
    assert sent.index("sum 0") < sent.index("sum 1")
    signed = ("sig-", "c2lnL")  # a signature goes to nobody but who signed
    if of != to:
        assert not any(mark in sent for mark in signed)


@pytest.mark.parametrize("to", ["openai", "anthropic", "bedrock", "gemini"])
def test_calls_and_results_that_a_caller_writes_in_anthropics_words_cross(to: str) -> None:
    history = [
        HumanMessage("hi"),
        AIMessage(
            [
                {"type": "text", "text": "So."},
                {"type": "tool_use", "id": "t1", "name": "add", "input": {"a": 7}},
            ]
        ),
        HumanMessage(
            [
                {"type": "tool_result", "tool_use_id": "t1", "content": "sum 7"},
                {"type": "text", "text": "?"},
            ]
        ),
    ]
    sent = request_of(to, history)
    order = [sent.index(words) for words in ("add", "sum 7", '"?"')]
    assert order == sorted(order)
    assert "7}" in sent.replace("\\", "")


IMAGE = {"inlineData": {"mimeType": "image/png", "data": "aW1n"}}
SEARCHED = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Hm.", "thought": True},
                    {"executableCode": {"language": "PYTHON", "code": "secret_code"}},
                    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                    {"text": "Paris.", "thoughtSignature": "c2lnL"},
                    IMAGE,
                ],
            },
            "finishReason": "STOP",
            "groundingMetadata": {
                "groundingChunks": [{"web": {"uri": "https://a.test", "title": "A"}}],
                "groundingSupports": [{"segment": {"endIndex": 6}, "groundingChunkIndices": [0]}],
            },
        }
    ],
}


@pytest.mark.parametrize("to", WIRES)
def test_an_answer_of_geminis_with_images_tools_and_sources_crosses(to: str) -> None:
    answer = GenerateContentCodec().decode(Reply(200, {}, json.dumps(SEARCHED).encode()))
    sent = request_of(to, [HumanMessage("hi"), answer, HumanMessage("and?")])
    assert "Paris." in sent
    assert ("secret_code" in sent) == ("c2lnL" in sent) == ("Hm." in sent) == (to == "gemini")
    assert ("https://a.test" in sent) is False  # the sources stay in the metadata of the message


@pytest.mark.parametrize("to", ["openai", "anthropic", "bedrock", "responses"])
def test_ids_that_gemini_has_not_are_made_and_stay(to: str) -> None:
    call = {"functionCall": {"name": "add", "args": {}}}
    data = {
        "candidates": [{"content": {"parts": [call, call]}, "finishReason": "STOP"}],
        "responseId": "r",
    }
    answer = GenerateContentCodec().decode(Reply(200, {}, json.dumps(data).encode()))
    sent = request_of(to, [HumanMessage("hi"), answer, *results(answer)])
    for made in answer.tool_calls:
        assert sent.count(f'"{made["id"]}"') == 2


# An answer of each wire with a source and, where the wire has such answers, an image.
SOURCE, PICTURE = "https://a.test", "aW1n"
AT = {"type": "url_citation", "url": SOURCE, "title": "A", "start_index": 0, "end_index": 6}
CITED: dict[str, dict[str, Any]] = {
    "openai": {
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {
                    "role": "assistant",
                    "content": "Paris.",
                    "annotations": [{"type": "url_citation", "url_citation": AT}],
                },
            }
        ]
    },
    "responses": {
        "id": "resp_1",
        "object": "response",
        "status": "completed",
        "output": [
            {
                "type": "image_generation_call",
                "id": "ig_1",
                "status": "completed",
                "result": PICTURE,
            },
            {
                "type": "message",
                "id": "msg_1",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Paris.", "annotations": [AT]}],
            },
        ],
    },
    "anthropic": {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "stop_reason": "end_turn",
        "content": [
            {
                "type": "text",
                "text": "Paris.",
                "citations": [
                    {
                        "type": "web_search_result_location",
                        "url": SOURCE,
                        "title": "A",
                        "encrypted_index": "e",
                        "cited_text": "Paris",
                    }
                ],
            }
        ],
    },
    "bedrock": {
        "stopReason": "end_turn",
        "output": {
            "message": {
                "role": "assistant",
                "content": [
                    {"image": {"format": "png", "source": {"bytes": PICTURE}}},
                    {
                        "citationsContent": {
                            "content": [{"text": "Paris."}],
                            "citations": [
                                {
                                    "title": "A",
                                    "location": {"web": {"url": SOURCE}},
                                    "sourceContent": [{"text": "Paris"}],
                                }
                            ],
                        }
                    },
                ],
            }
        },
    },
    "gemini": SEARCHED,
}


@cache
def thinking_answer(wire: str) -> AIMessage:
    return answer_of(wire, reasoning="Thought so.")


@cache
def model_of(wire: str, strict: bool) -> Any:
    with ProviderServer() as server:
        return server.model(wire, strict_params=strict)  # type: ignore[arg-type]


def check_left_out(of: str, to: str, answer: AIMessage, *words: str) -> str:
    """Return what is sent; each of the words stands in a warning, and the call is refused under `strict_params`."""
    history = [HumanMessage("hi"), answer, HumanMessage("and?")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sent = json.dumps(model_of(to, strict=False).build_request(history).body)
    warned = " ".join(
        str(warning.message) for warning in caught if warning.category is ParameterWarning
    )
    if of == to:
        assert not caught
        model_of(to, strict=True).build_request(history)
        return sent
    assert [word for word in words if word not in warned] == [], warned
    with pytest.raises(InvalidArgument, match="strict_params"):
        model_of(to, strict=True).build_request(history)
    return sent


@pytest.mark.parametrize("to", WIRES)
@pytest.mark.parametrize("of", WIRES)
def test_reasoning_that_is_left_out_warns_and_is_refused_under_strict_params(
    of: str, to: str
) -> None:
    sent = check_left_out(of, to, thinking_answer(of), "left out")
    assert "So." in sent
    assert ("Thought so." in sent) is (of == to != "openai")


@pytest.mark.parametrize("to", WIRES)
@pytest.mark.parametrize("of", WIRES)
def test_sources_stay_behind_with_a_warning_and_an_image_crosses_or_is_named(
    of: str, to: str
) -> None:
    answer = wire_named(of).codec(OWNERS[of]).decode(Reply(200, {}, json.dumps(CITED[of]).encode()))
    sent = check_left_out(of, to, answer, *(["citations"] if of != "gemini" else ["left out"]))
    assert "Paris." in sent
    assert of == to or SOURCE not in sent
    if of in ("responses", "bedrock", "gemini") and of != to and PICTURE not in sent:
        check_left_out(of, to, answer, "`image")


def test_what_gemini_made_and_chat_completions_cannot_take_is_refused_under_strict_params() -> None:
    answer = GenerateContentCodec().decode(Reply(200, {}, json.dumps(SEARCHED).encode()))
    assert "aW1n" not in check_left_out("gemini", "openai", answer, "`image`", "users only")

"""Every answer, stream event and error of the test server is what the provider's own schema says.

The schemas: the classes of `openai`, `openresponses-types`, `anthropic` and `google-genai`, and botocore's description
of `bedrock-runtime`. Nothing may be missing and nothing unknown (`tests/support/answer_schemas.py`); what a provider
sends beside its schema is an exception by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from anthropic.types import (
    ErrorResponse,
    Message,
    MessageTokensCount,
    ModelInfo,
    RawMessageStreamEvent,
)
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse
from openai.types import Batch, FileObject
from openai.types import Model as OpenAIModel
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import InputTokenCountResponse, Response, ResponseStreamEvent
from openai.types.shared import ErrorObject

from modelwire.testing import Answer, BatchPlan, ProviderServer, faults
from modelwire.testing.server.answers import Call
from modelwire.testing.server.wires import WIRES, answer_reply, error_body
from tests.support.answer_schemas import bedrock_shapes, bedrocks, problems

CALL = {"name": "weather", "args": {"city": "Zürich", "days": [1, 2, 3]}}
USED = {"input_tokens": 30, "output_tokens": 12, "cached_tokens": 10, "reasoning_tokens": 4}
SCENES = {
    "plain": Answer("Hello there,\n friend"),
    "empty": Answer(""),
    "tools": Answer(tool_calls=[CALL, {"name": "now", "args": {}, "id": "call_own"}]),
    "text and tools": Answer("I look.", tool_calls=[CALL]),
    "thinking": Answer("Twelve.", reasoning="Six and six."),
    "thinking and tools": Answer(reasoning="I need the weather.", tool_calls=[CALL]),
    "structured output": Answer('{"city": "Bern", "people": 134000}'),
    "refusal": Answer(refusal="I will not."),
    "cut short": Answer("It was a dark and", stop="length"),
    "filtered": Answer("It was", stop="content_filter"),
    "usage": Answer("Used.", reasoning="Hm.", usage=USED),
}
STATUSES = (400, 401, 403, 404, 408, 409, 413, 422, 424, 429, 500, 502, 503, 504, 529)

# What a provider sends beside its own schema, and who says so.
BESIDE = {
    # DeepSeek and the services that follow it: https://api-docs.deepseek.com/guides/reasoning_model
    ("openai", "reasoning_content"),
    # OpenAI's API sends them, OpenResponses demands them, and the class `Response` does not have them:
    # https://www.openresponses.org/reference, read 2026-11.
    ("responses", "store"),
    ("responses", "presence_penalty"),
    ("responses", "frequency_penalty"),
    # Padding against guesses from lengths: recorded bodies of ConverseStream, 2026-11.
    ("bedrock", "p"),
}


def left(wire: str, found: Iterator[str]) -> list[str]:
    """Return the problems that are no exception by name."""
    unknown = re.compile(r"\.(\w+): \w+ has no such (?:field|member)$")
    return [one for one in found if not (at := unknown.search(one)) or (wire, at[1]) not in BESIDE]


def asked(wire: str, answer: Answer, *, stream: bool) -> Call:
    return Call(wire, 7, WIRES[wire].model, stream, answer.tokens(400))


def whole(wire: str, answer: Answer) -> Any:
    return json.loads(answer_reply(answer, asked(wire, answer, stream=False)).body)


def data_of(event: bytes) -> Any:
    return json.loads(event.partition(b"data: ")[2])


def streamed(wire: str, answer: Answer) -> list[bytes]:
    parts = answer_reply(answer, asked(wire, answer, stream=True)).parts
    return [part for part in parts if b"data: [DONE]" not in part]


@pytest.mark.parametrize("name", SCENES)
def test_an_answer_of_chat_completions(name: str) -> None:
    assert left("openai", problems(ChatCompletion, whole("openai", SCENES[name]))) == []


@pytest.mark.parametrize("name", SCENES)
def test_a_stream_of_chat_completions(name: str) -> None:
    for event in streamed("openai", SCENES[name]):
        assert left("openai", problems(ChatCompletionChunk, data_of(event))) == []


@pytest.mark.parametrize("name", SCENES)
def test_an_answer_of_responses(name: str) -> None:
    assert left("responses", problems(Response, whole("responses", SCENES[name]))) == []


@pytest.mark.parametrize("name", SCENES)
def test_a_stream_of_responses(name: str) -> None:
    for event in streamed("responses", SCENES[name]):
        assert left("responses", problems(ResponseStreamEvent, data_of(event))) == []


@pytest.mark.parametrize("name", SCENES)
def test_responses_are_what_open_responses_says(name: str) -> None:
    types = pytest.importorskip("openresponses_types.types")
    beyond = re.compile(BEYOND_OPEN_RESPONSES)
    found = problems(types.ResponseResource, whole("responses", SCENES[name]))
    assert [one for one in found if not beyond.search(one)] == []
    kinds = {
        value: kind
        for kind_name, kind in vars(types).items()
        if kind_name.endswith("StreamingEvent")
        for value in words_of(kind.model_fields["type"].annotation)
    }
    for event in streamed("responses", SCENES[name]):
        data = data_of(event)
        found = problems(kinds[data["type"]], data)
        assert [one for one in found if not beyond.search(one)] == []


def words_of(kind: Any) -> list[str]:
    """Return the values of an enumeration or a `Literal`."""
    return [getattr(word, "value", word) for word in getattr(kind, "__args__", kind)]


# OpenAI has these, and the version of OpenResponses from which its types were made has not (2.4.0, 2026-08).
BEYOND_OPEN_RESPONSES = r"\.(cache_write_tokens): \w+ has no such field$"


@pytest.mark.parametrize("name", SCENES)
def test_an_answer_of_messages(name: str) -> None:
    assert left("anthropic", problems(Message, whole("anthropic", SCENES[name]))) == []


@pytest.mark.parametrize("name", SCENES)
def test_a_stream_of_messages(name: str) -> None:
    for event in streamed("anthropic", SCENES[name]):
        data = data_of(event)
        if data != {"type": "ping"}:  # documented on the page of streams, in no class
            assert left("anthropic", problems(RawMessageStreamEvent, data)) == []


@pytest.mark.parametrize("name", SCENES)
def test_an_answer_of_gemini_whole_and_streamed(name: str) -> None:
    types = pytest.importorskip("google.genai.types")
    answers = [whole("gemini", SCENES[name]), *map(data_of, streamed("gemini", SCENES[name]))]
    for answer in answers:
        assert left("gemini", problems(types.GenerateContentResponse, answer)) == []
        assert {"candidates", "usageMetadata", "modelVersion", "responseId"} <= set(answer)


@pytest.mark.parametrize("name", SCENES)
def test_an_answer_of_bedrock(name: str) -> None:
    pytest.importorskip("botocore")
    body = whole("bedrock", SCENES[name])
    assert left("bedrock", bedrocks("ConverseResponse", body)) == []


@pytest.mark.parametrize("name", SCENES)
def test_a_stream_of_bedrock(name: str) -> None:
    pytest.importorskip("botocore")
    for kind, data in frames(b"".join(streamed("bedrock", SCENES[name]))):
        data.pop("p")  # see BESIDE
        assert left("bedrock", bedrocks("ConverseStreamOutput", {kind: data})) == []


def frames(body: bytes) -> list[tuple[str, Any]]:
    """Return the events of a stream as botocore reads them."""
    from botocore.eventstream import EventStreamBuffer

    buffer = EventStreamBuffer()
    buffer.add_data(body)
    return [
        (
            message.headers.get(":event-type") or message.headers[":exception-type"],
            json.loads(message.payload),
        )
        for message in buffer
    ]


@pytest.mark.parametrize("status", STATUSES)
def test_an_error_on_every_wire(status: int) -> None:
    for wire in ("openai", "responses"):
        body = error_body(wire, status)
        assert set(body) == {"error"}
        assert list(problems(ErrorObject, body["error"])) == []
    found = problems(ErrorResponse, error_body("anthropic", status))
    assert [one for one in found if not BEYOND_ANTHROPICS_CLASSES.search(one)] == []
    body = error_body("gemini", status)
    # google.rpc.Status as JSON: https://cloud.google.com/apis/design/errors#http_mapping
    assert set(body) == {"error"}
    assert set(body["error"]) <= {"code", "message", "status", "details"}
    assert body["error"]["code"] == status
    assert body["error"]["status"] in RPC_CODES


# Documented on https://platform.claude.com/docs/en/api/errors (read 2026-11), and in no class of the SDK.
BEYOND_ANTHROPICS_CLASSES = re.compile(r"'(request_too_large|conflict_error)' is none of")
# google.rpc.Code: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
RPC_CODES = {
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
}


@pytest.mark.parametrize("status", STATUSES)
def test_an_error_of_bedrock_is_of_a_class_with_that_status(status: int) -> None:
    pytest.importorskip("botocore")
    body = error_body("bedrock", status)
    name = body.pop("__type")
    if name != "UnrecognizedClientException":  # every service of AWS has it, none describes it
        assert list(bedrocks(name, body)) == []
        assert bedrock_shapes()[name]["exception"]


def test_an_error_within_a_stream(
    serve: Callable[..., ProviderServer], ask_raw: Callable[..., Any]
) -> None:
    server = serve(default=faults.error_event())
    for wire, kind in (("responses", ResponseStreamEvent), ("anthropic", ErrorResponse)):
        last = ask_raw(server, wire, stream=True).raw.rpartition(b"data: ")[2]
        error = json.loads(last.partition(b"\n")[0])
        assert list(problems(kind, error)) == []


ROW = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def sent(server: ProviderServer, method: str, path: str, **asked: Any) -> Any:
    headers = asked.pop("headers", {})
    return httpx2.request(method, server.base_url + path, headers=headers, **asked).json()


@pytest.mark.parametrize("outcome", ["completed", "expired", "failed", "cancelled"])
def test_files_and_batches_of_openai(outcome: str, serve: Callable[..., ProviderServer]) -> None:
    plan = BatchPlan(polls=1, outcome="completed" if outcome == "cancelled" else outcome)
    server = serve(default=SCENES["usage"], batches=plan)
    lines = [
        json.dumps({"custom_id": one, "method": "POST", "url": "/v1/chat/completions", "body": ROW})
        for one in "ab"
    ]
    upload = {"file": ("rows.jsonl", "\n".join(lines))}
    file = sent(server, "POST", "/v1/files", files=upload, data={"purpose": "batch"})
    assert list(problems(FileObject, file)) == []
    asked = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions"}
    batch = sent(server, "POST", "/v1/batches", json={**asked, "completion_window": "24h"})
    seen = [batch]
    if outcome == "cancelled":
        seen.append(sent(server, "POST", f"/v1/batches/{batch['id']}/cancel"))
    seen += [sent(server, "GET", f"/v1/batches/{batch['id']}") for _ in range(3)]
    assert seen[-1]["status"] == outcome
    for one in seen:
        assert list(problems(Batch, one)) == []
    page = sent(server, "GET", "/v1/batches")
    assert set(page) == {"object", "data", "first_id", "last_id", "has_more"}
    if outcome == "completed":
        used = seen[-1]["usage"]
        assert used["input_tokens_details"]["cached_tokens"] == 20
        assert used["output_tokens_details"]["reasoning_tokens"] == 8
        for line in sent_text(server, f"/v1/files/{seen[-1]['output_file_id']}/content"):
            assert set(line) == {"id", "custom_id", "response", "error"}
            assert set(line["response"]) == {"status_code", "request_id", "body"}
            assert left("openai", problems(ChatCompletion, line["response"]["body"])) == []


def sent_text(server: ProviderServer, path: str) -> list[Any]:
    return [json.loads(line) for line in httpx2.get(server.base_url + path).text.splitlines()]


@pytest.mark.parametrize("is_cancelled", [False, True])
def test_batches_of_anthropic(is_cancelled: bool, serve: Callable[..., ProviderServer]) -> None:
    server = serve(batches=BatchPlan(polls=1))
    rows = [{"custom_id": one, "params": {**ROW, "max_tokens": 9}} for one in "ab"]
    own = {"anthropic-version": "2023-06-01", "x-api-key": "k"}
    path = "/v1/messages/batches"
    batch = sent(server, "POST", path, json={"requests": rows}, headers=own)
    seen = [batch]
    if is_cancelled:
        seen.append(sent(server, "POST", f"{path}/{batch['id']}/cancel", headers=own))
    seen += [sent(server, "GET", f"{path}/{batch['id']}", headers=own) for _ in range(3)]
    assert seen[-1]["processing_status"] == "ended"
    for one in seen:
        assert list(problems(MessageBatch, one)) == []
    for line in sent_text(server, f"{path}/{batch['id']}/results"):
        assert list(problems(MessageBatchIndividualResponse, line)) == []


def test_models_and_counts_of_tokens(serve: Callable[..., ProviderServer]) -> None:
    server, own = serve(), {"anthropic-version": "2023-06-01"}
    for model in sent(server, "GET", "/v1/models")["data"]:
        assert list(problems(OpenAIModel, model)) == []
    for model in sent(server, "GET", "/v1/models", headers=own)["data"]:
        assert list(problems(ModelInfo, model)) == []
    counted = sent(server, "POST", "/v1/messages/count_tokens", json=ROW, headers=own)
    assert list(problems(MessageTokensCount, counted)) == []
    counted = sent(server, "POST", "/v1/responses/input_tokens", json={"model": "m", "input": "hi"})
    assert list(problems(InputTokenCountResponse, counted)) == []
    types = pytest.importorskip("google.genai.types")
    counted = sent(server, "POST", "/v1beta/models/m:countTokens", json={"contents": []})
    assert list(problems(types.CountTokensResponse, counted)) == []


def test_an_answer_in_the_background(serve: Callable[..., ProviderServer]) -> None:
    server = serve("done")
    asked = {"model": "m", "input": "hi", "background": True}
    seen = [sent(server, "POST", "/v1/responses", json=asked)]
    seen += [sent(server, "GET", f"/v1/responses/{seen[0]['id']}") for _ in range(2)]
    assert [one["status"] for one in seen] == ["queued", "in_progress", "completed"]
    for one in seen:
        assert left("responses", problems(Response, one)) == []
        assert one["background"] is True

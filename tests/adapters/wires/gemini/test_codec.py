"""What generateContent is sent and what its answers mean, where no recording says it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import BaseModel

from modelwire.adapters import ChatGoogleGenerativeAI
from modelwire.adapters.wires.gemini.codec import GenerateContentCodec
from modelwire.errors import (
    AuthenticationError,
    ContextTooLong,
    IncompleteStream,
    InvalidArgument,
    MalformedResponse,
    NotFound,
    ParameterWarning,
    ProviderError,
    QuotaExhausted,
    RateLimited,
)
from modelwire.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    merge_chunks,
)
from modelwire.messages.refusals import refusal_in
from modelwire.transport.wire import Reply

CODEC = GenerateContentCodec()


def model(name: str = "gemini-2.5-flash", **settings: Any) -> ChatGoogleGenerativeAI:
    return ChatGoogleGenerativeAI(**{"model": name, "api_key": "k"} | settings)


def body(messages: Any, of: ChatGoogleGenerativeAI | None = None, **kwargs: Any) -> dict[str, Any]:
    return dict((of or model()).build_request(messages, **kwargs).body)


def answer(*parts: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "candidates": [
            {"content": {"role": "model", "parts": list(parts)}, "finishReason": "STOP", **fields}
        ]
    }


def decoded(data: Any) -> AIMessage:
    return CODEC.decode(Reply(200, {}, json.dumps(data).encode()))


def streamed(*events: Any, ending: bytes = b"\r\n\r\n", size: int = 10**6) -> AIMessageChunk:
    data = b"".join(b"data: " + json.dumps(event).encode() + ending for event in events)
    return sum_of(data, size)


def sum_of(data: bytes, size: int) -> AIMessageChunk:
    framing, decoder = CODEC.framing(), CODEC.stream_decoder()
    chunks: list[AIMessageChunk] = []
    for start in range(0, len(data), size):
        for event in framing.feed(data[start : start + size]):
            chunks += decoder.feed(event)
    return merge_chunks(chunks + decoder.close())


# Every part keeps its place and its signature on the way there and back.
PARTS: list[dict[str, Any]] = [
    {"text": "I think", "thought": True},
    {"text": "Let me see. "},
    {"text": "Signed.", "thoughtSignature": "c2ln"},
    {"text": " More"},
    {
        "functionCall": {"name": "f", "args": {"a": 1}, "id": "their-id"},
        "thoughtSignature": "Y2FsbA==",
    },
    {"functionCall": {"name": "g", "args": {}}},
    {"executableCode": {"language": "PYTHON", "code": "1"}},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
    {"inlineData": {"mimeType": "image/png", "data": "aW1n"}, "thoughtSignature": "aW1nc2ln"},
    {"somethingNew": {"x": 1}},
    {
        "inlineData": {"mimeType": "audio/wav", "data": "d2F2"},
        "audioTranscription": {"text": "Hi", "languageCode": "en"},
        "partMetadata": {"name": "a"},
    },
    {"text": "", "thoughtSignature": "bGFzdA=="},
]


@pytest.mark.parametrize("size", [10**6, 1])
def test_parts_go_back_where_and_as_they_came(size: int) -> None:
    whole = decoded({**answer(*PARTS), "responseId": "r"})
    in_stream = streamed(
        *({"responseId": "r", **answer(part, finishReason=None)} for part in PARTS),
        answer(),
        size=size,
    )
    for message in (whole, in_stream):
        assert [call["name"] for call in message.tool_calls] == ["f", "g"]
        sent = body(
            [
                HumanMessage("hi"),
                message,
                *(ToolMessage("1", tool_call_id=c["id"]) for c in message.tool_calls),
            ]
        )
        assert sent["contents"][1] == {"role": "model", "parts": PARTS}
        assert [part["functionResponse"] for part in sent["contents"][2]["parts"]] == [
            {"name": "f", "response": {"output": "1"}, "id": "their-id"},
            {"name": "g", "response": {"output": "1"}},  # an id that is ours is not sent
        ]
    assert whole.tool_calls == in_stream.tool_calls


def test_text_with_a_field_beside_it_keeps_that_field_whole_and_streamed() -> None:
    spoken = {"text": "Hi", "speechMetadata": {"speaker": "Ann", "style": "fast"}}
    for message in (decoded(answer(spoken)), streamed(answer(spoken))):
        (block,) = message.content_blocks
        assert block["type"] == "text"
        assert block["extras"] == {"speech_metadata": spoken["speechMetadata"]}
        assert message.text == "Hi"
        history = [HumanMessage("hi"), message, HumanMessage("on")]
        assert body(history)["contents"][1]["parts"] == [spoken]


def test_an_answer_goes_back_after_it_was_stored() -> None:
    stored = AIMessage.model_validate(json.loads(decoded(answer(*PARTS)).model_dump_json()))
    assert body([HumanMessage("hi"), stored])["contents"][1]["parts"] == PARTS


def test_the_same_answer_gives_the_same_ids_and_another_others() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    ids = [
        decoded({**answer(call, call), "responseId": name}).tool_calls
        for name in ("r1", "r1", "r2")
    ]
    assert ids[0] == ids[1] != ids[2]
    assert len({it["id"] for it in ids[0] + ids[2]}) == 4


def test_results_of_parallel_calls_are_one_content_in_the_order_of_the_calls() -> None:
    calls = [{"name": name, "args": {}, "id": name, "type": "tool_call"} for name in "abc"]
    results = [ToolMessage(f"of {name}", tool_call_id=name) for name in "cab"]
    contents = body(
        [HumanMessage("hi"), AIMessage("", tool_calls=calls), *results, HumanMessage("so?")]
    )["contents"]
    assert [content["role"] for content in contents] == ["user", "model", "user", "user"]
    assert [part["functionResponse"]["name"] for part in contents[2]["parts"]] == ["a", "b", "c"]


def test_a_call_that_could_not_be_read_goes_back_only_with_its_answer() -> None:
    bad = {"name": "f", "args": '{"a', "id": "1", "error": "cut", "type": "invalid_tool_call"}
    cut = AIMessage("Let me see.", invalid_tool_calls=[bad])
    (_, alone, _) = body([HumanMessage("hi"), cut, HumanMessage("so?")])["contents"]
    assert alone["parts"] == [{"text": "Let me see."}]
    (_, called, result) = body(
        [HumanMessage("hi"), cut, ToolMessage("unreadable", tool_call_id="1")]
    )["contents"]
    assert called["parts"][1] == {"functionCall": {"name": "f", "args": {}, "id": "1"}}
    assert result["parts"] == [
        {"functionResponse": {"name": "f", "response": {"output": "unreadable"}, "id": "1"}}
    ]


def test_calls_without_ids_are_all_sent() -> None:
    calls = [{"name": name, "args": {}, "id": None, "type": "tool_call"} for name in "ab"]
    parts = body([HumanMessage("hi"), AIMessage("", tool_calls=calls)])["contents"][1]["parts"]
    assert [part["functionCall"]["name"] for part in parts] == ["a", "b"]


def test_an_error_of_a_tool_and_an_image_of_one() -> None:
    call = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
    image = [
        {"type": "text", "text": "see"},
        {"type": "image", "base64": "aW1n", "mime_type": "image/png"},
    ]
    history = [HumanMessage("hi"), AIMessage("", tool_calls=[call])]
    failed = body([*history, ToolMessage("no", tool_call_id="1", status="error")])["contents"][2][
        "parts"
    ]
    assert failed == [{"functionResponse": {"name": "f", "response": {"error": "no"}, "id": "1"}}]
    data = {"inlineData": {"mimeType": "image/png", "data": "aW1n"}}
    beside = body([*history, ToolMessage(image, tool_call_id="1")])["contents"][2]["parts"]
    assert beside == [
        {"functionResponse": {"name": "f", "response": {"output": "see"}, "id": "1"}},
        data,
    ]
    (inside,) = body(
        [*history, ToolMessage(image, tool_call_id="1")], model("gemini-3-pro-preview")
    )["contents"][2]["parts"]
    assert inside["functionResponse"]["parts"] == [data]


def test_a_result_without_its_call_is_refused_by_name() -> None:
    with pytest.raises(InvalidArgument, match="names no function"):
        body([HumanMessage("hi"), ToolMessage("1", tool_call_id="x")])


def test_gemini_3_gets_a_word_in_the_place_of_a_signature_that_there_is_not() -> None:
    calls = [{"name": name, "args": {}, "id": name, "type": "tool_call"} for name in "ab"]
    history = [
        HumanMessage("hi"),
        AIMessage("", tool_calls=calls),
        *(ToolMessage("1", tool_call_id=n) for n in "ab"),
    ]
    first, second = body(history, model("gemini-3-pro-preview"))["contents"][1]["parts"]
    assert first["thoughtSignature"] == "skip_thought_signature_validator"
    assert "thoughtSignature" not in second
    assert not any("thoughtSignature" in part for part in body(history)["contents"][1]["parts"])


def test_system_messages_are_one_instruction_and_alone_a_users_turn() -> None:
    sent = body([SystemMessage("a"), HumanMessage("hi"), SystemMessage("b")])
    assert sent["systemInstruction"] == {"parts": [{"text": "a"}, {"text": "b"}]}
    assert sent["contents"] == [{"role": "user", "parts": [{"text": "hi"}]}]
    assert body([SystemMessage("a")]) == {"contents": [{"role": "user", "parts": [{"text": "a"}]}]}
    with pytest.raises(InvalidArgument, match="empty"):
        body([HumanMessage("")])


BLOCKS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {"type": "image", "base64": "QQ==", "mime_type": "image/webp"},
        {"inlineData": {"mimeType": "image/webp", "data": "QQ=="}},
    ),
    (
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
        {"inlineData": {"mimeType": "image/png", "data": "QQ=="}},
    ),
    (
        {"type": "audio", "url": "https://a.test/x.wav"},
        {"fileData": {"mimeType": "audio/x-wav", "fileUri": "https://a.test/x.wav"}},
    ),
    (
        {"type": "video", "url": "https://youtu.be/1", "extras": {"video_metadata": {"fps": 1}}},
        {
            "fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/1"},
            "videoMetadata": {"fps": 1},
        },
    ),
    (
        {
            "type": "video",
            "base64": "QQ==",
            "mime_type": "video/mp4",
            "media_processing": "AGENTIC",
        },
        {
            "inlineData": {"mimeType": "video/mp4", "data": "QQ=="},
            "mediaProcessing": "AGENTIC",
        },
    ),
    (
        {"type": "text", "text": "Hi", "extras": {"speech_metadata": {"speaker": "Ann"}}},
        {"text": "Hi", "speechMetadata": {"speaker": "Ann"}},
    ),
    (
        {"type": "text", "text": "Hi", "speechMetadata": {"style": "fast"}},
        {"text": "Hi", "speechMetadata": {"style": "fast"}},
    ),
    (
        {"type": "file", "base64": "QQ=="},
        {"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}},
    ),
    (
        {"type": "file", "file_id": "https://g.test/v1beta/files/1", "mime_type": "text/csv"},
        {"fileData": {"mimeType": "text/csv", "fileUri": "https://g.test/v1beta/files/1"}},
    ),
    (
        {"type": "media", "mime_type": "video/mp4", "file_uri": "gs://b/v.mp4"},  # LangChain's
        {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://b/v.mp4"}},
    ),
    (
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "QQ=="},
        },
        {"inlineData": {"mimeType": "application/pdf", "data": "QQ=="}},
    ),
    ({"type": "text-plain", "text": "note"}, {"text": "note"}),
    ({"type": "non_standard", "value": {"newThing": 1}}, {"newThing": 1}),
]


@pytest.mark.parametrize(("block", "part"), BLOCKS)
def test_blocks_of_users_become_parts(block: dict[str, Any], part: dict[str, Any]) -> None:
    assert (
        body([HumanMessage([{"type": "text", "text": "see"}, block])])["contents"][0]["parts"][1]
        == part
    )


class Person(BaseModel):
    name: str
    age: int | None = None


def test_one_modality_is_a_list_of_one_and_a_config_is_a_dict() -> None:
    assert body("hi", response_modalities="text")["generationConfig"] == {
        "responseModalities": ["TEXT"]
    }
    with pytest.raises(InvalidArgument, match="`generation_config` must be a dict"):
        body("hi", generation_config="x")
    call = {"name": "f", "args": {}, "id": "1", "type": "tool_call"}
    odd = AIMessage([{**call, "extras": ["x"]}], tool_calls=[call])
    assert body([HumanMessage("hi"), odd])["contents"][1]["parts"][0]["functionCall"]["name"] == "f"


def test_a_form_is_json_schema_and_for_older_models_openapis() -> None:
    config = body("hi", response_format=Person)["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"]["age"]["anyOf"] == [
        {"type": "integer"},
        {"type": "null"},
    ]
    older = body("hi", model("gemini-2.0-flash"), response_format=Person)["generationConfig"][
        "responseSchema"
    ]
    assert "responseJsonSchema" not in older
    assert older["type"] == "OBJECT"
    assert older["properties"]["age"] == {"type": "INTEGER", "nullable": True}
    assert older["propertyOrdering"] == ["name", "age"]
    assert model().with_structured_output(Person) is not None


def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("any", {"mode": "ANY"}),
        ("required", {"mode": "ANY"}),
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("add", {"mode": "ANY", "allowedFunctionNames": ["add"]}),
        (
            {"type": "function", "function": {"name": "add"}},
            {"mode": "ANY", "allowedFunctionNames": ["add"]},
        ),
        ({"type": "tool", "name": "add"}, {"mode": "ANY", "allowedFunctionNames": ["add"]}),
        ({"mode": "VALIDATED"}, {"mode": "VALIDATED"}),
        ({"function_calling_config": {"mode": "ANY"}}, {"mode": "ANY"}),
    ],
)
def test_a_choice_of_tools_in_any_words(choice: Any, config: dict[str, Any]) -> None:
    bound: Any = model().bind_tools([add, {"google_search": {}}], tool_choice=choice)
    sent = dict(bound.bound.build_request("hi", **bound.kwargs).body)
    assert sent["toolConfig"] == {"functionCallingConfig": config}
    declaration, search = sent["tools"]
    assert search == {"google_search": {}}
    assert [it["name"] for it in declaration["functionDeclarations"]] == ["add"]
    assert declaration["functionDeclarations"][0]["parametersJsonSchema"]["required"] == ["a", "b"]


def test_strict_tools_are_validated_and_foreign_ones_refused() -> None:
    bound: Any = model().bind_tools([add], strict=True)
    sent = bound.bound.build_request("hi", **bound.kwargs).body
    assert sent["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    with pytest.raises(InvalidArgument, match="`web_search_preview`"):
        body("hi", tools=[{"type": "web_search_preview"}])


@pytest.mark.parametrize(
    ("name", "settings", "config"),
    [
        (
            "gemini-2.5-flash",
            {"reasoning": {"effort": "low"}},
            {"thinkingBudget": 2048, "includeThoughts": True},
        ),
        ("gemini-2.5-flash", {"reasoning": {"effort": "none"}}, {"thinkingBudget": 0}),
        ("gemini-2.5-flash", {"reasoning": {"budget_tokens": 0}}, {"thinkingBudget": 0}),
        (
            "gemini-2.5-flash",
            {"reasoning": {"budget_tokens": 99}},
            {"thinkingBudget": 99, "includeThoughts": True},
        ),
        (
            "gemini-2.5-pro",
            {"reasoning": {"budget_tokens": 99}},
            {"thinkingBudget": 128, "includeThoughts": True},
        ),
        (
            "gemini-3-flash-preview",
            {"reasoning_effort": "minimal"},
            {"thinkingLevel": "MINIMAL", "includeThoughts": True},
        ),
        ("gemini-3-flash-preview", {"thinking": {"type": "enabled"}}, {"includeThoughts": True}),
        (
            "gemini-2.5-flash",
            {"thinking_budget": -1, "include_thoughts": False},
            {"thinkingBudget": -1, "includeThoughts": False},
        ),
        (
            "gemini-flash-latest",
            {"reasoning": {"effort": "high"}},
            {"thinkingLevel": "HIGH", "includeThoughts": True},
        ),
    ],
)
def test_reasoning_is_in_the_words_of_the_model(
    name: str, settings: dict[str, Any], config: dict[str, Any]
) -> None:
    assert body("hi", model(name), **settings)["generationConfig"] == {"thinkingConfig": config}


@pytest.mark.parametrize(
    ("name", "settings", "config"),
    [
        (
            "gemini-2.5-pro",
            {"reasoning": {"effort": "none"}},
            {"thinkingConfig": {"thinkingBudget": 1024}},
        ),
        (
            "gemini-3-pro-preview",
            {"reasoning": {"effort": "medium"}},
            {"thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True}},
        ),
        ("gemini-2.0-flash", {"reasoning": {"effort": "low"}}, None),
        ("gemini-2.5-flash", {"logit_bias": {1: 2}}, None),
        ("gemini-2.5-flash", {"parallel_tool_calls": True, "user": "u"}, None),
    ],
)
def test_what_a_model_does_not_take_is_a_warning_or_an_error(
    name: str, settings: dict[str, Any], config: Any
) -> None:
    with pytest.warns(ParameterWarning, match="`gemini"):
        assert body("hi", model(name), **settings).get("generationConfig") == config
    with pytest.raises(InvalidArgument, match="strict_params"):
        body("hi", model(name, strict_params=True), **settings)


def test_parameters_stand_where_the_wire_has_them() -> None:
    made = model(
        temperature=0,
        top_p=0.5,
        top_k=3,
        max_output_tokens=7,
        n=2,
        seed=1,
        stop="x",
        presence_penalty=0.1,
        frequency_penalty=0.2,
        response_modalities=["image"],
        safety_settings={"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"},
        cached_content="cachedContents/1",
        labels={"a": "b"},
    )
    assert body("hi", made, logprobs=True, top_logprobs=2) == {
        "contents": [{"role": "user", "parts": [{"text": "hi"}]}],
        "generationConfig": {
            "temperature": 0,
            "topP": 0.5,
            "topK": 3,
            "maxOutputTokens": 7,
            "candidateCount": 2,
            "seed": 1,
            "stopSequences": ["x"],
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "responseModalities": ["IMAGE"],
            "responseLogprobs": True,
            "logprobs": 2,
        },
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
        "cachedContent": "cachedContents/1",
        "labels": {"a": "b"},
    }
    with pytest.raises(InvalidArgument, match="`cached_content` holds `systemInstruction`"):
        body([SystemMessage("s"), HumanMessage("hi")], made)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            {"promptFeedback": {"blockReason": "SAFETY", "blockReasonMessage": "Not this."}},
            "SAFETY Not this.",
        ),
        (
            {"candidates": [], "promptFeedback": {"blockReason": "MODEL_ARMOR"}},
            "MODEL_ARMOR ",
        ),
        ({"candidates": [{"finishReason": "SAFETY"}]}, "SAFETY "),
        (
            {"candidates": [{"finishReason": "PROHIBITED_CONTENT", "content": {"role": "model"}}]},
            "PROHIBITED_CONTENT ",
        ),
    ],
)
def test_what_policy_blocked_is_a_refusal_with_the_reason(data: dict[str, Any], words: str) -> None:
    for read in (decoded, streamed):
        block = refusal_in(read(data))
        assert block is not None
        assert f"{block['extras']['category']} {block['refusal']}" == words


def test_a_prompt_that_is_blocked_after_a_part_of_the_answer_is_refused() -> None:
    part = answer({"text": "Once"}, finishReason=None)
    message = streamed(part, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}})
    block = refusal_in(message)
    assert block is not None
    assert (message.text, block["extras"]["category"]) == ("Once", "PROHIBITED_CONTENT")


@pytest.mark.parametrize("data", [{"candidates": []}, {"usageMetadata": {"promptTokenCount": 1}}])
def test_an_answer_without_a_candidate_or_a_reason_is_none(data: dict[str, Any]) -> None:
    with pytest.raises(MalformedResponse, match="has no candidate"):
        decoded(data)


def test_a_part_of_an_answer_before_a_block_is_an_answer_with_its_reason() -> None:
    for read in (decoded, streamed):
        message = read(answer({"text": "So far"}, finishReason="SAFETY"))
        assert (message.text, message.response_metadata["finish_reason"]) == ("So far", "SAFETY")


def test_a_call_that_nobody_can_read_is_worth_another_try() -> None:
    for read in (decoded, streamed):
        with pytest.raises(MalformedResponse, match="MALFORMED_FUNCTION_CALL"):
            read(
                {
                    "candidates": [
                        {"finishReason": "MALFORMED_FUNCTION_CALL", "finishMessage": "print(f("}
                    ]
                }
            )


def test_a_call_of_a_tool_that_nobody_declared_does_not_run() -> None:
    call = {"functionCall": {"name": "f", "args": {}}}
    for read in (decoded, streamed):
        message = read(
            answer(call, finishReason="UNEXPECTED_TOOL_CALL", finishMessage="No tool f.")
        )
        assert message.tool_calls == []
        assert [block["type"] for block in message.content_blocks] == ["invalid_tool_call"]


@pytest.mark.parametrize("events", [[], [answer({"text": "Hi"}, finishReason=None)]])
def test_a_stream_without_a_finish_reason_is_not_whole(events: list[Any]) -> None:
    with pytest.raises(IncompleteStream):
        streamed(*events)


@pytest.mark.parametrize("size", [10**6, 1, 7])
def test_an_error_after_good_events_is_raised_though_it_is_no_event(size: int) -> None:
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    for text in (
        json.dumps(error, indent=2),
        json.dumps(error),
        f"data: {json.dumps(error)}\n\n",
        f"[{json.dumps(error)}]",
    ):
        good = (
            b"data: " + json.dumps(answer({"text": "Hi"}, finishReason=None)).encode() + b"\r\n\r\n"
        )
        with pytest.raises(ProviderError, match="overloaded") as caught:
            sum_of(good + text.encode(), size)
        assert caught.value.status == 503


def test_a_call_in_pieces_that_a_limit_cuts_short_does_not_run() -> None:
    piece = {"partialArgs": [{"jsonPath": "$.to", "stringValue": "all"}], "willContinue": True}
    begun = {"functionCall": {"name": "send", "willContinue": True}}
    message = streamed(
        answer(begun, finishReason=None), answer({"functionCall": piece}, finishReason="MAX_TOKENS")
    )
    assert message.tool_calls == []
    assert [call["name"] for call in message.invalid_tool_calls] == ["send"]
    assert [block["type"] for block in message.content_blocks] == ["invalid_tool_call"]
    assert len(body([HumanMessage("hi"), message, HumanMessage("so?")])["contents"]) == 2


def test_a_huge_place_in_streamed_arguments_does_not_fill_the_memory() -> None:
    piece = {"jsonPath": "$.a[99999999999]", "stringValue": "x"}
    with pytest.raises(MalformedResponse):
        streamed(answer({"functionCall": {"name": "f", "partialArgs": [piece]}}))


def failed(
    status: int, message: str, *details: dict[str, Any], word: str = "X", **headers: str
) -> ProviderError:
    error = {
        "error": {"code": status, "message": message, "status": word, "details": list(details)}
    }
    return CODEC.error(Reply(status, headers, json.dumps(error).encode()))  # type: ignore[return-value]


RPC = "type.googleapis.com/google.rpc."


def test_errors_are_classed_by_what_their_details_say() -> None:
    wait = {"@type": f"{RPC}RetryInfo", "retryDelay": "34.4s"}
    minute = {
        "@type": f"{RPC}QuotaFailure",
        "violations": [{"quotaId": "RequestsPerMinutePerProject"}],
    }
    day = {
        "@type": f"{RPC}QuotaFailure",
        "violations": [{"quotaId": "GenerateRequestsPerDayPerProject-FreeTier"}],
    }
    limited = failed(429, "slow", wait, minute, word="RESOURCE_EXHAUSTED")
    assert type(limited) is RateLimited
    assert (limited.retry_after, limited.type, limited.retryable) == (
        34.4,
        "RESOURCE_EXHAUSTED",
        True,
    )
    exhausted = failed(429, "over", wait, day)
    assert type(exhausted) is QuotaExhausted
    assert not exhausted.retryable
    wrong = failed(
        400, "API key not valid.", {"@type": f"{RPC}ErrorInfo", "reason": "API_KEY_INVALID"}
    )
    assert type(wrong) is AuthenticationError
    assert wrong.status == 400
    assert type(failed(400, "The input token count (9) exceeds the maximum (8).")) is ContextTooLong
    assert isinstance(missing := failed(404, "models/x is not found."), NotFound)
    assert "https://ai.google.dev/gemini-api/docs/models" in str(missing)


def test_sources_are_annotations_of_the_characters_they_are_about() -> None:
    metadata = {
        "groundingChunks": [{"web": {"uri": "https://a.test", "title": "A"}}],
        "groundingSupports": [
            {
                "segment": {"startIndex": 4, "endIndex": 9, "text": "größt"},
                "groundingChunkIndices": [0, 7],
            }
        ],
    }
    for read in (decoded, streamed):
        (block,) = read(answer({"text": "Ä, größter"}, groundingMetadata=metadata)).content_blocks
        first, unknown = block["annotations"]  # type: ignore[typeddict-item]
        assert (first["url"], first["title"], first["cited_text"]) == (
            "https://a.test",
            "A",
            "größt",
        )
        assert (first["start_index"], first["end_index"]) == (3, 6)
        assert unknown["type"] == "citation"


def test_usage_counts_thoughts_tools_and_modalities() -> None:
    usage = {
        "promptTokenCount": 10,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 6,
        "toolUsePromptTokenCount": 3,
        "totalTokenCount": 24,
        "promptTokensDetails": [
            {"modality": "IMAGE", "tokenCount": 7},
            {"modality": "TEXT", "tokenCount": 3},
        ],
    }
    expected = {
        "input_tokens": 13,
        "output_tokens": 11,
        "total_tokens": 24,
        "input_token_details": {"cache_read": 4, "tool_use": 3, "image": 7},
        "output_token_details": {"reasoning": 6},
    }
    for read in (decoded, streamed):
        assert read({**answer({"text": "x"}), "usageMetadata": usage}).usage_metadata == expected
    half = {**answer({"text": "x"}, finishReason=None), "usageMetadata": {"promptTokenCount": 10}}
    assert (
        streamed(
            half, {**answer(), "usageMetadata": usage}, {"usageMetadata": {"trafficType": "X"}}
        ).usage_metadata
        == expected
    )


def test_further_candidates_are_kept() -> None:
    two = [
        {"index": n, "content": {"parts": [{"text": f"{n}"}]}, "finishReason": "STOP"}
        for n in (0, 1)
    ]
    for read in (decoded, streamed):
        message = read({"candidates": two})
        assert message.content == "0"
        assert [it["content"] for it in message.response_metadata["other_choices"]] == ["1"]


def test_streamed_calls_come_out_in_the_order_in_which_they_came() -> None:
    piece = {"partialArgs": [{"jsonPath": "$.to", "stringValue": "Rome"}]}
    first = {"functionCall": {"name": "now"}, "thoughtSignature": "c2ln"}
    message = streamed(
        answer(first, finishReason=None),
        answer({"functionCall": {"name": "fly", "willContinue": True}}, finishReason=None),
        answer({"functionCall": piece}, finishReason=None),
        answer({"functionCall": {"name": "sleep"}}),
    )
    assert [call["name"] for call in message.tool_calls] == ["now", "fly", "sleep"]
    assert message.tool_calls[1]["args"] == {"to": "Rome"}
    turn = body([HumanMessage("hi"), message])["contents"][-1]
    assert [part["functionCall"]["name"] for part in turn["parts"]] == ["now", "fly", "sleep"]
    assert ["thoughtSignature" in part for part in turn["parts"]] == [True, False, False]

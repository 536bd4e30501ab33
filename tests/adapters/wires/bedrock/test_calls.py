"""Calls of `ChatBedrockConverse` against a server of raw bytes: streams, refusals, and who calls."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from support.event_frames import event, exception, stream_of
from support.raw_server import RawServer

from modelwire import init_chat_model
from modelwire.adapters import ChatBedrockConverse
from modelwire.adapters.providers.aws import Keys, signed_headers
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ChatError,
    ContextTooLong,
    IncompleteStream,
    InvalidArgument,
    MalformedResponse,
    MissingDependency,
    MissingKey,
    ModelRefusalError,
    PermissionDenied,
    RateLimited,
    ServerError,
    StreamInterrupted,
)
from modelwire.messages import merge_chunks

MODEL = "us.amazon.nova-lite-v1:0"
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
    "metrics": {"latencyMs": 7},
}


def reply(body: Any, status: int = 200, **headers: str) -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "application/vnd.amazon.eventstream" if isinstance(body, bytes) else "application/json"
    named = {
        "content-type": kind,
        "x-amzn-requestid": "r-1",
        "content-length": str(len(data)),
        **headers,
    }
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} X\r\n{lines}\r\n".encode() + data


def refusal(status: int, kind: str, message: str = "no") -> bytes:
    return reply(
        {"message": message}, status, x_amzn_errortype=f"{kind}:http://internal.amazon.com/coral/"
    )


@pytest.fixture
def serve() -> Iterator[Any]:
    running: list[RawServer] = []

    def start(*replies: bytes) -> RawServer:
        running.append(RawServer([[one] for one in replies]))
        return running[0]

    yield start
    for server in running:
        server.close()


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Take this machine's own credentials away."""
    for name in (
        "AWS_BEARER_TOKEN_BEDROCK",
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_REGION",
        "AWS_DEFAULT_REGION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def model(server: RawServer, **settings: Any) -> ChatBedrockConverse:
    url = server.url.removesuffix("/v1")
    return ChatBedrockConverse(
        **{"model": MODEL, "base_url": url, "api_key": "none", "max_wait": 5, **settings}
    )


# ---------------------------------------------------------------- answers


def test_an_answer_says_what_bedrock_says(serve: Any, colour: Any) -> None:
    server = serve(reply({**ANSWER, "trace": {"guardrail": {"actionReason": "No action."}}}))
    message = colour.invoke(model(server), "hi")
    assert message.text == "Hello!"
    about = message.response_metadata
    assert (about["stopReason"], about["metrics"], about["request_id"]) == (
        "end_turn",
        {"latencyMs": 7},
        "r-1",
    )
    assert (about["model_name"], about["model_provider"]) == (MODEL, "bedrock_converse")
    assert about["trace"]["guardrail"]["actionReason"] == "No action."
    assert message.usage_metadata == {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    assert server.requests[0].startswith(
        b"POST /model/us.amazon.nova-lite-v1%3A0/converse HTTP/1.1"
    )
    assert b"authorization: bearer none" in server.requests[0].lower()


@pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
def test_the_signature_is_for_the_path_that_is_sent(serve: Any, colour: Any, engine: str) -> None:
    if engine == "aiohttp":
        pytest.importorskip("aiohttp")
    server = serve(reply(ANSWER))
    keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": "secret"}
    caller = model(server, api_key=None, engine=engine, region_name="us-east-1", **keys)
    assert colour.invoke(caller, "hi").text == "Hello!"
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    sent = {
        name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)
    }
    url = f"http://{sent['host']}{line.split(' ')[1]}"
    at = datetime.strptime(sent["x-amz-date"], "%Y%m%dT%H%M%SZ")
    anew = signed_headers(Keys("AKID", "secret"), "us-east-1", url, sent, body, at)
    assert "%3A0/" in url
    assert sent["authorization"] == anew["authorization"]


def test_a_stream_adds_up_to_the_whole_answer(serve: Any, colour: Any) -> None:
    content = [
        {"reasoningContent": {"reasoningText": {"text": "Hm, so.", "signature": "sig"}}},
        {"text": "Let me see."},
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Zürich"}}},
        {"toolUse": {"toolUseId": "t2", "name": "now", "input": {}}},
    ]
    whole = {
        **ANSWER,
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": "tool_use",
    }
    deltas: list[tuple[int, Any]] = [
        (0, {"reasoningContent": {"text": "Hm, "}}),
        (0, {"reasoningContent": {"text": "so."}}),
        (0, {"reasoningContent": {"signature": "sig"}}),
        (1, {"text": "Let me "}),
        (1, {"text": "see."}),
        (2, {"toolUse": {"input": ""}}),
        (2, {"toolUse": {"input": '{"city": "Z'}}),
        (2, {"toolUse": {"input": 'ürich"}'}}),
    ]
    starts = {2: {"toolUseId": "t1", "name": "weather"}, 3: {"toolUseId": "t2", "name": "now"}}
    frames = [event("messageStart", role="assistant")]
    for index in range(4):
        if index in starts:
            frames.append(
                event(
                    "contentBlockStart", contentBlockIndex=index, start={"toolUse": starts[index]}
                )
            )
        frames += [
            event("contentBlockDelta", contentBlockIndex=at, delta=it)
            for at, it in deltas
            if at == index
        ]
        frames.append(event("contentBlockStop", contentBlockIndex=index))
    frames += [
        event("messageStop", stopReason="tool_use"),
        event("metadata", usage=ANSWER["usage"], metrics={"latencyMs": 7}),
    ]
    server = serve(reply(b"".join(frames)), reply(whole))
    summed, at_once = (
        merge_chunks(colour.stream(model(server), "hi")),
        colour.invoke(model(server), "hi"),
    )
    for block in summed.content:
        block.pop("index")
    assert summed.content == at_once.content
    assert (summed.tool_calls, summed.usage_metadata, summed.id) == (
        at_once.tool_calls,
        at_once.usage_metadata,
        at_once.id,
    )
    assert summed.response_metadata == at_once.response_metadata
    assert [block["type"] for block in at_once.content_blocks] == [
        "reasoning",
        "text",
        "tool_call",
        "tool_call",
    ]
    assert at_once.content_blocks[0]["extras"] == {"signature": "sig"}


def test_the_cache_counts_as_input(serve: Any) -> None:
    usage = {
        "inputTokens": 3,
        "outputTokens": 2,
        "totalTokens": 35,
        "cacheReadInputTokens": 10,
        "cacheWriteInputTokens": 20,
        "cacheDetails": [{"ttl": "1h", "inputTokens": 20}],
    }
    message = model(serve(reply({**ANSWER, "usage": usage}))).invoke("hi")
    assert message.usage_metadata == {
        "input_tokens": 33,
        "output_tokens": 2,
        "total_tokens": 35,
        "input_token_details": {
            "cache_read": 10,
            "cache_creation": 20,
            "ephemeral_1h_input_tokens": 20,
        },
    }


GUARDED = {"action": "BLOCKED"}, {"action": "ANONYMIZED"}


@pytest.mark.parametrize(
    ("found", "blocked"), [(GUARDED[0], True), (GUARDED[1], False), (None, True)]
)
def test_what_a_guardrail_blocked_is_a_refusal_and_what_it_masked_is_not(
    serve: Any, found: Any, blocked: bool
) -> None:
    trace = (
        {"guardrail": {"outputAssessments": {"g": [{"topicPolicy": {"topics": [found]}}]}}}
        if found
        else {}
    )
    said = {**ANSWER, "stopReason": "guardrail_intervened", "trace": trace}
    message = model(serve(reply(said)), on_refusal="message").invoke("hi")
    assert message.text == "Hello!"
    assert message.response_metadata["trace"] == trace
    refusals = [block for block in message.content_blocks if block["type"] == "refusal"]
    assert [block["extras"]["category"] for block in refusals] == (["guardrail"] if blocked else [])


def test_a_blocked_answer_has_no_form(serve: Any) -> None:
    server = serve(reply({**ANSWER, "stopReason": "guardrail_intervened"}))
    with pytest.raises(ModelRefusalError, match="guardrail"):
        model(server).with_structured_output(
            {"title": "a", "type": "object", "properties": {}}
        ).invoke("hi")


# ---------------------------------------------------------------- what goes wrong

REFUSALS = [
    (400, "ValidationException", "bad", BadRequest),
    (400, "ValidationException", "Input Tokens Exceeded: too many", ContextTooLong),
    (403, "UnrecognizedClientException", "The security token is invalid.", AuthenticationError),
    (424, "ModelErrorException", "broke", ServerError),
    # In public issues, 2026-11: of a bearer key that is wrong, or has run out.
    (
        403,
        "AccessDeniedException",
        "Authentication failed: Please make sure your API Key is valid.",
        AuthenticationError,
    ),
    (
        403,
        "AccessDeniedException",
        "You are not authorized to perform this action",
        PermissionDenied,
    ),
]


@pytest.mark.parametrize(("status", "kind", "words", "error"), REFUSALS)
def test_a_refusal_has_its_class(
    serve: Any, colour: Any, status: int, kind: str, words: str, error: Any
) -> None:
    with pytest.raises(error, match=words.split(":", maxsplit=1)[0]) as caught:
        colour.invoke(model(serve(refusal(status, kind, words)), max_retries=0), "hi")
    assert (caught.value.status, caught.value.type, caught.value.request_id) == (
        status,
        kind,
        "r-1",
    )
    assert type(caught.value) is error


def test_an_error_without_a_class_has_its_words(serve: Any) -> None:
    with pytest.raises(PermissionDenied, match=r"^No access\."):
        model(serve(reply({"Message": "No access."}, 403))).invoke("hi")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (429, "ThrottlingException"),
        (429, "ModelNotReadyException"),
        (503, "ServiceUnavailableException"),
        (500, "InternalServerException"),
        (408, "ModelTimeoutException"),
        (424, "ModelErrorException"),
    ],
)
def test_what_passes_is_tried_again(serve: Any, colour: Any, status: int, kind: str) -> None:
    server = serve(refusal(status, kind), reply(ANSWER))
    assert colour.invoke(model(server), "hi").text == "Hello!"
    assert len(server.requests) == 2


WRONG_MODELS = [
    (400, "ValidationException", "The provided model identifier is invalid."),
    (404, "ResourceNotFoundException", "This model version has reached the end of its life."),
    (
        403,
        "AccessDeniedException",
        "You don't have access to the model with the specified model ID.",
    ),
]


@pytest.mark.parametrize(("status", "kind", "words"), WRONG_MODELS)
def test_a_wrong_model_hears_where_the_right_ones_are_listed(
    serve: Any, status: int, kind: str, words: str
) -> None:
    with pytest.raises(ChatError, match=f"^{words}.*list-inference-profiles"):
        model(serve(refusal(status, kind, words))).invoke("hi")


@pytest.mark.parametrize("wrong", ["us-east1", "mars", "x.evil.test/", "us-east-1\n", ""])
def test_a_wrong_region_leads_to_no_other_host(wrong: str) -> None:
    with pytest.raises(InvalidArgument, match="region"):
        ChatBedrockConverse(model="m", api_key="k", region_name=wrong)


def test_a_throttle_inside_a_stream_is_tried_again_until_something_has_come(
    serve: Any, colour: Any
) -> None:
    begun = event("messageStart", role="assistant")
    server = serve(
        reply(begun + exception("throttlingException", "slow")), reply(stream_of(["Hel", "lo"]))
    )
    assert "".join(chunk.text for chunk in colour.stream(model(server), "hi")) == "Hello"
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("throttlingException", RateLimited),
        ("modelStreamErrorException", ServerError),
        ("validationException", BadRequest),
        ("internalServerException", ServerError),
    ],
)
def test_an_exception_after_a_part_has_the_part(
    serve: Any, colour: Any, name: str, cause: Any
) -> None:
    broken = stream_of(["Hel"], stop=None) + exception(name, "broke", originalMessage="out of tape")
    with pytest.raises(StreamInterrupted, match=r"broke.*out of tape") as caught:
        colour.stream(model(serve(reply(broken))), "hi")
    assert isinstance(caught.value.__cause__, cause)
    assert caught.value.partial.text == "Hel"


def test_words_inside_a_stream_are_understood_as_those_of_an_answer(
    serve: Any, colour: Any
) -> None:
    server = serve(
        reply(exception("validationException", "Input is too long for requested model."))
    )
    with pytest.raises(ContextTooLong, match="too long"):
        colour.stream(model(server), "hi")


def test_a_bearer_key_that_has_run_out_is_asked_for_again_once(serve: Any, colour: Any) -> None:
    out = refusal(
        403,
        "AccessDeniedException",
        "Authentication failed: Please make sure your API Key is valid.",
    )
    server, keys = serve(out, reply(ANSWER)), iter(["first", "second"])
    assert colour.invoke(model(server, api_key=lambda: next(keys)), "hi").text == "Hello!"
    assert [one.lower().partition(b"bearer ")[2][:6] for one in server.requests] == [
        b"first\r",
        b"second",
    ]


def test_a_corrupt_frame_after_a_part_has_the_part(serve: Any, colour: Any) -> None:
    whole = stream_of(["Hel", "lo"])
    wrong = whole[:-3] + b"???"
    with pytest.raises(StreamInterrupted, match="checksum") as caught:
        colour.stream(model(serve(reply(wrong))), "hi")
    assert isinstance(caught.value.__cause__, MalformedResponse)
    assert caught.value.partial.text == "Hello"


@pytest.mark.parametrize("cut", [0, 3, 40, 200])
def test_a_stream_that_ends_early_is_incomplete(serve: Any, colour: Any, cut: int) -> None:
    whole = stream_of(["Hel", "lo"], stop=None)
    with pytest.raises(ChatError) as caught:
        colour.stream(model(serve(reply(whole[: len(whole) - cut])), max_retries=0), "hi")
    assert isinstance(caught.value, IncompleteStream)


def test_a_page_in_place_of_a_stream_is_shown(serve: Any, colour: Any) -> None:
    with pytest.raises(MalformedResponse, match="<html>"):
        colour.stream(model(serve(reply(b"<html>Bad gateway, sorry</html>")), max_retries=0), "hi")


# ---------------------------------------------------------------- who calls

CREDENTIALS = "[default]\naws_access_key_id = AKID{0}\naws_secret_access_key = s{0}\naws_session_token = t{0}\n"


def test_expired_credentials_are_looked_for_again_once(
    serve: Any, colour: Any, tmp_path: Any
) -> None:
    pytest.importorskip("botocore")
    file = tmp_path / "credentials"
    file.write_text(CREDENTIALS.format(1))
    expired = refusal(
        403, "ExpiredTokenException", "The security token included in the request is expired"
    )
    server = serve(reply(ANSWER), expired, reply(ANSWER), expired)
    signed = model(server, api_key=None, region_name="us-east-1")
    colour.invoke(signed, "hi")
    file.write_text(CREDENTIALS.format(2))
    assert colour.invoke(signed, "hi").text == "Hello!"
    assert [
        f"Credential=AKID{n}/".encode() in one
        for n, one in zip((1, 1, 2), server.requests, strict=True)
    ] == [True] * 3
    with pytest.raises(AuthenticationError, match="expired"):
        colour.invoke(signed, "hi")
    assert len(server.requests) == 4


def test_each_attempt_is_signed(serve: Any, colour: Any) -> None:
    pytest.importorskip("botocore")
    server = serve(refusal(503, "ServiceUnavailableException"), reply(ANSWER))
    keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": "very-secret"}
    colour.invoke(model(server, api_key=None, region_name="us-east-1", **keys), "hi")
    assert all(b"AWS4-HMAC-SHA256 Credential=AKID/" in one for one in server.requests)
    assert not any(b"very-secret" in one for one in server.requests)


def test_without_credentials_it_says_how_to_give_them(serve: Any, colour: Any) -> None:
    pytest.importorskip("botocore")
    with pytest.raises(MissingKey, match="AWS_BEARER_TOKEN_BEDROCK"):
        colour.invoke(model(serve(), api_key=None, region_name="us-east-1"), "hi")


def test_a_missing_extra_names_itself(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("botocore", "botocore.auth", "botocore.session", "botocore.credentials"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependency, match=r"modelwire\[bedrock\]"):
        model(serve(), api_key=None, region_name="us-east-1").invoke("hi")


def test_a_bearer_key_of_the_environment_needs_no_botocore(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-1")
    server = serve(reply(ANSWER))
    model(server, api_key=None).invoke("hi")
    assert b"Bearer bedrock-api-key-1" in server.requests[0]


def test_keys_in_the_code_need_no_botocore(
    serve: Any, monkeypatch: pytest.MonkeyPatch, colour: Any
) -> None:
    monkeypatch.setitem(sys.modules, "botocore", None)
    server = serve(reply(ANSWER))
    keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": "s"}
    assert (
        colour.invoke(model(server, api_key=None, region_name="us-east-1", **keys), "hi").text
        == "Hello!"
    )
    assert b"Credential=AKID/" in server.requests[0]


def test_keys_in_the_code_shut_out_the_environment(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("botocore")
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "another-account")
    server = serve(reply(ANSWER))
    keys = {"aws_access_key_id": "AKID", "aws_secret_access_key": "s"}
    model(server, api_key=None, region_name="us-east-1", **keys).invoke("hi")
    assert b"another-account" not in server.requests[0]


def test_the_address_is_the_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "none")
    with pytest.raises(InvalidArgument, match="AWS_REGION"):
        init_chat_model(f"bedrock_converse:{MODEL}")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    made: Any = init_chat_model(f"bedrock_converse:{MODEL}")
    assert type(made) is ChatBedrockConverse
    assert made.build_request("hi").url == (
        "https://bedrock-runtime.eu-central-1.amazonaws.com/model/us.amazon.nova-lite-v1%3A0/converse"
    )


def test_secrets_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {
        "aws_access_key_id": "AKIDSHOWN",
        "aws_secret_access_key": "very-secret",
        "aws_session_token": "token-1",
    }
    made = ChatBedrockConverse(model=MODEL, region_name="us-east-1", **keys)
    shown = f"{made!r} {made.model_dump()} {made.__getstate__()} {vars(made)}"
    assert not any(secret in shown for secret in ("very-secret", "token-1"))

"""What `ChatBedrockConverse` sends is what boto3 sends for the same messages, with a signature that holds."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import pytest
from support.raw_server import RawServer

from modelwire.adapters import ChatBedrockConverse
from modelwire.adapters.providers.aws import Keys, signed_headers
from modelwire.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from modelwire.tools import tool

boto3 = pytest.importorskip("boto3")
auth = pytest.importorskip("botocore.auth")
from botocore.awsrequest import AWSRequest  # noqa: E402
from botocore.config import Config  # noqa: E402
from botocore.credentials import Credentials  # noqa: E402

MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc"
KEYS = ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a-session-token")
ANSWER = json.dumps(
    {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
        "metrics": {"latencyMs": 7},
    }
).encode()
REPLY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(ANSWER),
    ANSWER,
)
PNG, PDF, MP4 = b"\x89PNG\r\n", b"%PDF-1.4", b"\x00\x00\x00\x18ftyp"
CALL = {"name": "weather", "args": {"city": "Zürich"}, "id": "tooluse_1"}
USE = {"toolUse": {"toolUseId": "tooluse_1", "name": "weather", "input": {"city": "Zürich"}}}
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SPEC = {
    "toolSpec": {"name": "weather", "description": "The weather.", "inputSchema": {"json": SCHEMA}}
}
POINT = {"cachePoint": {"type": "default"}}
GUARDRAIL = {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"}


@tool
def weather(city: str) -> str:
    """The weather."""
    return city


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def asked(*blocks: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(blocks)}]


HI = asked({"text": "hi"})
RESULT = {"toolResult": {"toolUseId": "tooluse_1", "content": [{"text": "rain"}]}}
# What ours is: settings, messages, bound tools and keywords; and what boto3 takes for the same.
CASES: dict[str, tuple[dict[str, Any], Any, dict[str, Any], dict[str, Any]]] = {
    "text": ({}, "hi", {}, {"messages": HI}),
    "settings": (
        {
            "model": "mistral.mistral-large-2402-v1:0",
            "temperature": 0.5,
            "max_tokens": 9,
            "top_p": 0.25,
            "stop": ["x"],
            "service_tier": "flex",
            "performance_config": {"latency": "optimized"},
            "request_metadata": {"a": "b"},
            "guardrail_config": GUARDRAIL,
            "additional_model_request_fields": {"top_k": 3},
            "additional_model_response_field_paths": ["/stop_sequence"],
        },
        [SystemMessage("Be brief."), HumanMessage("hi")],
        {},
        {
            "modelId": "mistral.mistral-large-2402-v1:0",
            "messages": HI,
            "system": [{"text": "Be brief."}],
            "serviceTier": {"type": "flex"},
            "inferenceConfig": {
                "temperature": 0.5,
                "maxTokens": 9,
                "topP": 0.25,
                "stopSequences": ["x"],
            },
            "performanceConfig": {"latency": "optimized"},
            "requestMetadata": {"a": "b"},
            "guardrailConfig": GUARDRAIL,
            "additionalModelRequestFields": {"top_k": 3},
            "additionalModelResponseFieldPaths": ["/stop_sequence"],
        },
    ),
    "tools": (
        {},
        [
            HumanMessage("hi"),
            AIMessage("Let me see.", tool_calls=[CALL]),
            ToolMessage("rain", tool_call_id="tooluse_1"),
        ],
        {"tools": [weather], "tool_choice": "weather"},
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": [{"text": "Let me see."}, USE]},
                *asked(RESULT),
            ],
            "toolConfig": {"tools": [SPEC], "toolChoice": {"tool": {"name": "weather"}}},
        },
    ),
    "a history with calls, no tools": (
        {},
        [
            HumanMessage("hi"),
            AIMessage("", tool_calls=[CALL]),
            ToolMessage("no", tool_call_id="tooluse_1", status="error"),
        ],
        {},
        {
            "messages": [
                *HI,
                {"role": "assistant", "content": [USE]},
                *asked(
                    {
                        "toolResult": {
                            **RESULT["toolResult"],
                            "content": [{"text": "no"}],
                            "status": "error",
                        }
                    }
                ),
            ],
            "toolConfig": {
                "tools": [
                    {"toolSpec": {"name": "weather", "inputSchema": {"json": {"type": "object"}}}}
                ]
            },
        },
    ),
    "media": (
        {},
        [
            HumanMessage(
                [
                    {"type": "text", "text": "What is it?", "cache_control": {"type": "ephemeral"}},
                    {"type": "image", "base64": b64(PNG), "mime_type": "image/png"},
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/jpeg;base64,{b64(PNG)}"},
                    },
                    {
                        "type": "file",
                        "base64": b64(PDF),
                        "mime_type": "application/pdf",
                        "filename": "my_report.v2.pdf",
                    },
                    {"type": "video", "base64": b64(MP4), "mime_type": "video/mp4"},
                    {"type": "video", "url": "s3://bucket/film.mp4", "mime_type": "video/mp4"},
                    {"type": "audio", "base64": b64(MP4), "mime_type": "audio/wav"},
                    {
                        "type": "text-plain",
                        "text": "A page.",
                        "mime_type": "text/plain",
                        "title": "page",
                    },
                    {"guardContent": {"text": {"text": "watch this"}}},
                    {"cachePoint": {"type": "default"}},
                ]
            )
        ],
        {},
        {
            "messages": asked(
                {"text": "What is it?"},
                POINT,
                {"image": {"format": "png", "source": {"bytes": PNG}}},
                {"image": {"format": "jpeg", "source": {"bytes": PNG}}},
                {"document": {"format": "pdf", "name": "my-report-v2", "source": {"bytes": PDF}}},
                {"video": {"format": "mp4", "source": {"bytes": MP4}}},
                {
                    "video": {
                        "format": "mp4",
                        "source": {"s3Location": {"uri": "s3://bucket/film.mp4"}},
                    }
                },
                {"audio": {"format": "wav", "source": {"bytes": MP4}}},
                {"document": {"format": "txt", "name": "page", "source": {"text": "A page."}}},
                {"guardContent": {"text": {"text": "watch this"}}},
                POINT,
            )
        },
    ),
    "what an answer had": (
        {},
        [
            HumanMessage("hi"),
            AIMessage(
                [
                    {
                        "type": "reasoning_content",
                        "reasoning_content": {"text": "Hm.", "signature": "sig"},
                    },
                    {
                        "type": "reasoning_content",
                        "reasoning_content": {"redacted_content": b64(b"secret")},
                    },
                    {
                        "type": "text",
                        "text": "It says so.",
                        "citations": [{"title": "a", "sourceContent": [{"text": "so"}]}],
                    },
                    {"type": "tool_use", "id": "tooluse_1", "name": "weather", "input": {}},
                ],
                tool_calls=[CALL],
            ),
            ToolMessage(
                [
                    {"type": "image", "base64": b64(PNG), "mime_type": "image/png"},
                    {"temperature": 3},
                ],
                tool_call_id="tooluse_1",
            ),
        ],
        {"tools": [weather, {"cachePoint": {"type": "default"}}]},
        {
            "messages": [
                *HI,
                {
                    "role": "assistant",
                    "content": [
                        {
                            "reasoningContent": {
                                "reasoningText": {"text": "Hm.", "signature": "sig"}
                            }
                        },
                        {"reasoningContent": {"redactedContent": b"secret"}},
                        {
                            "citationsContent": {
                                "content": [{"text": "It says so."}],
                                "citations": [{"title": "a", "sourceContent": [{"text": "so"}]}],
                            }
                        },
                        USE,
                    ],
                },
                *asked(
                    {
                        "toolResult": {
                            "toolUseId": "tooluse_1",
                            "content": [
                                {"image": {"format": "png", "source": {"bytes": PNG}}},
                                {"json": {"temperature": 3}},
                            ],
                        }
                    }
                ),
            ],
            "toolConfig": {"tools": [SPEC, POINT]},
        },
    ),
    "a schema": (
        {},
        "hi",
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "City", "schema": SCHEMA},
            }
        },
        {
            "messages": HI,
            "outputConfig": {
                "textFormat": {
                    "type": "json_schema",
                    "structure": {
                        "jsonSchema": {
                            "schema": json.dumps(SCHEMA, separators=(",", ":")),
                            "name": "City",
                        }
                    },
                }
            },
        },
    ),
    "an ARN": ({"model": ARN, "base_model": MODEL}, "hi", {}, {"modelId": ARN, "messages": HI}),
}


@pytest.fixture
def server() -> Iterator[RawServer]:
    running = RawServer([[REPLY]], repeat=True)
    yield running
    running.close()


def parts_of(request: bytes) -> tuple[str, dict[str, str], bytes]:
    head, _, body = request.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    headers = {
        name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines)
    }
    return line.split()[1], headers, body


def address(server: RawServer) -> str:
    return server.url.removesuffix("/v1")


def by_boto3(server: RawServer, **arguments: Any) -> None:
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=address(server),
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        aws_session_token=KEYS[2],
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.converse(**{"modelId": MODEL, **arguments})


def ours(server: RawServer, **settings: Any) -> ChatBedrockConverse:
    keys = dict(
        zip(("aws_access_key_id", "aws_secret_access_key", "aws_session_token"), KEYS, strict=True)
    )
    return ChatBedrockConverse(
        **{
            "model": MODEL,
            "region_name": "us-east-1",
            "endpoint_url": address(server),
            **keys,
            **settings,
        }
    )


def signature_of(path: str, headers: dict[str, str], body: bytes) -> str:
    """Compute the signature that a request must have, from what came."""
    names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    request = AWSRequest("POST", f"http://{headers['host']}{path}", data=body)
    for name in names:
        request.headers[name] = headers[name]
    request.context["timestamp"] = headers["x-amz-date"]
    signer = auth.SigV4Auth(Credentials(*KEYS), "bedrock", "us-east-1")
    return str(
        signer.signature(signer.string_to_sign(request, signer.canonical_request(request)), request)
    )


@pytest.mark.parametrize(
    "url",
    [
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/a%3A0/converse",
        "http://127.0.0.1:8080/proxy/model/arn%3Aaws%2Fx/converse-stream?b=2&a=1&c",
        "https://me:pw@House.Example:443/model/m%C3%BC/converse",
        "http://[::1]:80/model/a~b/converse?x=%20y",
    ],
)
@pytest.mark.parametrize("token", [None, "a-session-token"])
def test_a_signature_is_botocores(url: str, token: str | None) -> None:
    headers = {"content-type": "application/json", "x-amz-thing": " a   b ", "user-agent": "us"}
    keys, now = Keys(*KEYS[:2], token), datetime(2026, 11, 23, 1, 2, 3, tzinfo=UTC)
    made = signed_headers(keys, "eu-west-1", url, headers, b"{}", now)
    theirs = AWSRequest("POST", url, headers=headers, data=b"{}")
    theirs.context["timestamp"] = "20261123T010203Z"
    signer = auth.SigV4Auth(Credentials(*keys), "bedrock", "eu-west-1")
    del theirs.headers["user-agent"]
    signer._modify_request_before_signing(theirs)
    signer._inject_signature_to_request(
        theirs,
        signer.signature(signer.string_to_sign(theirs, signer.canonical_request(theirs)), theirs),
    )
    assert made["authorization"] == theirs.headers["Authorization"]
    assert made.get("x-amz-security-token") == token


@pytest.mark.parametrize("name", CASES)
def test_a_request_is_boto3s_and_its_signature_holds(
    name: str, server: RawServer, colour: Any
) -> None:
    settings, messages, kwargs, arguments = CASES[name]
    model: Any = ours(server, **settings)
    tools = kwargs.get("tools")
    if tools:
        model = model.bind_tools(tools, tool_choice=kwargs.get("tool_choice"))
    elif kwargs:
        model = model.bind(**kwargs)
    assert colour.invoke(model, messages).text == "Hello!"
    by_boto3(server, **arguments)
    (path, headers, body), (their_path, their_headers, their_body) = map(parts_of, server.requests)
    assert path == their_path
    assert unquote(path) == f"/model/{arguments.get('modelId', MODEL)}/converse"
    assert json.loads(body) == json.loads(their_body)
    for header in ("content-type", "host", "x-amz-security-token"):
        assert headers[header] == their_headers[header]
    for one in (headers, their_headers):
        assert one["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        assert {"host", "x-amz-date", "x-amz-security-token"} <= set(
            one["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        )
    assert headers["authorization"].rpartition("Signature=")[2] == signature_of(path, headers, body)
    assert their_headers["authorization"].rpartition("Signature=")[2] == signature_of(
        their_path, their_headers, their_body
    )


def test_a_client_of_boto3_says_where_calls_go_and_as_whom(server: RawServer, colour: Any) -> None:
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=address(server),
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        aws_session_token=KEYS[2],
    )
    colour.invoke(ChatBedrockConverse(model=MODEL, client=client), "hi")
    path, headers, body = parts_of(server.requests[0])
    assert headers["authorization"].rpartition("Signature=")[2] == signature_of(path, headers, body)


def test_counting_tokens_asks_as_boto3_does(server: RawServer, colour: Any) -> None:
    counted = b'{"inputTokens": 12}'
    server.script = [
        [
            REPLY.partition(b"content-length")[0]
            + b"content-length: %d\r\n\r\n%s" % (len(counted), counted)
        ]
    ]
    model = ours(server)
    system, text = SystemMessage("Be brief."), HumanMessage("hi")
    count = colour.run(
        lambda: model.count_tokens([system, text], [weather]),
        lambda: model.acount_tokens([system, text], [weather]),
    )
    assert count == 12
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=address(server),
        aws_access_key_id=KEYS[0],
        aws_secret_access_key=KEYS[1],
        aws_session_token=KEYS[2],
    )
    said = {"messages": HI, "system": [{"text": "Be brief."}], "toolConfig": {"tools": [SPEC]}}
    client.count_tokens(modelId=MODEL.removeprefix("us."), input={"converse": said})
    (path, _, body), (their_path, _, their_body) = map(parts_of, server.requests)
    assert path == their_path
    assert json.loads(body) == json.loads(their_body)

"""Calls through clients of the official SDKs: their addresses and credentials, our words, retries and errors."""

import asyncio
import json
import pickle
import struct
import time
import zlib
from base64 import b64encode
from collections.abc import Callable
from typing import Any, NamedTuple

import anthropic
import httpx2
import openai
import pytest
from support.provider_bodies import anthropic_answer, anthropic_stream, openai_answer, openai_stream

from modelwire import init_chat_model
from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import (
    AuthenticationError,
    BadRequest,
    ConnectFailed,
    IncompleteStream,
    InvalidArgument,
    ModelwireError,
    RateLimited,
    ServerError,
    StreamInterrupted,
    Timeout,
)
from modelwire.messages import AIMessage
from modelwire.runnables import RunnableLambda

SECRET = "sk-sdk-canary"
MODEL = "some-model"


class Script:
    """Answers requests in turn, the last answer for ever; keeps what was sent."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.requests[-1].content)


class Tokens:
    """Gives another token every time it is asked, in either colour."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self) -> str:
        self.asked += 1
        return f"token-{self.asked}"

    async def later(self) -> str:
        return self()


class Credentials:
    """What Google's library has: a token, and whether it still counts."""

    expired = False

    def __init__(self) -> None:
        self._tokens = Tokens()

    @property
    def token(self) -> str:
        return f"token-{max(self._tokens.asked, 1)}"


class Cloud(NamedTuple):
    adapter: Any
    client: Callable[..., Any]
    async_client: Callable[..., Any]
    settings: dict[str, Any]
    url: str  # of a whole answer
    stream_url: str
    secret_in: str


AZURE = {"azure_endpoint": "https://us.openai.azure.com", "api_version": "2024-10-21"}
AZURE_URL = "https://us.openai.azure.com/openai/deployments/some-model/chat/completions?api-version=2024-10-21"
ANTHROPIC_URL = "https://api.anthropic.com/v1/messages"
BEDROCK = "https://bedrock-runtime.eu-west-1.amazonaws.com/model/some-model"
VERTEX = "https://us-east5-aiplatform.googleapis.com/v1/projects/p/locations/us-east5/publishers/anthropic/models"
FOUNDRY_URL = "https://res.services.ai.azure.com/anthropic/v1/messages"

CLOUDS = {
    "openai": Cloud(
        ChatOpenAI,
        openai.OpenAI,
        openai.AsyncOpenAI,
        {"api_key": SECRET, "base_url": "https://one.example/v1"},
        "https://one.example/v1/chat/completions",
        "https://one.example/v1/chat/completions",
        "authorization",
    ),
    "azure": Cloud(
        ChatOpenAI,
        openai.AzureOpenAI,
        openai.AsyncAzureOpenAI,
        {"api_key": SECRET, **AZURE},
        AZURE_URL,
        AZURE_URL,
        "api-key",
    ),
    "anthropic": Cloud(
        ChatAnthropic,
        anthropic.Anthropic,
        anthropic.AsyncAnthropic,
        {"api_key": SECRET},
        ANTHROPIC_URL,
        ANTHROPIC_URL,
        "authorization",
    ),
    "bedrock": Cloud(
        ChatAnthropic,
        anthropic.AnthropicBedrock,
        anthropic.AsyncAnthropicBedrock,
        {"api_key": SECRET, "aws_region": "eu-west-1"},
        f"{BEDROCK}/invoke",
        f"{BEDROCK}/invoke-with-response-stream",
        "authorization",
    ),
    "vertex": Cloud(
        ChatAnthropic,
        anthropic.AnthropicVertex,
        anthropic.AsyncAnthropicVertex,
        {"access_token": SECRET, "region": "us-east5", "project_id": "p"},
        f"{VERTEX}/some-model:rawPredict",
        f"{VERTEX}/some-model:streamRawPredict",
        "authorization",
    ),
    "foundry": Cloud(
        ChatAnthropic,
        anthropic.AnthropicFoundry,
        anthropic.AsyncAnthropicFoundry,
        {"api_key": SECRET, "resource": "res"},
        FOUNDRY_URL,
        FOUNDRY_URL,
        "x-api-key",
    ),
}
SSE_CLOUDS = [name for name in CLOUDS if name != "bedrock"]
SSE = {"content-type": "text/event-stream"}


def model_of(
    cloud: str, script: Script, *, settings: dict[str, Any] | None = None, **fields: Any
) -> Any:
    """A model with a client of each colour behind the same script."""
    entry = CLOUDS[cloud]
    said = {**entry.settings, **(settings or {})}
    transport = httpx2.MockTransport(script)
    return entry.adapter(
        model=MODEL,
        client=entry.client(**said, http_client=httpx2.Client(transport=transport)),
        async_client=entry.async_client(
            **said, http_client=httpx2.AsyncClient(transport=transport)
        ),
        **{"max_retries": 0, **fields},
    )


def answer_of(cloud: str, text: str = "Good day") -> httpx2.Response:
    body = openai_answer(text) if CLOUDS[cloud].adapter is ChatOpenAI else anthropic_answer(text)
    return httpx2.Response(200, json=body, headers={"request-id": "req-1", "x-request-id": "req-1"})


def stream_bytes(cloud: str, *words: str, whole: bool = True) -> bytes:
    if CLOUDS[cloud].adapter is ChatOpenAI:
        return openai_stream(*words) if whole else openai_stream(*words, finish=None, done=False)
    return anthropic_stream(*words, stop=whole)


# ---------------------------------------------------------------- where calls go, and as whom


@pytest.fixture(params=list(CLOUDS))
def cloud(request: pytest.FixtureRequest) -> str:
    return request.param


def test_a_call_goes_to_the_clients_address_with_the_clients_credentials(
    colour: Any, cloud: str
) -> None:
    script = Script(lambda _: answer_of(cloud))
    answer = colour.invoke(model_of(cloud, script, temperature=0), "hi")
    assert (type(answer), answer.content, answer.usage_metadata["total_tokens"]) == (
        AIMessage,
        "Good day",
        5,
    )
    (request,) = script.requests
    assert str(request.url) == CLOUDS[cloud].url
    assert SECRET in request.headers[CLOUDS[cloud].secret_in]
    assert script.body["temperature"] == 0
    assert "stream" not in script.body


def test_what_a_cloud_moves_out_of_the_body_is_moved_by_its_client(colour: Any) -> None:
    script = Script(lambda _: answer_of("bedrock"))
    colour.invoke(model_of("bedrock", script, betas=["one-2025"]), "hi")
    assert script.body["anthropic_version"] == "bedrock-2023-05-31"
    assert script.body["anthropic_beta"] == ["one-2025"]
    assert "model" not in script.body
    colour.invoke(model_of("vertex", script), "hi")
    assert script.body["anthropic_version"] == "vertex-2023-10-16"


@pytest.mark.parametrize("cloud", SSE_CLOUDS)
def test_a_stream_comes_through_the_client_chunk_by_chunk(colour: Any, cloud: str) -> None:
    data = stream_bytes(cloud, "Good", " day")
    script = Script(lambda _: httpx2.Response(200, headers=SSE, content=iter_of(colour, data)))
    chunks = colour.stream(model_of(cloud, script), "hi")
    assert [chunk.content for chunk in chunks if chunk.content] == ["Good", " day"]
    assert str(script.requests[0].url) == CLOUDS[cloud].stream_url
    assert script.body["stream"] is True
    whole = colour.invoke(model_of(cloud, script, streaming=True), "hi")
    assert (type(whole), whole.content) == (AIMessage, "Good day")


def iter_of(colour: Any, data: bytes) -> Any:
    """A body that comes in pieces of seven bytes."""
    pieces = [data[i : i + 7] for i in range(0, len(data), 7)]

    async def later() -> Any:
        for piece in pieces:
            yield piece

    return later() if colour.name == "async" else iter(pieces)


def test_the_client_is_asked_for_a_token_for_every_try(colour: Any) -> None:
    tokens = Tokens()
    script = Script(httpx2.Response(500), lambda _: answer_of("azure"))
    settings = {"api_key": None, "azure_ad_token_provider": tokens}
    model = model_of("azure", script, settings=settings, max_retries=1)
    assert tokens.asked == 0
    colour.invoke(model, "hi")
    assert [request.headers["authorization"] for request in script.requests] == [
        "Bearer token-1",
        "Bearer token-2",
    ]


def test_a_key_that_is_a_function_is_called_by_the_client() -> None:
    tokens = Tokens()
    script = Script(lambda _: answer_of("openai"))
    model = model_of("openai", script, settings={"api_key": tokens})
    model.invoke("hi")
    assert script.requests[-1].headers["authorization"] == "Bearer token-1"
    there = httpx2.AsyncClient(transport=httpx2.MockTransport(script))
    asyncio.run(
        ChatOpenAI(
            model=MODEL, async_client=openai.AsyncOpenAI(api_key=tokens.later, http_client=there)
        ).ainvoke("hi")
    )
    assert script.requests[-1].headers["authorization"] == "Bearer token-2"


def test_credentials_of_googles_library_are_the_clients_own(colour: Any) -> None:
    script = Script(lambda _: answer_of("vertex"))
    model = model_of(
        "vertex", script, settings={"access_token": None, "credentials": Credentials()}
    )
    colour.invoke(model, "hi")
    assert script.requests[-1].headers["authorization"] == "Bearer token-1"


def test_keys_and_addresses_of_the_environment_are_left_to_the_client(
    colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.setenv(
            name, "https://elsewhere.example" if name.endswith("URL") else "sk-of-another"
        )
    script = Script(lambda _: answer_of("vertex"))
    model = model_of("vertex", script)
    colour.invoke(model, "hi")
    assert str(script.requests[-1].url) == CLOUDS["vertex"].url
    assert "sk-of-another" not in str(script.requests[-1].headers.raw)


def test_the_clients_beta_features_and_ours_add_up(colour: Any) -> None:
    script = Script(lambda _: answer_of("anthropic"))
    settings = {"default_headers": {"Anthropic-Beta": "its-2025", "X-Its": "1"}}
    colour.invoke(model_of("anthropic", script, settings=settings, betas=["ours-2025"]), "hi")
    headers = script.requests[-1].headers
    assert set(headers["anthropic-beta"].split(",")) == {"its-2025", "ours-2025"}
    assert headers["x-its"] == "1"


def test_build_request_shows_the_address_and_no_secret(cloud: str) -> None:
    model = model_of(cloud, Script(None))
    request = model.build_request("hi")
    assert request.url.startswith("https://")
    assert SECRET not in f"{request!r} {dict(request.headers)} {model!r} {model.model_dump()}"


# ---------------------------------------------------------------- which client answers


def test_langchains_resources_are_taken_for_their_client(colour: Any) -> None:
    script = Script(lambda _: answer_of("azure"))
    made = model_of("azure", script)
    model = ChatOpenAI(
        model=MODEL,
        client=made.client.chat.completions,
        async_client=made.async_client.chat.completions,
    )
    assert colour.invoke(model, "hi").content == "Good day"
    assert ChatOpenAI(model=MODEL, root_client=made.client).client is made.client
    assert init_chat_model("openai:m", client=made.client).client is made.client


def test_a_sync_client_answers_async_calls_in_a_thread() -> None:
    script = Script(lambda _: answer_of("azure"))
    model = model_of("azure", script).model_copy(update={"async_client": None})
    assert asyncio.run(model.ainvoke("hi")).content == "Good day"
    assert [answer.content for answer in model.batch(["a", "b"])] == ["Good day"] * 2
    data = stream_bytes("azure", "a", "b", "c")
    script.answers = [lambda _: httpx2.Response(200, headers=SSE, content=data)]

    async def first_of(model: Any) -> Any:
        chunks = model.astream("hi")
        first = await anext(chunks)
        await chunks.aclose()
        return first.content, [
            chunk.content async for chunk in model.astream("hi") if chunk.content
        ]

    assert asyncio.run(first_of(model)) in ((word, ["a", "b", "c"]) for word in ("", "a"))


def test_a_reader_who_leaves_a_sync_clients_stream_closes_it() -> None:
    class Body(httpx2.SyncByteStream):
        closed = False

        def __iter__(self) -> Any:
            yield stream_bytes("azure", "a", whole=False)
            time.sleep(0.1)
            yield b": still there\n\n"

        def close(self) -> None:
            self.closed = True

    body = Body()
    script = Script(lambda _: httpx2.Response(200, headers=SSE, stream=body))
    model = model_of("azure", script).model_copy(update={"async_client": None})

    async def leave() -> None:
        chunks = model.astream("hi")
        while not (await anext(chunks)).content:
            pass
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await anext(chunks)
        for _ in range(1000):
            if body.closed:
                break
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert body.closed


def test_an_async_client_alone_does_not_answer_sync_calls() -> None:
    model = model_of("azure", Script(None)).model_copy(update={"client": None})
    with pytest.raises(InvalidArgument, match=r"`async_client` alone.*`ainvoke`"):
        model.invoke("hi")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"client": object()}, "must be a client of the `openai` or `anthropic` SDK"),
        ({"client": httpx2.Client()}, "belongs into `http_client`"),
        (
            {"client": anthropic.Anthropic(api_key="x")},
            "of `ChatOpenAI` must be a client of the `openai` SDK",
        ),
        ({"client": openai.AsyncOpenAI(api_key="x")}, "belongs into `async_client`"),
        ({"async_client": openai.OpenAI(api_key="x")}, "belongs into `client`"),
        ({"client": openai.OpenAI(api_key="x"), "api_key": SECRET}, "`api_key`.*are the client's"),
        (
            {"client": openai.OpenAI(api_key="x"), "base_url": "https://a.example"},
            "`base_url`.*are the client's",
        ),
    ],
)
def test_what_is_no_client_or_said_twice_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words) as caught:
        ChatOpenAI(model=MODEL, **wrong)
    assert SECRET not in str(caught.value)


def test_a_pickle_holds_no_client_and_calls_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-another")
    script = Script(lambda _: answer_of("azure"))
    model = model_of("azure", script)
    data = pickle.dumps(model)
    assert SECRET.encode() not in data
    travelled = pickle.loads(data)
    with pytest.raises(InvalidArgument, match="had a `AzureOpenAI` as its client"):
        travelled.invoke("hi")
    assert travelled.model_copy(update={"client": model.client}).invoke("hi").content == "Good day"


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequest), (401, AuthenticationError), (429, RateLimited), (500, ServerError)],
)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_error_answer_is_our_error(
    colour: Any, cloud: str, status: int, kind: type, way: str
) -> None:
    script = Script(
        lambda _: httpx2.Response(status, json={"error": {"message": "no such luck", "type": "x"}})
    )
    with pytest.raises(kind, match="no such luck") as caught:
        getattr(colour, way)(model_of(cloud, script), "hi")
    assert (caught.value.status, len(caught.value.attempts), len(script.requests)) == (status, 1, 1)


@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_tries_are_counted_by_us_and_not_by_the_sdk(colour: Any, way: str) -> None:
    told = {"retry-after": "0", "x-should-retry": "true"}
    script = Script(
        lambda _: httpx2.Response(500, headers=told, json={"error": {"message": "down"}})
    )
    model = model_of("azure", script, settings={"max_retries": 5}, max_retries=2)
    with pytest.raises(ServerError) as caught:
        getattr(colour, way)(model, "hi")
    assert (len(script.requests), len(caught.value.attempts)) == (3, 3)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (httpx2.ConnectError("refused"), ConnectFailed),
        (httpx2.ReadTimeout("slow"), Timeout),
        (httpx2.ConnectTimeout("slow"), Timeout),
    ],
)
def test_a_failure_of_the_wire_is_our_error(
    colour: Any, cloud: str, raised: Exception, kind: type
) -> None:
    with pytest.raises(kind) as caught:
        colour.invoke(model_of(cloud, Script(raised)), "hi")
    assert caught.value.__cause__ is raised


@pytest.mark.parametrize("cloud", SSE_CLOUDS)
def test_a_stream_that_breaks_off_is_an_error_with_its_part(colour: Any, cloud: str) -> None:
    cut = stream_bytes(cloud, "a", "b", whole=False)
    script = Script(lambda _: httpx2.Response(200, headers=SSE, content=cut))
    with pytest.raises(IncompleteStream) as caught:
        colour.stream(model_of(cloud, script), "hi")
    assert caught.value.partial.content == "ab"


def test_what_keeps_the_client_from_calling_is_said(colour: Any) -> None:
    def no_token() -> str:
        raise RuntimeError("no identity in this process")

    model = model_of(
        "azure", Script(None), settings={"api_key": None, "azure_ad_token_provider": no_token}
    )
    with pytest.raises(
        InvalidArgument, match=r"AzureOpenAI` given to the model could not.*no identity"
    ) as caught:
        colour.invoke(model, "hi")
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_redirect_is_not_followed(colour: Any) -> None:
    script = Script(lambda _: httpx2.Response(307, headers={"location": "https://thief.example/"}))
    with pytest.raises(ModelwireError, match="Redirects are not followed"):
        colour.invoke(model_of("azure", script), "hi")
    assert len(script.requests) == 1


def test_limits_of_time_are_the_models_or_else_the_clients(colour: Any) -> None:
    script = Script(lambda _: answer_of("azure"))
    for fields, seconds in (({}, 33.0), ({"timeout": 7}, 7.0)):
        colour.invoke(model_of("azure", script, settings={"timeout": 33.0}, **fields), "hi")
        assert script.requests[-1].extensions["timeout"]["read"] == seconds
    colour.invoke(model_of("azure", script), "hi", {"timeout": 2})
    assert 0 < script.requests[-1].extensions["timeout"]["connect"] <= 2


def test_a_client_in_a_chain_is_a_model_like_any_other(colour: Any) -> None:
    script = Script(lambda _: answer_of("foundry"))
    chain = model_of("foundry", script) | RunnableLambda(lambda answer: answer.content)
    assert colour.batch(chain, ["a", "b", "c"]) == ["Good day"] * 3


# ---------------------------------------------------------------- Bedrock's binary streams


def frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of AWS's event stream.

    https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html, read 2026-11
    """
    said = b"".join(
        struct.pack("!B", len(name))
        + name.encode()
        + struct.pack("!BH", 7, len(value))
        + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", len(said) + len(payload) + 16, len(said))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + said + payload
    return message + struct.pack("!I", zlib.crc32(message))


def event_frames(*words: str, whole: bool = True) -> bytes:
    told = {":message-type": "event", ":event-type": "chunk", ":content-type": "application/json"}
    lines = stream_bytes("bedrock", *words, whole=whole).split(b"\n")
    events = [line.removeprefix(b"data: ") for line in lines if line.startswith(b"data: ")]
    return b"".join(
        frame(told, json.dumps({"bytes": b64encode(event).decode()}).encode()) for event in events
    )


def exception_frame(kind: str) -> bytes:
    told = {
        ":message-type": "exception",
        ":exception-type": kind,
        ":content-type": "application/json",
    }
    return frame(told, b'{"message": "too many"}')


def bedrock_model(*bodies: bytes, **fields: Any) -> tuple[Any, Script]:
    pytest.importorskip(
        "botocore",
        reason="the SDK unpacks Bedrock's streams with `botocore` (`anthropic[bedrock]`)",
    )
    told = {"content-type": "application/vnd.amazon.eventstream"}
    script = Script(
        *(lambda _, body=body: httpx2.Response(200, headers=told, content=body) for body in bodies)
    )
    return model_of("bedrock", script, **fields), script


def test_bedrocks_binary_stream_is_unpacked(colour: Any) -> None:
    model, script = bedrock_model(event_frames("Good", " day"))
    chunks = colour.stream(model, "hi")
    assert [chunk.content for chunk in chunks if chunk.content] == ["Good", " day"]
    assert str(script.requests[0].url) == CLOUDS["bedrock"].stream_url
    assert "stream" not in script.body
    whole = colour.invoke(model.model_copy(update={"streaming": True}), "hi")
    assert (whole.content, whole.usage_metadata["total_tokens"]) == ("Good day", 5)


def test_an_exception_in_bedrocks_stream_is_our_error(colour: Any) -> None:
    model, _ = bedrock_model(
        event_frames("a", whole=False) + exception_frame("throttlingException")
    )
    with pytest.raises(StreamInterrupted, match="too many") as caught:
        colour.stream(model, "hi")
    assert isinstance(caught.value.__cause__, RateLimited)
    assert caught.value.partial.content == "a"


def test_an_exception_before_the_first_chunk_of_bedrocks_stream_is_tried_again(colour: Any) -> None:
    model, script = bedrock_model(
        exception_frame("internalServerException"), event_frames("a"), max_retries=1, max_wait=5
    )
    assert "".join(chunk.content for chunk in colour.stream(model, "hi")) == "a"
    assert len(script.requests) == 2


def test_a_cut_binary_stream_is_incomplete(colour: Any) -> None:
    model, _ = bedrock_model(event_frames("a", "b", whole=False))
    with pytest.raises(IncompleteStream) as caught:
        colour.stream(model, "hi")
    assert caught.value.partial.content == "ab"


def test_bedrock_requests_are_signed_by_the_sdk(colour: Any) -> None:
    pytest.importorskip("boto3", reason="the SDK signs with `boto3` (`anthropic[bedrock]`)")
    script = Script(lambda _: answer_of("bedrock"))
    settings = {"api_key": None, "aws_access_key": "AKIA", "aws_secret_key": SECRET}
    model = model_of("bedrock", script, settings=settings)
    colour.invoke(model, "hi")
    assert (
        script.requests[-1].headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIA/")
    )
    assert SECRET not in f"{script.requests[-1].headers} {model!r}"

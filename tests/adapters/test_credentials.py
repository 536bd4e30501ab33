"""Who a call is made as: one credential, chosen as the SDKs choose it, asked for again when it has expired."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from support.mocked import answered_by
from support.provider_bodies import anthropic_answer, anthropic_stream, openai_answer, openai_stream

from modelwire.adapters import AzureChatOpenAI, ChatAnthropic, ChatOpenAI
from modelwire.errors import AuthenticationError, InvalidArgument, MissingKey
from modelwire.runnables.background import background_loop

HOUSE = "https://house.example/v1"
AT = {
    "azure_endpoint": "https://me.azure.example",
    "azure_deployment": "d",
    "api_version": "2024-10-21",
}
VARIABLES = {
    "openai": ("OPENAI_API_KEY",),
    "responses": ("OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"),
    "azure": ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"),
}
MODELS: dict[str, Callable[..., Any]] = {
    "openai": lambda **given: ChatOpenAI(**{"model": "m", "base_url": HOUSE, **given}),
    "responses": lambda **given: ChatOpenAI(
        **{"model": "m", "base_url": HOUSE, "use_responses_api": True, **given}
    ),
    "anthropic": lambda **given: ChatAnthropic(**{"model": "m", "base_url": HOUSE, **given}),
    "azure": lambda **given: AzureChatOpenAI(**{**AT, **given}),
}
SECOND = {"anthropic": "auth_token", "azure": "azure_ad_token"}
KEYS = {"authorization", "x-api-key", "api-key"}


def who(headers: Any) -> list[str]:
    """Return the credentials among the headers, without their scheme."""
    said = [value for name, value in headers.items() if name.lower() in KEYS]
    return [value.removeprefix("Bearer ") for value in said]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {name for names in VARIABLES.values() for name in names}:
        monkeypatch.setenv(name, f"of-{name}")


# ---------------------------------------------------------------- one goes out


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize("field", ["api_key", "second"])
def test_a_credential_that_is_given_shuts_out_those_of_the_environment(
    wire: str, field: str
) -> None:
    if field == "second" and wire not in SECOND:
        pytest.skip("it has one kind only")
    name = SECOND[wire] if field == "second" else field
    for given in ("mine", lambda: "mine"):
        assert who(MODELS[wire](**{name: given}).build_request("hi").headers) == ["mine"]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("wire", MODELS)
@pytest.mark.parametrize(
    "where", ["default_headers", "extra_headers", "the call", "the address", "the client"]
)
@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key"])
def test_a_credential_among_headers_or_in_the_address_does_too(
    wire: str, where: str, name: str
) -> None:
    seen: list[httpx2.Request] = []
    clients = answered_by(lambda request: seen.append(request) or httpx2.Response(400))
    call: dict[str, Any] = {}
    if where == "the call":
        call = {"extra_headers": {name: "mine"}}
    elif where == "the client":
        clients["http_client"].headers[name] = "mine"
    elif where == "the address":
        clients["base_url"] = HOUSE.replace("://", "://me:pw@")
    else:
        clients[where] = {name: "mine"}
    model = MODELS[wire](max_retries=0, **clients)
    with pytest.raises(Exception, match="400"):
        model.invoke("hi", **call)
    assert who(seen[0].headers) == (["Basic bWU6cHc="] if where == "the address" else ["mine"])


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize("wire", MODELS)
def test_other_headers_shut_nothing_out_and_the_providers_variable_serves_any_address(
    wire: str,
) -> None:
    model = MODELS[wire](default_headers={"x-team": "blue"})
    first = {"azure": "of-AZURE_OPENAI_AD_TOKEN"}.get(wire, f"of-{VARIABLES[wire][0]}")
    assert who(
        model.build_request("hi", extra_headers={"x-trace": "1", "Cookie": "a=b"}).headers
    ) == [first]


@pytest.mark.parametrize("wire", MODELS)
def test_of_an_environment_one_is_sent_whichever_are_there(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES[wire]:
        monkeypatch.setenv(name, "mine")
        assert who(MODELS[wire]().build_request("hi").headers) == ["mine"]
        monkeypatch.delenv(name)


@pytest.mark.parametrize("wire", SECOND)
def test_two_that_are_given_are_refused(wire: str) -> None:
    with pytest.raises(InvalidArgument, match=f"`{SECOND[wire]}`"):
        MODELS[wire](**{"api_key": "a", SECOND[wire]: "b"})


def test_a_token_and_a_function_for_it_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="`azure_ad_token_provider`"):
        MODELS["azure"](azure_ad_token="a", azure_ad_token_provider=lambda: "b")


@pytest.mark.parametrize("chosen", ["nothing", "api_key", "second"])
@pytest.mark.parametrize("there", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("wire", SECOND)
def test_the_sdk_chooses_the_same(
    wire: str, there: tuple[int, ...], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in there:
        monkeypatch.setenv(VARIABLES[wire][i], f"env-{i}")
    given = (
        {} if chosen == "nothing" else {SECOND[wire] if chosen == "second" else "api_key": "mine"}
    )
    seen: list[httpx2.Request] = []
    answer = httpx2.MockTransport(lambda request: seen.append(request) or httpx2.Response(400))
    messages: Any = [{"role": "user", "content": "hi"}]
    if not there and chosen == "nothing":
        with pytest.raises(MissingKey):
            MODELS[wire](**({"base_url": None} if wire == "anthropic" else {}))
        return
    with httpx2.Client(transport=answer) as http_client:
        if wire == "azure":
            sdk: Any = openai.AzureOpenAI(**AT, **given, http_client=http_client, max_retries=0)
            with pytest.raises(openai.BadRequestError):
                sdk.chat.completions.create(model="m", messages=messages)
        else:
            sdk = anthropic.Anthropic(**given, http_client=http_client, max_retries=0)
            with pytest.raises(anthropic.BadRequestError):
                sdk.messages.create(model="m", messages=messages, max_tokens=1)
    assert who(seen[0].headers) == who(MODELS[wire](**given).build_request("hi").headers)


# ---------------------------------------------------------------- functions that give one

ANSWERS = {
    "openai": (openai_answer, openai_stream),
    "azure": (openai_answer, openai_stream),
    "anthropic": (anthropic_answer, anthropic_stream),
}
PROVIDERS = [
    ("openai", "api_key"),
    ("azure", "api_key"),
    ("azure", "azure_ad_token"),
    ("azure", "azure_ad_token_provider"),
    ("anthropic", "api_key"),
    ("anthropic", "auth_token"),
]


class Gate:
    """A provider that takes the tokens that are `good`."""

    def __init__(self, wire: str, *good: str) -> None:
        self.wire, self.good = wire, set(good)
        self.seen: list[str] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen += who(request.headers)
        if self.seen[-1] not in self.good:
            return httpx2.Response(
                401, json={"error": {"message": "expired", "type": "authentication_error"}}
            )
        whole, stream = ANSWERS[self.wire]
        if b'"stream":true' in request.read():
            return httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, content=stream("hi")
            )
        return httpx2.Response(200, json=whole("hi"))


class Tokens:
    """Gives `token-0`, `token-1` ..., sync or async, and keeps where it was asked."""

    def __init__(self) -> None:
        self.count = 0
        self.threads: list[int] = []

    def next(self) -> str:
        self.threads.append(threading.get_ident())
        self.count += 1
        return f"token-{self.count - 1}"

    async def anext(self) -> str:
        await asyncio.sleep(0)
        return self.next()


class Callable_:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens

    async def __call__(self) -> str:
        return await self.tokens.anext()


@pytest.mark.parametrize(("wire", "field"), PROVIDERS)
@pytest.mark.parametrize("way", ["invoke", "stream"])
def test_an_expired_token_is_asked_for_again_once(
    colour: Any, wire: str, field: str, way: str
) -> None:
    gate, tokens = Gate(wire, "token-1", "token-2"), Tokens()
    model = MODELS[wire](**{field: tokens.next}, **answered_by(gate))
    assert tokens.count == 0  # nobody asks before there is a call
    ask = getattr(colour, way)
    ask(model, "hi")
    ask(model, "hi")
    assert gate.seen == ["token-0", "token-1", "token-2"]
    gate.good = set()
    with pytest.raises(AuthenticationError):
        ask(model, "hi")
    assert gate.seen[3:] == ["token-3", "token-4"]


@pytest.mark.parametrize(("wire", "field"), PROVIDERS)
@pytest.mark.parametrize("form", ["function", "object", "lambda"])
def test_an_async_function_gives_the_token_of_async_calls(wire: str, field: str, form: str) -> None:
    gate, tokens = Gate(wire, "token-1", "token-2", "token-3"), Tokens()
    given = {
        "function": tokens.anext,
        "object": Callable_(tokens),
        "lambda": lambda: tokens.anext(),
    }[form]
    model = MODELS[wire](**{field: given}, **answered_by(gate))

    async def calls() -> list[str]:
        whole = await model.ainvoke("hi")
        chunks = [chunk async for chunk in model.astream("hi")]
        return [
            whole.text,
            "".join(chunk.text for chunk in chunks),
            *(m.text for m in await model.abatch(["hi"])),
        ]

    assert asyncio.run(calls()) == ["hi"] * 3
    assert gate.seen == ["token-0", "token-1", "token-2", "token-3"]


def test_a_sync_function_is_asked_off_the_event_loop() -> None:
    gate, tokens = Gate("openai", "token-0"), Tokens()
    model = MODELS["openai"](api_key=tokens.next, **answered_by(gate))
    asyncio.run(model.ainvoke("hi"))
    assert tokens.threads != [threading.get_ident()]


@pytest.mark.parametrize("way", ["invoke", "stream", "build_request"])
@pytest.mark.filterwarnings("error")
def test_a_sync_call_says_that_it_cannot_wait_for_an_async_function(way: str) -> None:
    gate, tokens = Gate("openai"), Tokens()
    model = MODELS["openai"](api_key=tokens.anext, **answered_by(gate))
    with pytest.raises(InvalidArgument, match="`ainvoke`"):
        list(getattr(model, way)("hi"))
    assert gate.seen == []


def test_a_sync_batch_waits_for_an_async_function_where_its_calls_run() -> None:
    gate, tokens = Gate("openai", "token-0", "token-1"), Tokens()
    model = MODELS["openai"](api_key=tokens.anext, **answered_by(gate))
    assert [answer.text for answer in model.batch(["a", "b"])] == ["hi", "hi"]
    assert background_loop() is not None


def test_a_function_that_hangs_does_not_outlast_the_call() -> None:
    async def never() -> str:
        await asyncio.sleep(3600)
        return ""

    model = MODELS["openai"](api_key=never)
    with pytest.raises(TimeoutError):
        asyncio.run(model.ainvoke("hi", {"timeout": 0.05}))


def test_what_the_function_raises_is_the_callers(colour: Any) -> None:
    class Broken(Exception):
        pass

    calls = iter([lambda: "token-0"])

    def give() -> str:
        return next(calls, _raise)()

    def _raise() -> str:
        raise Broken("no token today")

    model = MODELS["openai"](api_key=give, **answered_by(Gate("openai")))
    with pytest.raises(Broken):  # asked again after the 401
        colour.invoke(model, "hi")


def test_a_cached_answer_needs_no_token(colour: Any) -> None:
    from modelwire.caches import InMemoryCache

    gate, tokens = Gate("openai", "token-0"), Tokens()
    model = MODELS["openai"](api_key=tokens.next, cache=InMemoryCache(), **answered_by(gate))
    assert [colour.invoke(model, "hi").text for _ in range(3)] == ["hi"] * 3
    assert tokens.count == 1


def test_no_token_is_needed_to_open_connections(raw_server: Any) -> None:
    server = raw_server([[b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"]])
    tokens = Tokens()
    assert ChatOpenAI(model="m", base_url=server.url, api_key=tokens.anext).warmup() == 1
    assert tokens.count == 0


def test_an_address_of_a_class_of_a_program_is_dumped_without_its_password() -> None:
    class ChatHouse(ChatOpenAI):
        base_url: str | None = HOUSE.replace("://", "://me:pw@")

    dumped = ChatHouse(model="m", api_key="k").model_dump()
    assert dumped["base_url"] == HOUSE

"""Answers that are good but odd, and good answers that are nobody's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from support.raw_server import CHUNKED, END_CHUNKED, RawServer, answer, chunk

from modelwire.adapters import ChatAnthropic, ChatOpenAI
from modelwire.errors import ConnectionLost, MalformedResponse, ModelwireError, ProxyFailed


def said(text: str, usage: str = "") -> bytes:
    return (
        b'{"id":"x","choices":[{"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}]%s}'
        % (
            text.encode(),
            usage.encode(),
        )
    )


ANTHROPIC = (
    b'{"id":"x","type":"message","role":"assistant","content":[{"type":"text","text":"here"}],'
    b'"stop_reason":"end_turn","usage":{"input_tokens":%s,"output_tokens":1}}'
)


def openai(server: RawServer, **more: Any) -> Any:
    return ChatOpenAI(model="m", base_url=server.url, api_key="k", **{"max_retries": 0, **more})


@pytest.mark.parametrize("status", [201, 203, 206])
def test_any_success_with_an_answer_in_it_is_an_answer(
    colour: Any, raw_server: Callable[..., RawServer], status: int
) -> None:
    event = b'data: {"choices":[{"index":0,"delta":{"content":"here"},"finish_reason":"stop"}]}\n\n'
    head = CHUNKED.replace(b"200 OK", b"%d Odd" % status)
    server = raw_server([[answer(said("here"), status=status)], [head, chunk(event), END_CHUNKED]])
    assert colour.invoke(openai(server), "hi").text == "here"
    assert "".join(part.text for part in colour.stream(openai(server), "hi")) == "here"


def test_a_204_is_no_answer(colour: Any, raw_server: Callable[..., RawServer]) -> None:
    server = raw_server([[b"HTTP/1.1 204 No Content\r\n\r\n"]])
    with pytest.raises(MalformedResponse):
        colour.invoke(openai(server), "hi")


def test_a_stream_of_the_terminal_mark_alone_is_no_answer(
    colour: Any, raw_server: Callable[..., RawServer]
) -> None:
    alone = [CHUNKED, chunk(b"data: [DONE]\n\n"), END_CHUNKED]
    server = raw_server([alone, alone, alone])
    with pytest.raises(MalformedResponse, match="holds no answer"):
        colour.stream(openai(server), "hi")
    with pytest.raises(MalformedResponse, match="holds no answer"):
        colour.invoke(openai(server, streaming=True, max_retries=4), "hi")
    assert len(server.requests) == 3  # it may be a glitch: asked once more


@pytest.mark.parametrize("digits", [400, 5_000, 100_000])
def test_a_usage_of_thousands_of_digits_does_not_cost_the_answer(
    colour: Any, raw_server: Callable[..., RawServer], digits: int
) -> None:
    count = "9" * digits
    usage = f',"usage":{{"prompt_tokens":{count},"completion_tokens":1,"total_tokens":2}}'
    server = raw_server([[answer(said("here", usage))], [answer(ANTHROPIC % count.encode())]])
    assert colour.invoke(openai(server), "hi").text == "here"
    model = ChatAnthropic(
        model="m", base_url=server.url.removesuffix("/v1"), api_key="k", max_retries=0
    )
    assert colour.invoke(model, "hi").text == "here"


# ---------------------------------------------------------------- a second answer that nobody has asked for

TWICE: list[Any] = [answer(said("first")), 0.05, answer(said("nobody's"))]


WAYS: dict[str, dict[str, Any]] = {
    "core": {},
    "aiohttp": {"engine": "aiohttp"},
    "client": {"http_async_client": httpx2.AsyncClient, "http_client": httpx2.Client},
}


@pytest.mark.parametrize("way", list(WAYS.values()), ids=list(WAYS))
def test_an_answer_nobody_has_asked_for_is_not_taken_by_the_next_call(
    colour: Any, raw_server: Callable[..., RawServer], way: dict[str, Any]
) -> None:
    if way.get("engine") == "aiohttp":
        pytest.importorskip("aiohttp")
        if colour.name == "sync":
            pytest.skip("aiohttp is for async calls")
    server = raw_server([TWICE, [answer(said("second"))]])

    clients = {name: value() if callable(value) else value for name, value in way.items()}
    model = openai(server, **clients)

    def sync() -> list[str]:
        first = model.invoke("hi").text
        time.sleep(0.8)
        second = model.invoke("hi").text
        if model.http_client is not None:
            model.http_client.close()
        return [first, second]

    async def in_loop() -> list[str]:
        first = (await model.ainvoke("hi")).text
        await asyncio.sleep(0.8)
        second = (await model.ainvoke("hi")).text
        if model.http_async_client is not None:
            await model.http_async_client.aclose()
        return [first, second]

    assert colour.run(sync, in_loop) == ["first", "second"]
    assert server.connections == 2


# ---------------------------------------------------------------- a proxy that fails in the middle


@pytest.mark.parametrize(
    "half", [b"HTTP/1.1 200 Connec", b"HTTP/1.1 200 OK\r\n", b""], ids=["word", "head", "nothing"]
)
def test_half_an_answer_of_a_proxy_is_an_error_of_ours(
    colour: Any, raw_server: Callable[..., RawServer], half: bytes
) -> None:
    proxy = raw_server([[half, None]] * 2)
    model = ChatOpenAI(
        model="m",
        base_url="https://api.example.com/v1",
        api_key="k",
        max_retries=0,
        proxy=f"http://someone:pass-canary@127.0.0.1:{proxy.port}",
    )
    with pytest.raises((ProxyFailed, ConnectionLost)) as caught:
        colour.invoke(model, "hi")
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("status", [407, 502])
def test_a_plain_proxy_that_refuses_is_an_error_with_its_status(
    colour: Any, raw_server: Callable[..., RawServer], status: int
) -> None:
    """To `http` the proxy answers in the server's place, and who says it cannot be told but by the status."""
    proxy = raw_server([[answer(b"<html>no</html>", status=status)]])
    model = ChatOpenAI(
        model="m",
        base_url="http://api.example.com/v1",
        api_key="k",
        max_retries=0,
        proxy=f"http://127.0.0.1:{proxy.port}",
    )
    with pytest.raises(ModelwireError) as caught:
        colour.invoke(model, "hi")
    assert getattr(caught.value, "status", None) == status


def test_half_a_body_through_a_proxy_is_asked_again(
    colour: Any, raw_server: Callable[..., RawServer]
) -> None:
    whole = answer(said("here"))
    proxy = raw_server([[whole[:-9], None], [whole]])
    model = ChatOpenAI(
        model="m",
        base_url="http://api.example.com/v1",
        api_key="k",
        max_retries=1,
        proxy=f"http://127.0.0.1:{proxy.port}",
    )
    assert colour.invoke(model, "hi").text == "here"

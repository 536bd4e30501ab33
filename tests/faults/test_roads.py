"""Every road that a call may take holds the same promises.

Roads: our own connections, an HTTP proxy, a client of the user's own (httpx2, httpx), aiohttp, aiohttp through a proxy,
and a client of an SDK; each sync and async, where it has both.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import httpx
import httpx2
import openai
import pytest
from support.provider_bodies import openai_answer, openai_stream
from support.raw_server import RawServer, answer

from modelwire.adapters import ChatOpenAI
from modelwire.errors import ModelwireError, NetworkBlocked, Timeout
from modelwire.transport.connections.closed_network import Block

KEY = "canary-of-the-key-0123456789"
FOREIGN = "provider.example"
STALL_S = (
    60.0  # longer than any test is patient: a call that ends before has ended by its own limit
)

Cleaning = list[Callable[[], Any]]


class Road:
    """Makes models whose calls take one road, and calls them, async ones on one event loop."""

    def __init__(self, name: str, make: Callable[..., dict[str, Any]], *, is_async: bool) -> None:
        self.name = name
        self.is_async = is_async
        self._make = make
        self._clients: list[Any] = []

    def model(self, server: RawServer, *, host: str | None = None, key: str = KEY) -> ChatOpenAI:
        settings = self._make(server, is_async=self.is_async, host=host, key=key)
        self._clients += [
            client for name, client in settings.items() if name.endswith("client") and client
        ]
        settings = {"model": "m", "max_retries": 0, "rate_limit": None} | settings
        if "client" not in settings and "async_client" not in settings:
            settings["api_key"] = key
        return ChatOpenAI(**settings)

    def run(self, steps: Callable[[Calls], Awaitable[None]]) -> None:
        """Run `steps`, which await each call, and close the clients that were made."""

        async def whole() -> None:
            try:
                await steps(Calls(self.is_async))
            finally:
                for client in self._clients:
                    if hasattr(client, "aclose"):
                        await client.aclose()
                    elif asyncio.iscoroutinefunction(client.close):
                        await client.close()
                    else:
                        client.close()

        asyncio.run(whole())


class Calls:
    """Makes one call after the other, in one colour."""

    def __init__(self, is_async: bool) -> None:
        self._is_async = is_async

    async def invoke(self, model: ChatOpenAI, **config: Any) -> str:
        if self._is_async:
            return (await model.ainvoke("hi", config)).text
        return await asyncio.to_thread(lambda: model.invoke("hi", config).text)

    async def stream(self, model: ChatOpenAI) -> str:
        if self._is_async:
            return "".join([chunk.text async for chunk in model.astream("hi")])
        return await asyncio.to_thread(lambda: "".join(chunk.text for chunk in model.stream("hi")))


def _url(server: RawServer, host: str | None) -> str:
    return server.url if host is None else f"http://{host}/v1"


def direct(server: RawServer, *, host: str | None, **_: Any) -> dict[str, Any]:
    return {"base_url": _url(server, host)}


def proxied(server: RawServer, *, host: str | None, **_: Any) -> dict[str, Any]:
    proxy = server.url.removesuffix("/v1")
    return {"base_url": _url(server, host or FOREIGN), "proxy": proxy}


def by_client_of(library: Any) -> Callable[..., dict[str, Any]]:
    def make(server: RawServer, *, host: str | None, is_async: bool, **_: Any) -> dict[str, Any]:
        client = library.AsyncClient() if is_async else library.Client()
        name = "http_async_client" if is_async else "http_client"
        return {"base_url": _url(server, host), name: client}

    return make


def by_proxied_client(
    server: RawServer, *, host: str | None, is_async: bool, **_: Any
) -> dict[str, Any]:
    proxy = server.url.removesuffix("/v1")
    client: Any = (httpx2.AsyncClient if is_async else httpx2.Client)(proxy=proxy)
    name = "http_async_client" if is_async else "http_client"
    return {"base_url": _url(server, host or FOREIGN), name: client}


def by_aiohttp(server: RawServer, *, host: str | None, **_: Any) -> dict[str, Any]:
    return {"base_url": _url(server, host), "engine": "aiohttp"}


def by_aiohttp_proxied(server: RawServer, *, host: str | None, **_: Any) -> dict[str, Any]:
    return proxied(server, host=host) | {"engine": "aiohttp"}


def by_sdk(
    server: RawServer, *, host: str | None, is_async: bool, key: str, **_: Any
) -> dict[str, Any]:
    kind: Any = openai.AsyncOpenAI if is_async else openai.OpenAI
    client = kind(api_key=key, base_url=_url(server, host), max_retries=0)
    return {"async_client" if is_async else "client": client}


BOTH: dict[str, Callable[..., dict[str, Any]]] = {
    "direct": direct,
    "proxy": proxied,
    "httpx2 client": by_client_of(httpx2),
    "httpx client": by_client_of(httpx),
    "client with a proxy": by_proxied_client,
    "SDK client": by_sdk,
}
ASYNC_ONLY = {"aiohttp": by_aiohttp, "aiohttp through a proxy": by_aiohttp_proxied}
ROADS = [
    *((name, make, is_async) for name, make in BOTH.items() for is_async in (False, True)),
    *((name, make, True) for name, make in ASYNC_ONLY.items()),
]


@pytest.fixture(params=ROADS, ids=lambda road: f"{road[0]}, {'async' if road[2] else 'sync'}")
def road(request: pytest.FixtureRequest) -> Road:
    name, make, is_async = request.param
    if name.startswith("aiohttp"):
        pytest.importorskip("aiohttp")
    return Road(name, make, is_async=is_async)


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(script: Sequence[Sequence[Any]], **given: Any) -> RawServer:
        servers.append(RawServer(script, **given))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def said(text: str, *, headers: str = "", status: int = 200) -> bytes:
    body = openai_answer(text) if status == 200 else {"error": {"message": text}}
    return answer(json.dumps(body).encode(), headers=headers, status=status)


def streamed(*words: str) -> bytes:
    return answer(openai_stream(*words), headers="content-type: text/event-stream\r\n")


# ---------------------------------------------------------------- cookies


def test_no_cookie_of_an_answer_goes_out_with_the_next_call(
    road: Road, serve: Callable[..., RawServer]
) -> None:
    first = said("first", headers="set-cookie: session=of-the-first; path=/\r\n")
    server = serve([[first], [said("second")]])

    async def steps(calls: Calls) -> None:
        model = road.model(server)
        assert await calls.invoke(model) == "first"
        other = model if road.name in ("SDK client", "httpx2 client") else road.model(server)
        assert await calls.invoke(other) == "second"

    road.run(steps)
    assert b"cookie" not in server.requests[1].lower()


@pytest.mark.parametrize("library", [httpx2, httpx], ids=lambda library: library.__name__)
def test_cookies_that_the_user_has_set_on_a_client_go_out(
    library: Any, serve: Callable[..., RawServer]
) -> None:
    server = serve([[said("ok", headers="set-cookie: theirs=1; path=/\r\n")]], repeat=True)
    with library.Client(cookies={"mine": "1"}) as client:
        model = ChatOpenAI(model="m", base_url=server.url, http_client=client)
        for _ in range(2):
            model.invoke("hi")
        client.get(server.url)  # the user's own request keeps its cookies
        client.get(server.url)
    cookies = [b"theirs=1" in request for request in server.requests]
    assert cookies == [False, False, False, True]
    assert all(b"mine=1" in request for request in server.requests)


# ---------------------------------------------------------------- bytes that follow


WHEN = {"with the answer": 0.0, "later": 0.05}


@pytest.mark.parametrize("when", WHEN)
@pytest.mark.parametrize("how", ["invoke", "stream", "a refusal"])
def test_bytes_that_follow_an_answer_are_nobodys_answer(
    road: Road, how: str, when: str, serve: Callable[..., RawServer]
) -> None:
    sent = threading.Event()
    poison = said("somebody else's")
    whole = {
        "invoke": said("first"),
        "stream": streamed("first"),
        "a refusal": said("no", status=400),
    }[how]
    first = [whole + poison] if when == "with the answer" else [whole, WHEN[when], poison]
    server = serve([[*first, lambda _: sent.set()], [said("second")]])

    async def steps(calls: Calls) -> None:
        model = road.model(server)
        if how == "a refusal":
            with pytest.raises(ModelwireError, match="no"):
                await calls.invoke(model)
        else:
            assert await getattr(calls, how)(model) == "first"
        assert await asyncio.to_thread(sent.wait, STALL_S)
        await asyncio.sleep(0.05)  # what loopback needs to carry it over
        assert await calls.invoke(model) == "second"

    road.run(steps)
    assert server.connections == 2


def test_a_connection_without_such_bytes_is_used_again(
    road: Road, serve: Callable[..., RawServer]
) -> None:
    server = serve([[said("ok")]], repeat=True)

    async def steps(calls: Calls) -> None:
        model = road.model(server)
        for _ in range(3):
            assert await calls.invoke(model) == "ok"

    road.run(steps)
    assert server.connections == 1


# ---------------------------------------------------------------- the key in errors


def _shown(error: BaseException | None) -> Iterator[str]:
    while error is not None:
        yield f"{error} {error!r} {error.args!r} {vars(error)!r}"
        trace = error.__traceback__
        while trace is not None and "modelwire" not in trace.tb_frame.f_code.co_filename:
            trace = trace.tb_next
        seen = traceback.TracebackException(type(error), error, trace, capture_locals=True)
        yield from seen.format()
        error = error.__cause__ or error.__context__


REFUSALS: dict[str, list[Any]] = {
    "an echo": [said(f"Incorrect API key: {KEY}", status=401)],
    "no answer": [None],
    "a reset": [lambda peer: _reset(peer)],
    "no HTTP": [f"nonsense {KEY}\r\n\r\n".encode(), None],
    "half an answer": [said(f"half {KEY} " * 3)[:-20], None],
}


def _reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    peer.close()


@pytest.mark.parametrize("refusal", REFUSALS)
def test_no_error_shows_the_key(road: Road, refusal: str, serve: Callable[..., RawServer]) -> None:
    server = serve([REFUSALS[refusal]], repeat=True)
    raised: list[BaseException] = []

    async def steps(calls: Calls) -> None:
        model = road.model(server)
        try:
            await calls.invoke(model)
        except ModelwireError as error:
            raised.append(error)

    road.run(steps)
    (error,) = raised
    assert not [text for text in _shown(error) if KEY in text]
    assert KEY.encode() in server.requests[0]


@pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
def test_a_proxy_of_the_environment_with_no_port_shows_no_key(
    engine: Any, colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "aiohttp":
        pytest.importorskip("aiohttp")
    monkeypatch.setenv("HTTP_PROXY", "http://me:canary-of-the-password@127.0.0.1:99999")
    model = ChatOpenAI(
        model="no-port", api_key=KEY, base_url=f"http://{FOREIGN}/v1", max_retries=0, engine=engine
    )
    for call in (colour.invoke, colour.stream):
        with pytest.raises(ModelwireError) as raised:
            call(model, "hi")
        assert not [text for text in _shown(raised.value) if KEY in text or "canary-of" in text]


# ---------------------------------------------------------------- timeouts


def _trickle(peer: socket.socket) -> None:
    """Send an answer byte by byte, for longer than any call has."""
    stopped = threading.Event()
    with suppress(OSError):
        for byte in said("too late" * 1000):
            peer.sendall(bytes([byte]))
            stopped.wait(0.02)


SLOW: dict[str, list[Any]] = {
    "silent": [STALL_S],
    "a trickle": [_trickle],
    "half a body": [said("half")[:-10], STALL_S],
}


@pytest.mark.parametrize("slow", SLOW)
def test_the_timeout_of_a_call_ends_it(
    road: Road, slow: str, serve: Callable[..., RawServer]
) -> None:
    server = serve([SLOW[slow]], repeat=True)

    async def steps(calls: Calls) -> None:
        with pytest.raises(Timeout):
            await calls.invoke(road.model(server), timeout=0.3)

    road.run(steps)


# ---------------------------------------------------------------- the closed network


def test_a_closed_network_refuses_a_call_that_would_leave(
    road: Road, serve: Callable[..., RawServer]
) -> None:
    server = serve([[said("left")]], repeat=True)

    async def steps(calls: Calls) -> None:
        with Block() as block, pytest.raises(NetworkBlocked, match=FOREIGN):
            await calls.invoke(road.model(server, host=FOREIGN))
        assert FOREIGN in block.refused

    road.run(steps)
    assert server.requests == []

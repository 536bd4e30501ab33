"""The closed network: calls of ours reach loopback and nothing else, on every engine, whoever brings the client."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any

import httpx
import httpx2
import openai
import pytest
import respx
from support.colours import AsyncColour, SyncColour

from modelwire.adapters import ChatOpenAI
from modelwire.errors import NetworkBlocked
from modelwire.testing import ProviderServer, block_network

NOWHERE = "https://192.0.2.1/v1"  # RFC 5737: nobody's address
BY_NAME = "https://provider.example/v1"


def own(**more: Any) -> dict[str, Any]:
    return {"api_key": "k", "base_url": BY_NAME, "max_retries": 0, **more}


MODELS: dict[str, tuple[Any, Callable[[], dict[str, Any]]]] = {
    "sync": (SyncColour(), own),
    "async": (AsyncColour(), own),
    "aiohttp": (AsyncColour(), lambda: own(engine="aiohttp")),
    "sync by address": (SyncColour(), lambda: own(base_url=NOWHERE)),
    "async by address": (AsyncColour(), lambda: own(base_url=NOWHERE)),
    "sync proxy": (SyncColour(), lambda: own(openai_proxy="http://proxy.example:3128")),
    "async proxy": (AsyncColour(), lambda: own(openai_proxy="http://proxy.example:3128")),
    "local proxy": (SyncColour(), lambda: own(openai_proxy="http://127.0.0.1:9")),
    "aiohttp proxy": (
        AsyncColour(),
        lambda: own(engine="aiohttp", openai_proxy="http://proxy.example:3128"),
    ),
    "httpx2 client": (SyncColour(), lambda: own(http_client=httpx2.Client())),
    "async httpx2 client": (AsyncColour(), lambda: own(http_async_client=httpx2.AsyncClient())),
    "httpx client": (SyncColour(), lambda: own(http_client=httpx.Client())),
    "async httpx client": (AsyncColour(), lambda: own(http_async_client=httpx.AsyncClient())),
    "SDK": (SyncColour(), lambda: {"client": openai.OpenAI(api_key="k", base_url=BY_NAME)}),
    "async SDK": (
        AsyncColour(),
        lambda: {"async_client": openai.AsyncOpenAI(api_key="k", base_url=BY_NAME)},
    ),
}


@pytest.fixture
def packets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the list of what reached a socket or a name server, and let none of it get further.

    What stays on this machine is no packet: a thread of an earlier test may look for its Redis there.
    """
    seen: list[Any] = []

    def refuse(*args: Any, **kwargs: Any) -> Any:
        if args[0] != "127.0.0.1":
            seen.append(args)
        raise OSError("no")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return seen


@pytest.fixture
def blocked() -> Iterator[Any]:
    with block_network() as block:
        yield block


@pytest.mark.parametrize("way", ["invoke", "stream", "batch"])
@pytest.mark.parametrize("name", MODELS)
def test_a_call_that_would_leave_is_refused_and_told_what_to_do(
    name: str, way: str, blocked: Any, packets: list[Any]
) -> None:
    colour, arguments = MODELS[name]
    model = ChatOpenAI(model="m", **arguments())
    with pytest.raises(NetworkBlocked) as caught:
        getattr(colour, way)(model, ["hi"] if way == "batch" else "hi")
    assert packets == []
    for word in ("httpx2_mock", "provider_server", "@pytest.mark.live", "modelwire_network"):
        assert word in str(caught.value)
    assert len(blocked.refused) >= 1


@pytest.mark.parametrize("colour", [SyncColour(), AsyncColour()], ids=["sync", "async"])
def test_connections_are_not_warmed_up(colour: Any, blocked: Any, packets: list[Any]) -> None:
    model = ChatOpenAI(model="m", **own())
    with pytest.raises(NetworkBlocked):
        colour.run(lambda: model.warmup(1), lambda: model.awarmup(1))
    assert packets == []


def test_a_batch_is_not_handed_in(tmp_path: Any, blocked: Any, packets: list[Any]) -> None:
    with pytest.raises(NetworkBlocked):
        ChatOpenAI(model="m", **own()).submit_batch(["hi"], dir=tmp_path / "a.job")
    assert packets == []


@pytest.mark.parametrize("engine", ["httpx2", "aiohttp"])
def test_loopback_is_reached(
    engine: str, colour: Any, blocked: Any, provider_server: ProviderServer
) -> None:
    assert colour.invoke(provider_server.model(engine=engine), "hi").content == "hi"
    assert blocked.refused == []


def test_what_is_not_ours_is_left_alone(blocked: Any, packets: list[Any]) -> None:
    with pytest.raises(httpx2.ConnectError):
        httpx2.get(NOWHERE, trust_env=False)
    assert len(packets) == 1


def test_a_transport_that_answers_itself_is_left_alone(colour: Any, blocked: Any) -> None:
    def answer(request: Any) -> Any:
        return httpx2.Response(
            200, json={"choices": [{"message": {"content": "mocked"}, "finish_reason": "stop"}]}
        )

    transport = httpx2.MockTransport(answer)
    clients = {
        "http_client": httpx2.Client(transport=transport),
        "http_async_client": httpx2.AsyncClient(transport=transport),
    }
    assert colour.invoke(ChatOpenAI(model="m", **own(**clients)), "hi").content == "mocked"


def test_the_first_call_of_a_process_is_refused_too() -> None:
    """Nothing is loaded yet of what opens connections."""
    code = f"""
import asyncio, socket, sys
from modelwire.adapters import ChatOpenAI
from modelwire.testing import NetworkBlocked, block_network
socket.getaddrinfo = lambda *args, **kwargs: print("a packet")
block_network()
assert "httpcore2" not in sys.modules
try:
    asyncio.run(ChatOpenAI(model="m", api_key="k", base_url={BY_NAME!r}, max_retries=0).ainvoke("hi"))
except NetworkBlocked:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"


def test_a_block_holds_till_it_is_lifted_and_inner_ones_do_not_end_it(packets: list[Any]) -> None:
    outer = block_network()
    with block_network():
        pass
    model = ChatOpenAI(model="m", **own())
    with pytest.raises(NetworkBlocked):
        model.invoke("hi")
    outer.lift()
    outer.lift()


ANSWER = {
    "choices": [{"message": {"role": "assistant", "content": "mocked"}, "finish_reason": "stop"}]
}


@pytest.mark.live  # no block: the mock alone is reason enough
@pytest.mark.parametrize("name", ["sync", "async", "aiohttp", "SDK", "async SDK", "httpx2 client"])
def test_respx_that_does_not_see_a_call_refuses_it_and_says_so(
    name: str, packets: list[Any]
) -> None:
    colour, arguments = MODELS[name]
    with respx.mock(assert_all_called=False) as router:
        router.post(f"{BY_NAME}/chat/completions").respond(json=ANSWER)
        with pytest.raises(
            NetworkBlocked,
            match=r"`respx.mock\(\)` is active, but for httpcore, and this goes over",
        ):
            colour.invoke(ChatOpenAI(model="m", **arguments()), "hi")
    assert packets == []


@pytest.mark.parametrize("name", ["sync", "async", "aiohttp", "SDK", "async SDK", "httpx2 client"])
def test_the_mocker_of_httpx2_answers_on_both_engines(
    name: str, blocked: Any, httpx2_mock: Any
) -> None:
    colour, arguments = MODELS[name]
    route = httpx2_mock.post(f"{BY_NAME}/chat/completions").respond(json=ANSWER)
    assert colour.invoke(ChatOpenAI(model="m", **arguments()), "hi").content == "mocked"
    assert route.call_count == 1


def test_a_connection_that_was_opened_before_is_not_written_to(
    colour: Any, provider_server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modelwire.transport.connections import closed_network

    model = provider_server.model(max_retries=0)

    async def twice() -> None:
        await model.ainvoke("hi")
        with block_network():
            monkeypatch.setattr(closed_network, "is_loopback", lambda host: False)
            with pytest.raises(NetworkBlocked):
                await model.ainvoke("hi")

    def twice_sync() -> None:
        model.invoke("hi")
        with block_network():
            monkeypatch.setattr(closed_network, "is_loopback", lambda host: False)
            with pytest.raises(NetworkBlocked):
                model.invoke("hi")

    twice_sync() if colour.name == "sync" else asyncio.run(twice())
    assert provider_server.counts.requests == 1


# ---------------------------------------------------------------- the pytest plugin

CALL = """
import pytest
from modelwire.adapters import ChatOpenAI
from modelwire.errors import ModelwireError, NetworkBlocked

def call():
    url = "http://192.0.2.1:9/v1"
    return ChatOpenAI(model="m", api_key="k", base_url=url, max_retries=0, timeout=0.01).invoke("hi")

@pytest.fixture
def asked():
    call()
"""
OPEN = """def test_open():
    with pytest.raises(ModelwireError) as error:
        call()
    assert not isinstance(error.value, NetworkBlocked)
"""
PLUGIN = "pytest_plugins = ['modelwire.testing.pytest_plugin']\n"


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    installed = any(entry.name == "modelwire" for entry in entry_points(group="pytest11"))
    pytester.makeconftest("" if installed else PLUGIN)
    return pytester


def run(suite: pytest.Pytester) -> Any:
    return suite.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--strict-markers")


def test_the_plugin_fails_a_stray_call_also_one_that_was_swallowed(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        CALL
        + """
def test_open():
    call()

def test_swallowed():
    try:
        call()
    except ModelwireError:
        pass

def test_in_a_fixture(asked):
    pass
"""
    )
    result = run(suite)
    result.assert_outcomes(failed=2, errors=1)
    result.stdout.fnmatch_lines(
        ["*A call would have gone to 192.0.2.1*provider_server*@pytest.mark.live*"]
    )
    result.stdout.fnmatch_lines(["*something swallowed the `NetworkBlocked`*"])


@pytest.mark.long
@pytest.mark.parametrize("how", ["mark", "ini"])
def test_the_mark_and_the_ini_option_open_the_network(how: str, suite: pytest.Pytester) -> None:
    if how == "ini":
        suite.makeini("[pytest]\nmodelwire_network = allow")
    mark = "@pytest.mark.live\n" if how == "mark" else ""
    suite.makepyfile(f"{CALL}\n{mark}{OPEN}")
    run(suite).assert_outcomes(passed=1)


def test_an_ini_option_with_a_typo_is_an_error(suite: pytest.Pytester) -> None:
    suite.makeini("[pytest]\nmodelwire_network = alow")
    suite.makepyfile("def test_nothing():\n    pass\n")
    assert 'not "alow"' in "".join(run(suite).errlines)

"""X1-X5 of the fault catalogue: one canary for each secret, and whatever anybody can see of a call grepped for all.

What is seen: reprs, dumps, pickles, every error with its causes and the locals of its frames (as the standard library
and `rich` print them), the debug logs of everything, warnings, callbacks, events, caches and their files.
"""

# ruff: noqa: B023 - what is observed runs at once

from __future__ import annotations

import asyncio
import contextlib
import copy
import faulthandler
import io
import json
import logging
import pickle
import re
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
import warnings
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from support.colours import AsyncColour, SyncColour
from support.raw_server import answer

import modelwire
from modelwire import cli
from modelwire.adapters import AzureChatOpenAI, ChatAnthropic, ChatOpenAI
from modelwire.caches import InMemoryCache
from modelwire.callbacks import BaseCallbackHandler
from modelwire.errors import (
    AuthenticationError,
    CallerError,
    InvalidArgument,
    ModelwireError,
    Timeout,
    WireError,
)
from modelwire.jobs import run_job
from modelwire.messages import HumanMessage
from modelwire.prompts import ChatPromptTemplate
from modelwire.runnables import RunnableLambda
from modelwire.testing import ProviderServer, faults
from modelwire.testing.server.wires import error_reply

CANARIES = {
    "key": "canary0key0aaaa",
    "default header": "canary1default1bbbb",
    "extra header": "canary2extra2cccc",
    "header of a call": "canary3call3dddd",
    "user": "canary4user4eeee",
    "password": "canary5/pass+word5ffff",
    "query": "canary6query6gggg",
    "proxy user": "canary7proxyuser7hhhh",
    "proxy password": "canary8proxypass8iiii",
    "user of a client": "canary9client9jjjj",
    "password of a client": "canary10client10kkkk",
}
WIRES = {"openai": ChatOpenAI, "anthropic": ChatAnthropic}


def basic(user: str, password: str) -> str:
    return b64encode(f"{CANARIES[user]}:{CANARIES[password]}".encode()).decode()


FORMS = {
    **CANARIES,
    **{f"{name}, quoted": quote(text, safe="") for name, text in CANARIES.items()},
    "user and password": basic("user", "password"),
    "proxy's user and password": basic("proxy user", "proxy password"),
    "client's user and password": basic("user of a client", "password of a client"),
}


def echo(*of: str) -> str:
    """Say again what a call carries, and what a proxy or a client of the user's adds to it."""
    own = [text for name, text in FORMS.items() if "proxy" not in name and "client" not in name]
    more = [text for name, text in FORMS.items() if any(one in name for one in of)]
    return f"You said: {', '.join(own + more)}."


ECHO = echo()
PACKAGE = str(Path(modelwire.__file__).parent)


def found_in(text: str | bytes) -> list[str]:
    if isinstance(text, bytes):
        text = text.decode("latin-1")
    return [
        f"{name}: ...{text[max(0, text.index(form) - 100) :][:160]}"
        for name, form in FORMS.items()
        if form in text
    ]


def armed(url: str, wire: str = "openai", *, path: str = "", **more: Any) -> Any:
    """Make a model that has every secret there is."""
    userinfo = f"{CANARIES['user']}:{quote(CANARIES['password'], safe='')}@"
    base, _, host = url.partition("://")
    arguments = {
        "model": "m",
        "api_key": CANARIES["key"],
        "base_url": f"{base}://{userinfo}{host}{path}?api-version=1&api-key={CANARIES['query']}",
        "default_headers": {"X-Team": CANARIES["default header"]},
        "extra_headers": {"X-Trace": f"Token {CANARIES['extra header']}"},
        "max_retries": 0,
        "rate_limit": None,
    }
    return WIRES[wire](**(arguments | more))


OF_THE_CALL = {"extra_headers": {"X-Call": CANARIES["header of a call"]}}


# ---------------------------------------------------------------- what can be seen


class Ears(BaseCallbackHandler):
    """Writes down everything it is told."""

    run_inline = True

    def __init__(self) -> None:
        self.told: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda *args, **kwargs: self.told.append(
                f"{name} {args!r} {kwargs!r} {_plain([args, kwargs])}"
            )
        return super().__getattribute__(name)


def _plain(value: Any) -> str:
    """Write a value out as a tracer would that knows no class of ours."""
    return json.dumps(
        value, default=lambda thing: getattr(thing, "__dict__", None) or str(thing), skipkeys=True
    )


def shown_by(error: BaseException) -> Iterator[str]:
    """Give every text an error can be seen by; of its frames, those below the user's."""
    for one in _chain(error):
        yield f"{one} {one!r} {one.args!r} {vars(one)!r} {getattr(one, '__notes__', [])!r}"
        trace = one.__traceback__
        while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
            trace = trace.tb_next
        seen = traceback.TracebackException(
            type(one), one.with_traceback(trace), trace, capture_locals=True
        )
        yield "".join(seen.format())
    if isinstance(error, ModelwireError):
        yield pickle.dumps(error).decode("latin-1")


def as_cgitb_shows(error: BaseException) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        cgitb = pytest.importorskip("cgitb")  # Python 3.13 has none
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith(PACKAGE):
        trace = trace.tb_next
    return "" if trace is None else str(cgitb.text((type(error), error, trace)))


def as_rich_shows(error: BaseException) -> str:
    console, page = pytest.importorskip("rich.console"), io.StringIO()
    shown = pytest.importorskip("rich.traceback").Traceback.from_exception(
        type(error), error, error.__traceback__, show_locals=True, width=500
    )
    console.Console(file=page, width=500).print(shown)
    return re.sub(r"\s", "", page.getvalue())


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [other for other in (one.__cause__, one.__context__) if other is not None]


def _servers_words(record: logging.LogRecord) -> bool:
    """Whether httpcore2 logs what it received: that is the server's to answer for."""
    return "receive_response_headers" in record.getMessage()


class Observed:
    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.result: Any = None
        self.seen: list[str] = []

    def assert_clean(self) -> None:
        leaks = [leak for text in self.seen for leak in found_in(text)]
        assert not leaks, "\n".join(leaks)


@pytest.fixture
def provider_server() -> Iterator[ProviderServer]:
    with ProviderServer() as server:
        yield server


Observe = Callable[[Callable[[], Any]], Observed]


@pytest.fixture
def observe(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Observe:
    """Run something, and collect whatever it shows."""
    caplog.set_level(logging.DEBUG)
    for name in ("asyncio", "aiohttp", "httpcore2", "httpx2", "modelwire"):
        logging.getLogger(name).setLevel(logging.DEBUG)

    def run(do: Callable[[], Any]) -> Observed:
        observed = Observed()
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                observed.result = do()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be looked at
                observed.error = error
                observed.seen += shown_by(error)
        observed.seen += [str(warning.message) for warning in said]
        observed.seen += [
            f"{record.getMessage()} {record.args!r}"
            for record in caplog.records
            if not _servers_words(record)
        ]
        observed.seen += capfd.readouterr()
        return observed

    return run


@pytest.fixture(autouse=True)
def levels_as_before() -> Iterator[None]:
    yield
    for name in ("asyncio", "aiohttp", "httpcore2", "httpx2", "modelwire"):
        logging.getLogger(name).setLevel(logging.NOTSET)


# ---------------------------------------------------------------- calls that fail

RAW_ECHO = ECHO.encode()
EVENTS = [
    {"choices": [{"index": 0, "delta": {"content": "a"}}]},
    {"error": {"message": ECHO, "code": ECHO}},
]
WRONG = {
    "refused key": faults.status(
        401, message=ECHO, error_code=ECHO, type=ECHO, headers={"x-request-id": ECHO + "\x1b]0;"}
    ),
    "a page": faults.status(500, body=b"<html>" + RAW_ECHO + b"</html>"),
    "words elsewhere": faults.status(
        400, body=json.dumps({ECHO: {"deep": [ECHO]}, "message": "no"}).encode()
    ),
    "other texts": faults.status(
        422, body=json.dumps({"detail": [{"msg": "x " * 90 + ECHO}]}).encode()
    ),
    "no json": answer(b"{" + RAW_ECHO),
    "no event": answer(
        b"data: {" + RAW_ECHO + b"}\n\n", headers="content-type: text/event-stream\r\n"
    ),
    "odd header": b"HTTP/1.1 200 OK\r\n" + RAW_ECHO + b"\r\n\r\n",
    "odd status": b"HTTP/1.1 " + RAW_ECHO + b"\r\n\r\n",
    "odd compression": answer(b"x", headers=f"content-encoding: {ECHO}\r\n"),
    "redirect": faults.redirect(f"http://{CANARIES['user']}@127.0.0.1:1/{CANARIES['key']}?{ECHO}"),
    "events": EVENTS,
    "cut": faults.cut(),
    "reset at once": faults.reset("request"),
    "reset in the body": faults.reset("body", after_events=1),
    "gzip garbage": faults.gzip_garbage(),
    "again and again": faults.status(500, message=ECHO),
}
ONCE = httpx2.Limits(max_keepalive_connections=0)  # nothing stays open when a loop ends
# How the bytes travel: by the shared pools, by aiohttp, by clients of the user's own.
WAYS: dict[str, Callable[[], dict[str, Any]]] = {
    "core": dict,
    "aiohttp": lambda: {"engine": "aiohttp"},
    "client": lambda: {
        "http_client": httpx2.Client(
            limits=ONCE, auth=(CANARIES["user of a client"], CANARIES["password of a client"])
        ),
        "http_async_client": httpx2.AsyncClient(
            limits=ONCE, auth=(CANARIES["user of a client"], CANARIES["password of a client"])
        ),
    },
}


def close_client(model: Any) -> None:
    if model.http_client is not None:
        model.http_client.close()


# Every failure by the shared pools, every twelfth by the other ways.
@pytest.mark.parametrize(
    ("wrong", "way"),
    [
        pytest.param(
            wrong,
            way,
            id=f"{wrong}-{way}",
            marks=pytest.mark.long if way != "core" and place % 12 else (),
        )
        for place, wrong in enumerate(WRONG)
        for way in WAYS
    ],
)
def test_no_failure_shows_a_secret(
    wrong: str,
    way: str,
    colour: SyncColour | AsyncColour,
    provider_server: ProviderServer,
    observe: Observe,
) -> None:
    if way == "aiohttp" and colour.name == "sync":
        pytest.skip("aiohttp is for async calls")
    for wire in WIRES:
        provider_server.default = WRONG[wrong]
        ears = Ears()
        for ask in (colour.invoke, colour.stream):
            more = {"api_key": lambda: CANARIES["key"]} if way == "core" else WAYS[way]()
            model = armed(
                provider_server.base_url,
                wire,
                max_retries=1 if wrong == "again and again" else 0,
                **more,
            )
            seen = observe(lambda: ask(model, "hi", {"callbacks": [ears]}, **OF_THE_CALL))
            close_client(model)
            seen.seen += ears.told
            if (
                seen.error is not None
                and wrong in ("refused key", "no event", "cut")
                and wire == "openai"
            ):
                seen.seen += [as_rich_shows(seen.error), as_cgitb_shows(seen.error)]
            if wrong != "events" or wire == "openai":
                assert isinstance(seen.error, ModelwireError), seen.result
            seen.assert_clean()
    assert any(
        "canary" in value for value in provider_server.requests[-1].headers.values()
    )  # they did travel


def test_a_masked_error_still_says_what_happened(provider_server: ProviderServer) -> None:
    key = CANARIES["key"]
    provider_server.say(
        faults.status(
            401, message=f"Wrong key {key} for team blue.", headers={"x-request-id": "r-1"}
        )
    )
    with pytest.raises(AuthenticationError) as refused:
        armed(provider_server.base_url).invoke("hi")
    assert refused.value.message.startswith("Wrong key ********** for team blue.")
    assert refused.value.body["error"]["message"] == "Wrong key ********** for team blue."
    assert (refused.value.status, refused.value.request_id) == (401, "r-1")


def test_a_call_that_goes_well_shows_no_secret(
    colour: SyncColour | AsyncColour, provider_server: ProviderServer, observe: Observe
) -> None:
    for way, ask, wire in product(WAYS.values(), (colour.invoke, colour.stream), WIRES):
        ears, cache = Ears(), InMemoryCache()
        model = armed(provider_server.base_url, wire, cache=cache, **way())
        bound = model.bind(**OF_THE_CALL)
        seen = observe(
            lambda: [ask(bound, "hi", {"callbacks": [ears]}), model.limits(), cache._cache]
        )
        close_client(model)
        assert seen.error is None
        seen.seen += [*ears.told, repr(seen.result), repr(bound)]
        seen.assert_clean()
    sent = provider_server.requests[-1]
    assert sent.headers["x-call"] == CANARIES["header of a call"]
    assert f"api-key={CANARIES['query']}" in sent.query


async def events_of(model: Any, **given: Any) -> list[Any]:
    return [event async for event in model.astream_events("hi", version="v2", **given)]


def test_events_show_no_secret(provider_server: ProviderServer, observe: Observe) -> None:
    seen = observe(
        lambda: asyncio.run(events_of(armed(provider_server.base_url).bind(**OF_THE_CALL)))
    )
    assert seen.result
    seen.seen += [repr(seen.result), _plain(seen.result)]
    seen.assert_clean()


@pytest.fixture
def no_tls() -> Iterator[str]:
    """Give an `https` address where somebody answers anything with a line of text."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer:
                    peer.recv(1)
                    peer.sendall(b"this is no TLS, and said to everybody\r\n")

    threading.Thread(target=serve, daemon=True).start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
    listener.close()


def test_a_refused_connection_and_a_deadline_show_no_secret(
    colour: SyncColour | AsyncColour,
    raw_server: Any,
    no_tls: str,
    observe: Observe,
    refusing_port: int,
) -> None:
    closed = f"http://127.0.0.1:{refusing_port}/v1"
    silent = raw_server([[1.0]], repeat=True)
    for url, config, kind in (
        (closed, None, WireError),
        (silent.url, {"timeout": 0.05}, Timeout),
        (no_tls, None, WireError),
    ):
        for way in ("core", "client") if colour.name == "sync" else WAYS:
            model = armed(url, **WAYS[way]())
            seen = observe(lambda: colour.invoke(model, "hi", config, **OF_THE_CALL))
            close_client(model)
            assert isinstance(seen.error, kind)
            seen.assert_clean()


async def leave_at_the_deadline(model: Any) -> None:
    """Let the chain's own limit cut the call off, as it does where a busy loop comes to both limits at once."""
    asyncio.get_running_loop().call_later(0.15, time.sleep, 0.4)
    await (RunnableLambda(str) | model.bind(**OF_THE_CALL)).ainvoke("hi", {"timeout": 0.3})


async def leave_by_a_timeout(model: Any) -> None:
    async with asyncio.timeout(0.2):
        await model.ainvoke("hi", **OF_THE_CALL)


async def leave_a_stream_by_a_timeout(model: Any) -> None:
    async with asyncio.timeout(0.2):
        await anext(model.astream("hi", **OF_THE_CALL))


async def leave_by_a_cancel(model: Any) -> None:
    task = asyncio.create_task(model.ainvoke("hi", **OF_THE_CALL))
    await asyncio.sleep(0.2)
    task.cancel()
    await task


@pytest.mark.long
@pytest.mark.parametrize(
    "leave",
    [leave_at_the_deadline, leave_by_a_timeout, leave_a_stream_by_a_timeout, leave_by_a_cancel],
)
@pytest.mark.parametrize("way", WAYS)
def test_a_call_that_is_cut_off_from_outside_shows_no_secret(
    way: str, leave: Callable[[Any], Any], provider_server: ProviderServer
) -> None:
    provider_server.default = faults.stall("request")
    model = armed(provider_server.base_url, **WAYS[way]())
    with pytest.raises(BaseException) as caught:
        asyncio.run(leave(model))
    close_client(model)
    assert isinstance(caught.value, (TimeoutError, asyncio.CancelledError))
    shown = [*shown_by(caught.value), as_rich_shows(caught.value)]
    assert [leak for text in shown for leak in found_in(text)] == []


@pytest.mark.skipif(
    not hasattr(signal, "pthread_kill"), reason="a signal cannot be sent to a thread here"
)
def test_ctrl_c_in_a_call_shows_no_secret(provider_server: ProviderServer) -> None:
    provider_server.default = faults.stall("request")
    for way in ("core", "client"):
        model = armed(provider_server.base_url, **WAYS[way]())
        interrupt = partial(signal.pthread_kill, threading.main_thread().ident, signal.SIGINT)
        threading.Timer(0.3, interrupt).start()
        with pytest.raises(KeyboardInterrupt) as caught:
            model.invoke("hi", **OF_THE_CALL)
        close_client(model)
        shown = [*shown_by(caught.value), as_rich_shows(caught.value)]
        assert [leak for text in shown for leak in found_in(text)] == []


def test_a_proxy_that_says_its_password_again_is_masked(
    colour: SyncColour | AsyncColour, raw_server: Any, observe: Observe
) -> None:
    said = echo("proxy")
    server = raw_server(
        [[answer(said.encode(), status=407, headers=f"x-said: {said}\r\n"), None]], repeat=True
    )
    user, password = CANARIES["proxy user"], CANARIES["proxy password"]
    proxy = server.url.replace("//", f"//{user}:{password}@").removesuffix("/v1")
    for target in ("http://192.0.2.1/v1", "https://192.0.2.1/v1"):
        for way in [{}] if colour.name == "sync" else [{}, {"engine": "aiohttp"}]:
            model = armed(target, proxy=proxy, **way)
            assert not found_in(repr(model))
            seen = observe(lambda: colour.invoke(model, "hi", **OF_THE_CALL))
            assert isinstance(seen.error, ModelwireError)
            seen.assert_clean()
    assert basic("proxy user", "proxy password").encode() in b"".join(server.requests)


# ---------------------------------------------------------------- arguments that cannot be

BAD_ARGUMENTS: dict[str, dict[str, Any]] = {
    "slip": {"temprature": 1},
    "type": {"temperature": "hot"},
    "headers": {"default_headers": {"X-Team": [CANARIES["default header"]]}},
    "newline in the key": {"api_key": CANARIES["key"] + "\n"},
    "newline in a header": {
        "default_headers": {"X-Team": CANARIES["default header"] + "\r\nX-Evil: 1"}
    },
    "client": {"http_client": "none"},
    "address": {
        "base_url": f"ftp://{CANARIES['user']}:{CANARIES['query']}@h/?key={CANARIES['key']}"
    },
    "address, no text": {"base_url": [f"http://h/?key={CANARIES['query']}"]},
    "patience": {"max_retries": -1},
}


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("bad", BAD_ARGUMENTS)
def test_no_refused_argument_shows_a_secret(bad: str, wire: str, observe: Observe) -> None:
    seen = observe(lambda: armed("http://127.0.0.1:1", wire, **BAD_ARGUMENTS[bad]))
    assert isinstance(seen.error, InvalidArgument)
    seen.assert_clean()


BAD_CALLS: dict[str, dict[str, Any]] = {
    "newline": {"extra_headers": {"X-Call": CANARIES["header of a call"] + "\n"}},
    "slip": {**OF_THE_CALL, "temprature": 1},
    "no json": {**OF_THE_CALL, "top_p": object()},
    "patience": {**OF_THE_CALL, "max_retries": -1},
}


@pytest.mark.parametrize("bad", BAD_CALLS)
def test_no_refused_call_shows_a_secret(
    bad: str, colour: SyncColour | AsyncColour, observe: Observe
) -> None:
    for wire in WIRES:
        model = armed("http://127.0.0.1:1", wire)
        for do in (
            lambda: colour.invoke(model, "hi", **BAD_CALLS[bad]),
            lambda: colour.stream(model, "hi", **BAD_CALLS[bad]),
            lambda: colour.batch(model.bind(**BAD_CALLS[bad]), ["hi"]),
            lambda: colour.batch(model, ["hi", "there"], **BAD_CALLS[bad]),
            lambda: colour.batch(model.bind(), ["hi"], **BAD_CALLS[bad]),
            lambda: colour.batch_as_completed(model.with_retry(), ["hi"], **BAD_CALLS[bad]),
            lambda: colour.invoke(model.with_retry(), "hi", **BAD_CALLS[bad]),
            lambda: colour.stream(model.with_fallbacks([model]), "hi", **BAD_CALLS[bad]),
            lambda: colour.invoke(model | (lambda said: said), "hi", **BAD_CALLS[bad]),
            lambda: asyncio.run(events_of(model, **BAD_CALLS[bad])),
            lambda: colour.invoke(model.bind(**BAD_CALLS[bad]), "hi"),
            lambda: model.generate([[HumanMessage("hi")]], **BAD_CALLS[bad]),
        ):
            seen = observe(do)
            assert isinstance(seen.error, CallerError)
            seen.assert_clean()


def test_a_function_that_gives_a_broken_key_does_not_show_it(
    colour: SyncColour | AsyncColour, observe: Observe
) -> None:
    keys = iter([CANARIES["key"], CANARIES["key"] + "\r\nX-Evil: 1"])
    model = armed("http://127.0.0.1:1", api_key=lambda: next(keys))
    model.build_request("hi")
    seen = observe(lambda: colour.invoke(model, "hi"))
    assert isinstance(seen.error, InvalidArgument)
    seen.assert_clean()


# ---------------------------------------------------------------- models, copied and written down


def every_model() -> list[Any]:
    azure = AzureChatOpenAI(
        azure_endpoint=f"https://{CANARIES['user']}:{CANARIES['query']}@me.openai.azure.com?key={CANARIES['query']}",
        azure_deployment="d",
        azure_ad_token=CANARIES["key"],
        default_headers={"X-Team": CANARIES["default header"]},
    )
    return [armed("http://127.0.0.1:1", wire) for wire in WIRES] + [azure]


def test_no_dump_shows_a_secret() -> None:
    for model in every_model():
        for one in (
            model,
            copy.copy(model),
            copy.deepcopy(model),
            model.model_copy(update={"model": "n"}),
        ):
            texts = [
                repr(one),
                str(one),
                f"{one}",
                repr(one.api_key),
                str(one.model_dump()),
                one.model_dump_json(),
                json.dumps(one.model_json_schema()),
                repr(one.asdict()),
                str(one._identifying_params),
                repr(one.build_request("hi")),
                repr(one | (lambda said: said)),
                repr(one._endpoint()),
                str(one.get_graph().to_json()),
                repr(one.bind(**OF_THE_CALL)),
                str(one.bind(**OF_THE_CALL).model_dump),
            ]
            assert not [leak for text in texts for leak in found_in(text)]
            assert CANARIES["key"] not in repr(vars(one)) + _plain(vars(one)) + _plain(one)
            assert CANARIES["default header"] not in f"{vars(one)} {one.default_headers}"
            assert CANARIES["extra header"] not in f"{vars(one)} {one.extra_headers}"
            assert CANARIES["default header"] in "".join(
                one.build_request("hi").headers.values()
            )  # copies have them


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_pickle_carries_a_secret_and_each_says_what_it_left(
    protocol: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "there")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "there")
    for model in every_model()[:2]:
        with pytest.warns(UserWarning, match="`default_headers`, `extra_headers`, `base_url`"):
            pickled = pickle.dumps(model, protocol)
        with pytest.warns(UserWarning, match="does not contain"):
            bound = pickle.dumps(model.bind(**OF_THE_CALL), protocol)
        assert found_in(pickled) + found_in(bound) == []
        again = pickle.loads(pickled)
        assert (again.default_headers, again.extra_headers) == (None, None)
        assert again.base_url == "http://127.0.0.1:1?api-version=1"


def test_a_pickle_of_a_model_without_such_secrets_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.dumps(ChatOpenAI(model="m", api_key="k"))


def test_files_of_a_cache_hold_no_secret_and_are_the_owners(
    provider_server: ProviderServer, tmp_path: Path
) -> None:
    from modelwire import caches

    disk = next(
        (getattr(caches, name) for name in ("DiskCache", "SQLiteCache") if hasattr(caches, name)),
        None,
    )
    if disk is None:
        pytest.skip("no cache on disk yet")
    armed(provider_server.base_url, cache=disk(tmp_path / "cache.db")).invoke("hi", **OF_THE_CALL)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert found_in(path.read_bytes()) == []
        if sys.platform != "win32":
            assert path.stat().st_mode & 0o077 == 0


def check_files(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 3
    for path in files:
        assert found_in(path.read_bytes()) == [], path
        if sys.platform != "win32":
            assert path.stat().st_mode & 0o077 == 0, path


def when_asked(number: int, do: Callable[[], Any]) -> Callable[[Any], Any]:
    """Answer; every third request is refused with all its secrets. Before one of the answers do something."""

    def answer(request: Any) -> Any:
        if request.number == number:
            do()
        return faults.status(400, message=ECHO) if request.number % 3 == 0 else "fine"

    return answer


@pytest.mark.parametrize("wire", WIRES)
def test_no_file_of_a_job_holds_a_secret_killed_or_finished(
    wire: str, provider_server: ProviderServer, tmp_path: Path, observe: Observe
) -> None:
    folder, killed = (
        tmp_path / "out.jsonl.job",
        tmp_path / "killed",
    )  # what a kill would leave behind
    provider_server.default = when_asked(20, lambda: shutil.copytree(folder, killed))
    chain = ChatPromptTemplate.from_template("{text}") | armed(provider_server.base_url, wire).bind(
        **OF_THE_CALL
    )
    rows = [{"text": f"row {n}"} for n in range(30)]
    seen = observe(
        lambda: run_job(chain, rows, output=tmp_path / "out.jsonl", quiet=True, max_concurrency=1)
    )
    assert seen.error is None
    assert seen.result.failed >= 8
    seen.seen += [str(seen.result), repr(seen.result)]
    seen.assert_clean()
    check_files(folder)
    check_files(killed)
    assert found_in((tmp_path / "out.jsonl").read_bytes()) == []


@pytest.mark.parametrize("wire", WIRES)
def test_no_file_of_a_batch_holds_a_secret_killed_or_finished(
    wire: str,
    provider_server: ProviderServer,
    tmp_path: Path,
    observe: Observe,
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder, killed = tmp_path / "a.job", tmp_path / "killed"
    handle = provider_server.batches.handle

    def handling(request: Any, base_url: str) -> Any:
        if request.method == "POST" and request.path.endswith(
            "/batches"
        ):  # its parts lie on the disk
            shutil.copytree(folder, killed, dirs_exist_ok=True)
        return handle(request, base_url)

    provider_server.batches.handle = handling  # type: ignore[method-assign]
    chain = ChatPromptTemplate.from_template("{text}") | armed(
        provider_server.base_url, wire, path="/v1" if wire == "openai" else ""
    ).bind(**OF_THE_CALL)
    rows = [{"text": f"row {n}"} for n in range(6)]
    with (
        caplog.at_level(logging.INFO, "openai"),
        caplog.at_level(logging.INFO, "anthropic"),
    ):  # theirs show addresses
        seen = observe(lambda: chain.submit_batch(rows, dir=folder).wait(poll=0.01))
    assert seen.error is None
    seen.seen += [repr(seen.result), *(repr(result) for result in seen.result.results())]
    seen.assert_clean()
    check_files(folder)
    check_files(killed)
    said = ", ".join(
        CANARIES[name] for name in ("key", "default header", "user", "password", "query")
    )
    provider_server.batches.handle = lambda request, base_url: error_reply(
        wire, 401, number=1, message=said
    )  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO, "openai"), caplog.at_level(logging.INFO, "anthropic"):
        seen = observe(lambda: chain.submit_batch(rows, dir=tmp_path / "b.job"))
    assert isinstance(seen.error, AuthenticationError)
    seen.assert_clean()
    check_files(tmp_path / "b.job")


@pytest.mark.parametrize(
    "given",
    [
        "api_key=",
        "default_headers=",
        "default_query=",
        "azure_ad_token=",
        "base_url=http://me:",
        "proxy=http://:",
    ],
)
def test_no_secret_of_a_command_line_is_kept(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in.csv").write_text("text\nhi\n")
    secret = f"{given}{CANARIES['key']}@127.0.0.1:1"
    command = [
        "batch",
        str(tmp_path / "in.csv"),
        "--prompt",
        "{text}",
        "--model",
        "openai:m",
        "--param",
        secret,
    ]
    assert cli.main([*command, "-o", str(tmp_path / "out.csv")]) == 2
    assert found_in("".join(capsys.readouterr())) == []
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_dump_of_all_stacks_shows_no_secret(
    colour: SyncColour | AsyncColour, provider_server: ProviderServer, tmp_path: Path
) -> None:
    with (tmp_path / "stacks").open("w+") as file:

        def dump(request: Any) -> str:
            faulthandler.dump_traceback(file, all_threads=True)
            return "hi"

        provider_server.default = dump
        with ThreadPoolExecutor(
            1
        ) as pool:  # the dump ends after the 100 newest threads, and other tests left some
            pool.submit(
                colour.invoke, armed(provider_server.base_url).bind(**OF_THE_CALL), "hi"
            ).result()
        file.seek(0)
        shown = file.read()
    assert (
        "drivers.py" in shown or colour.name == "async"
    )  # a call was among them; the async one lies on no stack
    assert found_in(shown) == []

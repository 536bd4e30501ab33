"""`ProviderServer`: a test server on loopback that gives prepared answers in the providers' formats, and
records requests.

Its event loop runs in a thread of its own. Functions in a script run on that loop, so a slow one
delays all answers.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelwire import ext
from modelwire.errors import ConnectFailed, InvalidArgument, InvalidType, did_you_mean
from modelwire.testing.server import request_rules
from modelwire.testing.server.answers import Answer
from modelwire.testing.server.background import BackgroundDesk
from modelwire.testing.server.batches import BatchDesk, BatchPlan
from modelwire.testing.server.chat_desk import ChatDesk, Latency, Lognormal, check_latency
from modelwire.testing.server.connection import Connection
from modelwire.testing.server.embeddings import embeddings_model, embeddings_wire
from modelwire.testing.server.fault_rules import FaultRules
from modelwire.testing.server.faults import Rule
from modelwire.testing.server.limits import Limits, check_number
from modelwire.testing.server.other_endpoints import other_reply
from modelwire.testing.server.replies import Reply, Response, Steps
from modelwire.testing.server.requests import Counts, Seen, SeenRequest, is_of_this_machine
from modelwire.testing.server.script import Script, sayable
from modelwire.testing.server.stored_prompts import StoredPrompts
from modelwire.testing.server.wires import WIRES, error_reply

if TYPE_CHECKING:
    import asyncio

    from modelwire.adapters import BaseChatModel
    from modelwire.embeddings import Embeddings

__all__ = ["Lognormal", "ProviderServer"]

Wire = Literal["openai", "responses", "anthropic", "bedrock", "gemini"]
MODELS: dict[str, str] = {name: row.model for name, row in WIRES.items()}
_WIRE_OF_PATH = {
    path: name for name, row in WIRES.items() for path in (row.path, row.stream_path) if path
}
# `close` waits at most this long for the thread of the server.
_STOP_TIMEOUT_S = 5.0


def echo(request: SeenRequest) -> Answer:
    """Return an answer that repeats the user's text: the `default` of a server."""
    return Answer(request.text)


def check_port(port: int) -> None:
    """Raise `InvalidArgument` unless `port` is from 0 to 65535."""
    if not 0 <= port <= 65535:
        raise InvalidArgument(f"`port` must be from 0 to 65535, not {port}.")


class ProviderServer:
    """Answer requests in the providers' formats, on a loopback port and in a thread of its own, until it is closed.

    `answers` are sent in order, one for each request. `default` is sent after the last one, or if
    there are none; by default it repeats the user's text. An entry may be a text, an `Answer`, an
    `AIMessage`, a dict (a body, sent unchanged), a list of events, bytes, a `Fault`, a
    `ProviderError`, or a function of the request that returns one of these. `faults` are `Rule`s
    that make requests fail, or probabilities by the names of `faults.NAMED`. `latency` is in
    seconds. `time_scale=0.01` makes each of the server's seconds a hundredth of one, so that
    minutes of rate limits pass in a test. `keep` limits the length of `requests`; `counts` are
    exact anyway. `strict` rejects requests that the provider rejects: unknown parameters, tool
    calls without results, and more (`request_rules.py`). `seed` makes random choices the same in every run.

        with ProviderServer(["Hello!"]) as server:
            server.model("openai").invoke("hi").content  # 'Hello!'
    """

    def __init__(
        self,
        answers: Iterable[Any] = (),
        *,
        default: Any = echo,
        faults: Sequence[Rule] | Mapping[str, float] = (),
        latency: Latency = 0.0,
        chunk_gap_s: float = 0.0,
        limits: Limits | None = None,
        batches: BatchPlan | Sequence[BatchPlan] | None = None,
        time_scale: float = 1.0,
        strict: bool = True,
        seed: int = 0,
        keep: int | None = None,
        port: int = 0,
    ) -> None:
        check_latency(latency)
        check_number("time_scale", time_scale)
        check_number("chunk_gap_s", chunk_gap_s, least=0, unit="seconds")
        check_port(port)
        self.latency = latency
        self.strict = strict
        self.chunk_gap_s = chunk_gap_s
        self.time_scale = time_scale
        # These errors were raised by functions in the script; the client got a 500.
        self.failures: list[Exception] = []
        self.background = BackgroundDesk()
        self._script = Script(answers, sayable(default))
        rng = random.Random(seed)  # noqa: S311 - not for secrets: the same in every run
        self._chat = ChatDesk(self, self._script, self.background, rng)
        self._batches = BatchDesk(self._chat.row, self.now_s, batches or ())
        self._seen = Seen(keep)
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # `close` calls this on the event loop. It does nothing before the loop runs.
        self._stop: Callable[[], object] = bool
        self._connections: set[Connection] = set()
        self._started_s = time.monotonic()
        self.faults = faults
        if limits is not None:
            self.limits = limits

    def start(self) -> ProviderServer:
        """Start listening, and return this server. `with` calls it, too; a second call does nothing.

        Raises: `ConnectFailed` if the port is taken.
        """
        if self._thread is not None:
            return self
        ready = threading.Event()
        trouble = list[OSError]()
        self._thread = threading.Thread(
            target=_run, args=(self, ready, trouble), name="modelwire-provider-server", daemon=True
        )
        self._thread.start()
        ready.wait()
        if trouble:
            self._thread = None
            raise ConnectFailed(
                f"The provider server cannot listen on port {self._port}: {trouble[0]}"
            )
        return self

    def close(self) -> None:
        """Drop every connection and stop listening. A second call does nothing."""
        thread = self._thread
        self._thread = None
        if thread is None or self._loop is None:
            return
        self._loop.call_soon_threadsafe(self._stop)
        thread.join(_STOP_TIMEOUT_S)

    def wait(self) -> None:
        """Wait until another thread or Ctrl-C closes the server."""
        while self._thread is not None:
            # Without a timeout, Ctrl-C would not interrupt the wait on Windows.
            self._thread.join(0.2)

    def __enter__(self) -> ProviderServer:
        return self.start()

    def __exit__(self, kind: object = None, *exc: object) -> None:
        self.close()
        if kind is None and self.failures:
            raise self.failures[0]

    @property
    def base_url(self) -> str:
        """The origin, such as `http://127.0.0.1:8000`.

        Anthropic's clients take it unchanged, OpenAI's need `/v1` after it: see `base_url_for`.
        """
        return f"http://127.0.0.1:{self._port}"

    def base_url_for(self, wire: Wire) -> str:
        """Return the `base_url` for clients of a wire: the origin, with `/v1` or the like where they need it.

        Raises: `InvalidArgument` for an unknown wire.
        """
        if wire not in MODELS:
            raise InvalidArgument(f"There is no wire `{wire}`. {did_you_mean(wire, list(MODELS))}")
        return self.base_url + ext.wire_named(wire).version_path

    def model(self, wire: Wire = "openai", **arguments: Any) -> BaseChatModel:
        """Return a chat model that calls this server; `arguments` are passed to its class.

        Raises: `InvalidArgument` for an unknown wire.
        """
        base_url = self.base_url_for(wire)
        own = {"model": MODELS[wire], "base_url": base_url, "api_key": "test-key"}
        return ext.wire_named(wire).make_model(**{**own, **arguments})

    def embeddings(self, provider: str = "openai", **arguments: Any) -> Embeddings:
        """Return an embeddings model of a provider that calls this server; `arguments` are passed to its class.

        Each text determines its vector, which has length 1: `unit_vector` of `modelwire.testing.server.embeddings`.
        """
        return embeddings_model(provider, self.base_url, arguments)

    def say(self, *answers: Any) -> None:
        """Add answers to the end of the script."""
        self._script.extend(map(sayable, answers))

    @property
    def default(self) -> Any:
        """The answer to requests after the last one in the script."""
        return self._script.default

    @default.setter
    def default(self, answer: Any) -> None:
        self._script.default = sayable(answer)

    @property
    def batches(self) -> BatchDesk:
        """The batches that clients have created, and the files.

        Set it to a `BatchPlan` for all later batches, or to a list with one for each of the next batches.
        """
        return self._batches

    @batches.setter
    def batches(self, plans: BatchPlan | Sequence[BatchPlan]) -> None:
        self._batches.set_plans(plans)

    @property
    def limits(self) -> Limits:
        """The rate limits.

        Set it to change them while the server runs. Requests and tokens that were used still count.
        """
        return self._chat.limiter.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        if not isinstance(limits, Limits):
            raise InvalidType(
                f"`limits` must be `Limits`, such as `Limits(rpm=600)`, not {limits!r:.100}."
            )
        if self._loop is None or self._thread is None:
            self._chat.limiter.change(limits, self.now_s())
        else:
            self._loop.call_soon_threadsafe(self._chat.limiter.change, limits, self.now_s())

    @property
    def stored_prompts(self) -> StoredPrompts:
        """The prompts that clients have stored under a name: Gemini's `cachedContents`."""
        return self._chat.prompt_cache.stored

    @property
    def faults(self) -> Sequence[Rule]:
        """The rules that make requests fail. The first rule whose conditions hold is used."""
        return self._chat.rules.rules

    @faults.setter
    def faults(self, wanted: Sequence[Rule] | Mapping[str, float]) -> None:
        self._chat.rules = FaultRules(wanted)

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests so far, oldest first: all of them, or the last `keep`."""
        return list(self._seen.requests)

    @property
    def counts(self) -> Counts:
        """The counts of all requests and their outcomes."""
        return self._seen.counts

    def now_s(self) -> float:
        """Return the seconds since the start, on the server's own clock (`time_scale`)."""
        return (time.monotonic() - self._started_s) / self.time_scale

    def _handle(self, request: SeenRequest) -> bytes | Steps:
        self._seen.begin(request, self.now_s())
        try:
            reply = _answer(self, request)
            if not isinstance(reply, Reply):
                return reply
            if request.method == "HEAD":
                return reply.head()
            return reply.steps()
        except Exception as exc:  # noqa: BLE001 - functions of the user's
            self.failures.append(exc)
            message = f"The script failed: {exc!r}"
            wire = request.wire or "openai"
            return error_reply(wire, 500, number=request.number, message=message).steps()

    def _finished(self, request: SeenRequest, whole: bool) -> None:  # noqa: FBT001 - called by a connection
        now_s = self.now_s()
        self._chat.finish(request, now_s)
        self._seen.end(request, now_s, whole=whole)


def _run(server: ProviderServer, ready: threading.Event, trouble: list[OSError]) -> None:
    """Serve in a thread of its own until the server is closed."""
    import asyncio

    async def serve() -> None:
        loop = server._loop = asyncio.get_running_loop()
        stopping = asyncio.Event()
        server._stop = stopping.set

        def connection() -> Any:
            server.counts.connections += 1
            return Connection(
                server._handle, server._finished, loop, server._connections, server.time_scale
            )

        try:
            listener = await loop.create_server(connection, "127.0.0.1", server._port, backlog=4096)
        except OSError as exc:
            trouble.append(exc)
            return
        server._port = listener.sockets[0].getsockname()[1]
        server._started_s = time.monotonic()
        ready.set()
        await stopping.wait()
        listener.close()
        for one in list(server._connections):
            one.close()
        # During this step of the loop the connections learn of their loss and cancel their tasks.
        await asyncio.sleep(0)

    # The tables are read before the loop runs, so that no request waits for a file.
    request_rules.table("request_fields.json")
    request_rules.table("strict_modes.json")
    try:
        asyncio.run(serve())
    finally:
        ready.set()


def _answer(server: ProviderServer, request: SeenRequest) -> Response:
    """Return the response to a request, of a chat API or of another endpoint."""
    path = request.path.rstrip("/")
    if not is_of_this_machine(request.headers):
        message = "This server only answers this machine, and no web pages of another host: see `Host` and `Origin`."
        return error_reply("openai", 403, number=request.number, message=message)
    if request.method == "POST":
        wires = (wire for end, wire in _WIRE_OF_PATH.items() if path.endswith(end))
        request.wire = next(wires, None)
        request.embeddings = embeddings_wire(path)
        if request.embeddings is not None:
            # Its errors have the format of the provider's chat API, or OpenAI's if it has none.
            if request.embeddings in WIRES:
                request.wire = request.embeddings
            else:
                request.wire = "openai"
        if request.wire is not None:
            return server._chat.handle(request, request.wire, server.counts.in_flight)
    return (
        server.background.handle(request, path)
        or server._chat.prompt_cache.stored.handle(request, path, server.now_s())
        or server.batches.handle(request, server.base_url)
        or other_reply(request, path)
    )

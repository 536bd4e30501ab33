"""`ProviderServer`: a provider on loopback with prepared answers, on all wires, that records requests.

It runs on an event loop in a thread of its own. Functions in a script run there, too, and delay all
answers meanwhile.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from modelwire import ext
from modelwire.errors import ConnectFailed, InvalidArgument, InvalidType, did_you_mean
from modelwire.testing.server.answers import Answer, Call
from modelwire.testing.server.background import BackgroundDesk
from modelwire.testing.server.batches import BatchDesk, BatchPlan
from modelwire.testing.server.connection import Connection
from modelwire.testing.server.fault_rules import FaultRules
from modelwire.testing.server.faults import Fault, Rule, status_and_json
from modelwire.testing.server.limits import Limiter, Limits, check_number
from modelwire.testing.server.replies import End, Reply, Step, json_reply
from modelwire.testing.server.requests import Counts, Seen, SeenRequest, is_of_this_machine
from modelwire.testing.server.script import Script, answer_of, sayable
from modelwire.testing.server.strict_modes import strict_problem
from modelwire.testing.server.wires import (
    WIRES,
    answer_reply,
    body_of,
    error_reply,
    raw_reply,
    server_wire,
)

if TYPE_CHECKING:
    import asyncio
    from types import TracebackType

    from modelwire.adapters import BaseChatModel

__all__ = ["Lognormal", "ProviderServer"]

Wire = Literal["openai", "responses", "anthropic", "bedrock", "gemini"]
# These wires have their lists of models at another path, or in another form.
_OWN_LISTS = ("bedrock", "gemini")
_LISTED = {row.model for name, row in WIRES.items() if name not in _OWN_LISTS}
MODELS: dict[str, str] = {name: row.model for name, row in WIRES.items()}
_WIRE_OF_PATH = {
    path: name for name, row in WIRES.items() for path in (row.path, row.stream_path) if path
}
# This maps the path that counts tokens to the field with the count.
_COUNTS = {
    "/messages/count_tokens": "input_tokens",
    "/responses/input_tokens": "input_tokens",
    "/count-tokens:rawPredict": "input_tokens",
    ":countTokens": "totalTokens",
    "/count-tokens": "inputTokens",
}
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A latency that is usually near its median and sometimes far above it."""

    median_s: float
    sigma: float = 0.4

    def draw(self, rng: random.Random) -> float:
        return self.median_s * rng.lognormvariate(0, self.sigma)


Latency = float | Lognormal | Callable[[SeenRequest], float]


def echo(request: SeenRequest) -> Answer:
    """Return the user's text: the answer of a server without a script."""
    return Answer(request.text)


class ProviderServer:
    """Serve the providers' wires on a loopback port, in a thread of its own, until it is closed.

    `answers` are sent in order, one for each request. `default` is sent after the last one, or if
    there are none; by default it repeats the user's text. An entry may be a text, an `Answer`, an
    `AIMessage`, a dict (a body, sent unchanged), a list of events, bytes, a `Fault`, a
    `ProviderError`, or a function of the request that returns one of these. `faults` happen at
    random or by rule: `Rule`s, or probabilities by the names of `faults.NAMED`. `latency` is in
    seconds. `time_scale=0.01` makes each of the server's seconds a hundredth of one, so that
    minutes of rate limits pass in a test. `keep` limits the length of `requests`; `counts` are
    exact anyway. `seed` makes random choices the same in every run.

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
        seed: int = 0,
        keep: int | None = None,
        port: int = 0,
    ) -> None:
        if isinstance(answers, str):
            answers = [answers]
        check_number("time_scale", time_scale)
        check_number("chunk_gap_s", chunk_gap_s, least=0, unit="seconds")
        if not callable(latency):
            median_s = latency.median_s if isinstance(latency, Lognormal) else latency
            check_number("latency", median_s, least=0, unit="seconds")
        if not 0 <= port <= 65535:
            raise InvalidArgument(f"`port` must be from 0 to 65535, not {port}.")
        self.latency = latency
        self.chunk_gap_s = chunk_gap_s
        self.time_scale = time_scale
        self._batches = BatchDesk(self._row, self.now_s, () if batches is None else batches)
        # These errors were raised by functions in the script; the client got a 500.
        self.failures: list[Exception] = []
        self.background = BackgroundDesk()
        self._script = Script(answers, sayable(default))
        self._rng = random.Random(seed)  # noqa: S311 - not for secrets: the same in every run
        self._limiter = Limiter(Limits())
        self._seen = Seen(keep)
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        # It is called on the event loop, and does nothing before the loop runs.
        self._stop: Callable[[], object] = bool
        self._connections: set[Connection] = set()
        self._started_s = time.monotonic()
        # These tokens are reserved by requests in flight.
        self._charged: dict[int, tuple[tuple[str, str], float]] = {}
        self._chat_calls = 0
        self.faults = faults
        if limits is not None:
            self.limits = limits

    def start(self) -> ProviderServer:
        """Start to listen, and return. `with` calls it, too.

        Raises: `ConnectFailed` if the port is taken.
        """
        if self._thread is not None:
            return self
        ready, trouble = threading.Event(), list[OSError]()
        self._thread = threading.Thread(
            target=self._run, args=(ready, trouble), name="modelwire-provider-server", daemon=True
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
        thread, self._thread = self._thread, None
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
        if kind is None and self.failures:
            raise self.failures[0]

    def _run(self, ready: threading.Event, trouble: list[OSError]) -> None:
        import asyncio

        async def serve() -> None:
            loop = self._loop = asyncio.get_running_loop()
            stopping = asyncio.Event()
            self._stop = stopping.set

            def connection() -> Any:
                self.counts.connections += 1
                return Connection(
                    self._handle, self._finished, loop, self._connections, self.time_scale
                )

            try:
                listener = await loop.create_server(
                    connection, "127.0.0.1", self._port, backlog=4096
                )
            except OSError as exc:
                trouble.append(exc)
                return
            self._port = listener.sockets[0].getsockname()[1]
            self._started_s = time.monotonic()
            ready.set()
            await stopping.wait()
            listener.close()
            for one in list(self._connections):
                one.close()
            # The connections are notified of their loss, and their tasks end.
            await asyncio.sleep(0)

        try:
            asyncio.run(serve())
        finally:
            ready.set()

    @property
    def base_url(self) -> str:
        """The origin.

        Anthropic's clients take it unchanged, OpenAI's need `/v1` after it: `base_url_for`.
        """
        return f"http://127.0.0.1:{self._port}"

    def base_url_for(self, wire: Wire) -> str:
        """Return the `base_url` that the clients of a wire take.

        Raises: `InvalidArgument` for an unknown one.
        """
        if wire not in MODELS:
            raise InvalidArgument(f"There is no wire `{wire}`. {did_you_mean(wire, list(MODELS))}")
        return self.base_url + ext.wire_named(wire).version_path

    def model(self, wire: Wire = "openai", **arguments: Any) -> BaseChatModel:
        """Return a chat model that calls this server; `arguments` are those of its class.

        Raises: `InvalidArgument` for an unknown wire.
        """
        base_url = self.base_url_for(wire)
        own = {"model": MODELS[wire], "base_url": base_url, "api_key": "test-key"}
        return ext.wire_named(wire).make_model(**{**own, **arguments})

    def say(self, *answers: Any) -> None:
        """Add answers to the script."""
        self._script.extend(map(sayable, answers))

    @property
    def default(self) -> Any:
        """The answer after the last one of the script."""
        return self._script.default

    @default.setter
    def default(self, answer: Any) -> None:
        self._script.default = sayable(answer)

    @property
    def batches(self) -> BatchDesk:
        """The created batches and the files.

        It can be set to a `BatchPlan` for later batches, or to a list of them.
        """
        return self._batches

    @batches.setter
    def batches(self, plans: BatchPlan | Sequence[BatchPlan]) -> None:
        self._batches.set_plans(plans)

    @property
    def limits(self) -> Limits:
        """The rate limits.

        They can be changed while the server runs; what was spent stays spent.
        """
        return self._limiter.limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        if not isinstance(limits, Limits):
            raise InvalidType(
                f"`limits` must be `Limits`, such as `Limits(rpm=600)`, not {limits!r:.100}."
            )
        if self._loop is None or self._thread is None:
            self._limiter.change(limits, self.now_s())
        else:
            self._loop.call_soon_threadsafe(self._limiter.change, limits, self.now_s())

    @property
    def faults(self) -> Sequence[Rule]:
        """The faults that happen by themselves. The first rule that holds is used."""
        return self._rules.rules

    @faults.setter
    def faults(self, wanted: Sequence[Rule] | Mapping[str, float]) -> None:
        self._rules = FaultRules(wanted)

    @property
    def requests(self) -> list[SeenRequest]:
        """The requests so far, oldest first: all of them, or the last `keep`."""
        return list(self._seen.requests)

    @property
    def counts(self) -> Counts:
        """The counts of all requests and their outcomes."""
        return self._seen.counts

    def now_s(self) -> float:
        """Return the seconds since the start, on the server's own clock."""
        return (time.monotonic() - self._started_s) / self.time_scale

    def _handle(self, request: SeenRequest) -> bytes | Iterable[Step]:
        self._seen.begin(request, self.now_s())
        if not is_of_this_machine(request.headers):
            message = "This server answers this machine only, and no web page of another: see `Host` and `Origin`."
            return error_reply("openai", 403, number=request.number, message=message).steps()
        try:
            return self._answer(request, request.path.rstrip("/"))
        except Exception as exc:  # noqa: BLE001 - functions of the user's
            self.failures.append(exc)
            message = f"The script failed: {exc!r}"
            return error_reply(
                request.wire or "openai", 500, number=request.number, message=message
            ).steps()

    def _answer(self, request: SeenRequest, path: str) -> bytes | Iterable[Step]:
        if request.method == "POST":
            request.wire = next(
                (wire for end, wire in _WIRE_OF_PATH.items() if path.endswith(end)), None
            )
            if request.wire is not None:
                return self._chat(request)
        if (found := self.background.handle(request, path)) is not None:
            return found.steps()
        reply = self.batches.handle(request, self.base_url) or self._other(request, path)
        if request.method == "HEAD" and isinstance(reply, Reply):
            return reply.head()
        if isinstance(reply, Reply):
            return reply.steps()
        return reply

    def _finished(self, request: SeenRequest, whole: bool) -> None:  # noqa: FBT001 - called by a connection
        now_s = self.now_s()
        charged = self._charged.pop(request.number, None)
        if charged is not None:
            self._limiter.settle(*charged, now_s)
        self._seen.end(request, now_s, whole=whole)

    def _chat(self, request: SeenRequest) -> bytes | Iterable[Step]:
        wire, number = request.wire or "", request.number
        self._chat_calls += 1
        if not isinstance(request.body, dict):
            return error_reply(
                wire, 400, number=number, message="The body is not a JSON object."
            ).steps()
        fault = self._rules.choose(request, self._chat_calls, self.now_s(), self._rng)
        if fault is not None and fault.name.startswith("status_"):
            # During an outage, rate limits are not counted.
            return self._spoiled(fault, request, None)
        limited = self._limit(request)
        if isinstance(limited, Reply):
            return limited.steps()
        problem = strict_problem(wire, request)
        if problem is not None:
            return error_reply(wire, 400, number=number, message=problem).steps()
        entry = self._script.take()
        answer = answer_of(entry, request)
        if fault is not None:
            # The retry gets the answer that this request would have got.
            self._script.put_back(entry)
            answer = fault.on(answer) if fault.answer is None else fault
        return self._steps(answer, request, limited)

    def _steps(
        self, answer: Any, request: SeenRequest, headers: dict[str, str]
    ) -> bytes | Iterable[Step]:
        if isinstance(answer, bytes):
            return iter((answer, End.CLOSE))
        if isinstance(answer, Fault):
            return self._spoiled(answer, request, headers)
        return self._reply(answer, request, headers).steps()

    def _spoiled(
        self, fault: Fault, request: SeenRequest, headers: dict[str, str] | None
    ) -> Iterable[Step]:
        request.fault = fault.name
        answer = answer_of(
            "" if headers is None else (fault.answer or self._script.default), request
        )
        if isinstance(answer, (Fault, bytes)):  # These cannot be damaged by another fault.
            answer = Answer()
        good = self._reply(answer, request, headers or {})
        return fault.play(good, request.wire or "", request.number)

    def _reply(self, answer: Any, request: SeenRequest, headers: dict[str, str]) -> Reply:
        call = _call(request, answer if isinstance(answer, Answer) else Answer())
        if not isinstance(answer, Answer):
            reply = raw_reply(answer, call)
            own_latency_s = own_gap_s = None
        else:
            self._settle_later(request, call)
            reply = answer_reply(answer, call)
            own_latency_s, own_gap_s = answer.latency_s, answer.chunk_gap_s
        if request.fields.get("background") is True:  # which only the Responses API has
            reply = self._in_background(answer, call, reply)
        reply.headers.update(headers)
        reply.latency_s = self._latency_s(request) if own_latency_s is None else own_latency_s
        reply.gap_s = self.chunk_gap_s if own_gap_s is None else own_gap_s
        return reply

    def _in_background(self, answer: Any, call: Call, reply: Reply) -> Reply:
        if isinstance(answer, Answer):
            return self.background.begin(body_of(answer, call), reply, answer.polls)
        if isinstance(answer, dict):
            return self.background.begin(answer, reply, 1)
        return reply

    def _latency_s(self, request: SeenRequest) -> float:
        latency = self.latency
        if isinstance(latency, Lognormal):
            return latency.draw(self._rng)
        if callable(latency):
            return latency(request)
        return latency

    def _limit(self, request: SeenRequest) -> Reply | dict[str, str]:
        """Return the reply that rejects a request, or the headers for an admitted one."""
        limits, wire, number = self._limiter.limits, request.wire or "", request.number
        if (
            limits.max_concurrent is not None
            and self._seen.counts.in_flight > limits.max_concurrent
        ):
            return error_reply(wire, limits.busy_status, number=number)
        if limits.rpm is None and limits.tpm is None:
            return {}
        at, now_s = (request.key_hash, request.model), self.now_s()
        tokens = _reserved_tokens(request)
        refused = self._limiter.admit(at, tokens, now_s)
        headers = self._limiter.headers(
            at,
            server_wire(wire).limit_headers,
            now_s,
            refused,
            scale=self.time_scale,
            epoch_s=time.time(),
        )
        if refused is None:
            self._charged[number] = at, tokens
            return headers
        return error_reply(
            wire, 429, number=number, headers=headers, message=f"Too many {refused.of}."
        )

    def _settle_later(self, request: SeenRequest, call: Call) -> None:
        if request.number in self._charged:
            at, reserved = self._charged[request.number]
            self._charged[request.number] = at, reserved - call.usage.total

    def _row(self, wire: str, body: dict[str, Any], number: int) -> tuple[int, Any]:
        """Return status and body of one row of a batch, which takes its answer from the script like any request."""
        from pydantic_core import to_json

        request = SeenRequest("POST", "", {}, to_json(body))
        request.wire, request.number = wire, number
        answer = answer_of(self._script.take(), request)
        if isinstance(answer, Fault):
            good = self._reply(answer_of("", request), request, {})
            return status_and_json(answer.play(good, wire, number))
        if isinstance(answer, dict):
            return 200, answer
        return 200, body_of(answer, _call(request, answer))

    def _other(self, request: SeenRequest, path: str) -> Reply:
        of_anthropic = "anthropic-version" in request.headers
        wire = "anthropic" if of_anthropic else "openai"
        counted = next((name for end, name in _COUNTS.items() if path.endswith(end)), None)
        if request.method == "POST" and counted is not None:
            # Tokens are counted by bytes, as for the rate limits.
            return json_reply(200, {counted: max(1, len(request.content) // 4)})
        if request.method == "GET" and path.endswith("/models"):
            rows = [_model_row(name, of_anthropic=of_anthropic) for name in sorted(_LISTED)]
            page = {"has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
            return json_reply(200, {"data": rows, **(page if of_anthropic else {"object": "list"})})
        if request.method == "GET" and "/models/" in path:
            return json_reply(200, _model_row(path.rpartition("/")[2], of_anthropic=of_anthropic))
        message = f"There is nothing at {request.method} {request.path}. OpenAI's clients want a `base_url` with `/v1`."
        return error_reply(wire, 404, number=request.number, message=message, code="not_found")


def _call(request: SeenRequest, answer: Answer) -> Call:
    options = request.fields.get("stream_options")
    return Call(
        request.wire or "",
        request.number,
        request.model,
        request.stream,
        answer.tokens(len(request.content)),
        isinstance(options, dict) and options.get("include_usage") is True,
        tier=request.fields.get("service_tier"),
    )


def _reserved_tokens(request: SeenRequest) -> float:
    """Return the tokens that a request reserves at its start: its own, and the longest answer that it allows."""
    fields = request.fields
    allowed = next(
        (
            fields[name]
            for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")
            if fields.get(name)
        ),
        0,
    )
    return len(request.content) // 4 + (allowed if isinstance(allowed, int) else 0)


def _model_row(name: str, *, of_anthropic: bool) -> dict[str, Any]:
    if of_anthropic:
        row = {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": "2025-01-01T00:00:00Z",
        }
        return {**row, "lifecycle": "active"}
    return {"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "modelwire"}

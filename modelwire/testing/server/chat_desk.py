"""How the server answers chat calls: rate limits, faults, the script, latencies. No I/O.

A call passes these in order: a fault that simulates an outage, the rate limits, the rules of its
provider, and then the script, whose answer another fault may damage.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic_core import from_json, to_json

from modelwire.aliases import JSON
from modelwire.testing.server.answers import Answer, Call, Usage
from modelwire.testing.server.embeddings import (
    EMBEDDINGS,
    embeddings_body,
    embeddings_problem,
    embeddings_reply,
)
from modelwire.testing.server.fault_rules import FaultRules
from modelwire.testing.server.faults import Fault
from modelwire.testing.server.limits import KeyAndModel, Limiter, Limits, check_number
from modelwire.testing.server.prompt_cache import Cached, PromptCache, Refused
from modelwire.testing.server.replies import End, Headers, Reply, Response
from modelwire.testing.server.request_rules import Problem
from modelwire.testing.server.requests import SeenRequest
from modelwire.testing.server.script import Script, answer_of
from modelwire.testing.server.strict_modes import strict_problem
from modelwire.testing.server.wires import (
    answer_reply,
    body_of,
    error_body,
    error_reply,
    raw_reply,
    server_wire,
)

if TYPE_CHECKING:
    from modelwire.testing.server.background import BackgroundDesk

# A request may limit the tokens of its answer in one of these fields.
_LONGEST_ANSWER = ("max_tokens", "max_completion_tokens", "max_output_tokens")


@dataclass(frozen=True, slots=True)
class Lognormal:
    """A latency that is usually near its median and sometimes far above it."""

    median_s: float
    sigma: float = 0.4

    def draw(self, rng: random.Random) -> float:
        return self.median_s * rng.lognormvariate(0, self.sigma)


Latency = float | Lognormal | Callable[[SeenRequest], float]


def check_latency(latency: Latency) -> None:
    """Raise `InvalidArgument` for a latency below 0."""
    if callable(latency):
        return
    if isinstance(latency, Lognormal):
        median_s = latency.median_s
    else:
        median_s = latency
    check_number("latency", median_s, least=0, unit="seconds")


class Pace(Protocol):
    """The settings and the clock of a `ProviderServer`, which `ChatDesk` reads at each call."""

    latency: Latency
    strict: bool
    chunk_gap_s: float
    time_scale: float

    def now_s(self) -> float: ...


class ChatDesk:
    """Answers the chat calls of a server."""

    def __init__(
        self, pace: Pace, script: Script, background: BackgroundDesk, rng: random.Random
    ) -> None:
        self.rules = FaultRules(())
        self.limiter = Limiter(Limits())
        self.prompt_cache = PromptCache()
        self._pace = pace
        self._script = script
        self._background = background
        self._rng = rng
        self._calls = 0
        # The keys are the numbers of requests in flight, the values the tokens that they reserve.
        self._reserved: dict[int, tuple[KeyAndModel, float]] = {}

    def handle(self, request: SeenRequest, wire: str, in_flight: int) -> Response:
        """Return the answer to a chat call. `in_flight` counts the server's open requests, including this one."""
        self._calls += 1
        if not isinstance(request.body, dict):
            message = "The body is not a JSON object."
            return error_reply(wire, 400, number=request.number, message=message)
        fault = self.rules.choose(request, self._calls, self._pace.now_s(), self._rng)
        if fault is not None and fault.name.startswith("status_"):
            # During an outage, rate limits are not counted.
            return self._spoiled(fault, "", request, {})
        limited = self._limit(request, wire, in_flight)
        if isinstance(limited, Reply):
            return limited
        cached = self._refused_or_cached(wire, request)
        if isinstance(cached, Reply):
            return cached
        request.prompt_cache = cached
        entry = self._script.take()
        answer = answer_of(entry, request)
        if fault is not None:
            # The retry gets the answer that this request would have got.
            self._script.put_back(entry)
            if fault.answer is None:
                answer = fault.on(answer)
            else:
                answer = fault
        if isinstance(answer, bytes):
            return iter((answer, End.CLOSE))
        if isinstance(answer, Fault):
            good = answer.answer or self._script.default
            return self._spoiled(answer, good, request, limited)
        reply = self._reply(answer, request, limited)
        self.prompt_cache.store(cached, self._pace.now_s() + reply.latency_s)
        return reply

    def _refused_or_cached(self, wire: str, request: SeenRequest) -> Reply | Cached:
        """Return an error if the provider would reject the request, else its tokens in the prompt cache."""
        number = request.number
        problem = self._problem(wire, request)
        if problem is not None:
            return error_reply(wire, 400, number=number, **problem._asdict())
        cached = self.prompt_cache.look_up(wire, request, self._pace.now_s())
        if isinstance(cached, Refused):
            return error_reply(wire, cached.status, number=number, message=cached.message)
        return cached

    def _problem(self, wire: str, request: SeenRequest) -> Problem | None:
        """Return the reason why the provider would reject a request, or None."""
        if request.embeddings is not None:
            return embeddings_problem(request.embeddings, request)
        schema = strict_problem(wire, request)
        if schema is not None:
            return Problem(schema)
        if self._pace.strict:
            return next(server_wire(wire).problems(request.fields, request), None)
        return None

    def finish(self, request: SeenRequest, now_s: float) -> None:
        """Release the tokens that an ended request had reserved and did not use."""
        reserved = self._reserved.pop(request.number, None)
        if reserved is not None:
            self.limiter.settle(*reserved, now_s)

    def row(self, wire: str, body: JSON, number: int) -> tuple[int, Any]:
        """Return the HTTP status and the body for one row of a batch; its answer comes from the script, too."""
        # A header of the batch's own request names the betas, so a row may have the fields of all betas.
        request = SeenRequest("POST", "?beta=true", {}, to_json(body))
        if wire == EMBEDDINGS:
            wire = request.embeddings = "openai"
        request.wire = wire
        request.number = number
        problem = self._problem(wire, request)
        if problem is not None:
            return 400, error_body(wire, 400, number=number, **problem._asdict())
        answer = answer_of(self._script.take(), request)
        if isinstance(answer, Fault):
            reply = answer.play(self._reply(Answer(), request, {}), wire, number)
            if isinstance(reply, Reply):
                return reply.status, from_json(reply.body or b"null")
            # A row has no connection that a fault could break.
            return 500, None
        if isinstance(answer, dict):
            return 200, answer
        if request.embeddings is not None:
            return 200, embeddings_body(request.embeddings, request)
        return 200, body_of(answer, _call(request, answer))

    def _spoiled(
        self, fault: Fault, entry: Any, request: SeenRequest, headers: Headers
    ) -> Response:
        """Return the response of a fault that damages the answer of `entry`, an entry of the script."""
        request.fault = fault.name
        answer = answer_of(entry, request)
        if isinstance(answer, (Fault, bytes)):  # These cannot be damaged by another fault.
            answer = Answer()
        good = self._reply(answer, request, headers)
        return fault.play(good, request.wire or "", request.number)

    def _reply(self, answer: Any, request: SeenRequest, headers: Headers) -> Reply:
        if isinstance(answer, Answer):
            facts = answer
        else:
            facts = Answer()
        call = _call(request, facts)
        if facts is answer:
            self._use_tokens(request, call)
            if request.embeddings is not None:
                reply = embeddings_reply(request.embeddings, request, call)
            else:
                reply = answer_reply(facts, call)
        else:
            reply = raw_reply(answer, call)
        if request.fields.get("background") is True:  # Only the Responses API has this field.
            reply = self._in_background(answer, call, reply)
        reply.headers.update(headers)
        reply.latency_s = self._latency_s(facts, request)
        gap_s = facts.chunk_gap_s
        if gap_s is None:
            gap_s = self._pace.chunk_gap_s
        reply.gap_s = gap_s
        return reply

    def _in_background(self, answer: Any, call: Call, reply: Reply) -> Reply:
        if isinstance(answer, Answer):
            return self._background.begin(body_of(answer, call), reply, answer.polls)
        if isinstance(answer, dict):
            return self._background.begin(answer, reply, 1)
        return reply

    def _latency_s(self, facts: Answer, request: SeenRequest) -> float:
        latency = self._pace.latency
        if facts.latency_s is not None:
            latency = facts.latency_s
        if isinstance(latency, Lognormal):
            return latency.draw(self._rng)
        if callable(latency):
            return latency(request)
        return latency

    def _limit(self, request: SeenRequest, wire: str, in_flight: int) -> Reply | Headers:
        """Return the reply that rejects a request, or the headers for an admitted one."""
        limits = self.limiter.limits
        number = request.number
        if limits.max_concurrent is not None and in_flight > limits.max_concurrent:
            return error_reply(wire, limits.busy_status, number=number)
        if limits.rpm is None and limits.tpm is None:
            return {}
        at = (request.key_hash, request.model)
        now_s = self._pace.now_s()
        tokens = _tokens_to_reserve(request)
        refused = self.limiter.admit(at, tokens, now_s)
        headers = self.limiter.headers(
            at,
            server_wire(wire).limit_headers,
            now_s,
            refused,
            scale=self._pace.time_scale,
            epoch_s=time.time(),
        )
        if refused is None:
            self._reserved[number] = at, tokens
            return headers
        message = f"Too many {refused.of}."
        return error_reply(wire, 429, number=number, headers=headers, message=message)

    def _use_tokens(self, request: SeenRequest, call: Call) -> None:
        """Subtract the usage of an answer from the tokens that its request has reserved."""
        if request.number in self._reserved:
            at, reserved = self._reserved[request.number]
            self._reserved[request.number] = at, reserved - call.usage.total


def _call(request: SeenRequest, answer: Answer) -> Call:
    options = request.fields.get("stream_options")
    return Call(
        request.wire or "",
        request.number,
        request.model,
        request.stream,
        _usage(answer, request),
        isinstance(options, dict) and options.get("include_usage") is True,
        tier=request.fields.get("service_tier"),
        background=request.fields.get("background") is True,
    )


def _usage(answer: Answer, request: SeenRequest) -> Usage:
    """Return the usage of an answer: as its script says, else with the counts of the prompt cache."""
    cached = request.prompt_cache or Cached()
    usage = answer.tokens(len(request.content) - cached.mark_bytes)
    if "input_tokens" in answer.usage or "cached_tokens" in answer.usage:
        return usage
    written: dict[str, int] = {}
    if cached.tells_writes:
        written = cached.written
    at_least = cached.read + sum(written.values())
    return Usage(
        max(usage.input_tokens + cached.stored_tokens, at_least),
        usage.output_tokens,
        cached.read,
        usage.reasoning_tokens,
        written,
    )


def _tokens_to_reserve(request: SeenRequest) -> float:
    """Return the estimated tokens of a request and of the longest answer that it allows."""
    own = len(request.content) // 4
    for name in _LONGEST_ANSWER:
        longest = request.fields.get(name)
        if longest and isinstance(longest, int):
            return own + longest
    return own

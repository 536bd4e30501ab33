"""The state of one call, and the steps that its flow may yield. No I/O here, and no clock but the one passed in.

A flow (`call.py`) is a generator: it yields a step and is sent the result. The drivers (`drivers.py`) execute the step.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from modelwire.errors import ChatError, RetryClass, Timeout
from modelwire.records import NamedTuple
from modelwire.transport.connections.body import MAX_RESPONSE_BYTES, MAX_STREAM_BYTES
from modelwire.transport.connections.keepalive import USUAL, Keepalive
from modelwire.transport.listeners import warn_of
from modelwire.transport.ratelimit.admission import Admission, RoutedCall
from modelwire.transport.retry import History, RetryPolicy
from modelwire.transport.wire import Reply, ServerEvent

if TYPE_CHECKING:
    from random import Random

    from modelwire.transport.observer import CallObserver
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

__all__ = [
    "READ",
    "SEND",
    "AnyExchange",
    "Call",
    "CallPolicy",
    "Exchange",
    "Flow",
    "Hooks",
    "Pause",
    "Read",
    "Request",
    "Send",
    "Sign",
    "Sleep",
    "Step",
    "Timeouts",
    "Wait",
    "wait_reporting",
]

M = TypeVar("M")  # a message
C = TypeVar("C")  # a chunk of a message
T = TypeVar("T")
M_co = TypeVar("M_co", covariant=True)


class Decoder(Protocol[C]):
    request_id: str | None

    def feed(self, event: ServerEvent) -> list[C]: ...
    def close(self) -> list[C]: ...


class Wire(Protocol[M_co, C]):
    """The methods of a codec that flows use.

    A codec whose streams are not server-sent events also has `framing(max_event_bytes=)`.
    """

    @property
    def provider(self) -> str: ...
    def decode(self, reply: Reply) -> M_co: ...
    def stream_decoder(self, headers: Mapping[str, str]) -> Decoder[C]: ...
    def error(self, reply: Reply) -> ChatError: ...


class Continuation(Protocol[M, C]):
    """Continues an answer that the provider has suspended: see `adapters.model.continuation`."""

    def is_suspended(self, part: M | C) -> bool: ...
    def next_content(self, answer: M) -> bytes: ...
    def joined(self, answer: M, part: M) -> M: ...
    def message(self, chunk: C) -> M: ...
    def opened(self, end: C) -> C: ...
    def next_part(self, before: C) -> Callable[[Sequence[C]], list[C]]: ...
    def added(self, before: C, part: C) -> C: ...


class Refusals(Protocol[C]):
    """Judges how a stream has ended: see `adapters.model.refusals`."""

    def may_end(self, chunk: C) -> bool: ...
    def error(self, whole: C, provider: str) -> ChatError | None: ...
    def ending(self, whole: C, end: list[C]) -> list[C]: ...


class Timeouts(NamedTuple):
    """How long one attempt may stay silent, in seconds. All of them are finite."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0  # The time between two reads of the body; a ping is a read, too.
    keepalive: Keepalive | None = USUAL  # Without it, only the timeouts notice that a peer is gone.


class Send:
    """The step that sends the request. The result is the `Reply`; for a stream, its head with an empty `body`."""

    __slots__ = ("remaining_s", "stream")

    def __init__(self, *, stream: bool, remaining_s: float | None) -> None:
        self.stream = stream
        self.remaining_s = remaining_s  # The time until the call's deadline, None without one.


SEND: Final = Send(stream=False, remaining_s=None)


class Read:
    """The step that reads. The result is the next bytes of the open answer, b"" for none yet, None at its end."""

    __slots__ = ()


READ: Final = Read()


class Pause:
    """The step that waits for a number of seconds, without a connection."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class Sleep(Pause):
    """The step that waits before another attempt, because of `error`."""

    __slots__ = ("attempt", "error", "expected_s")

    def __init__(
        self, seconds: float, error: ChatError, attempt: int, expected_s: float | None = None
    ) -> None:
        self.seconds = seconds
        self.error = error
        self.attempt = attempt  # The number of attempts that have failed.
        # The seconds until the next attempt, with the time for which the limiter will queue it.
        self.expected_s = max(seconds, expected_s or 0.0)


class Call:
    """The step that calls a function of the user. The result is what it returns, awaited in an async call."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function


class Sign(Call):
    """The step that calls the function that signs an attempt; a `ChatError` from it is a failure of the attempt."""

    __slots__ = ()


class Wait:
    """The step that waits until the limiter wakes `admission`, at most `seconds`, without a connection."""

    __slots__ = ("admission", "seconds")

    def __init__(self, admission: Admission, seconds: float) -> None:
        self.admission = admission
        self.seconds = seconds


def wait_reporting(exchange: AnyExchange, step: Sleep | Wait) -> Flow[Any, None]:
    """Wait, and report the beginning and the end to the observers, which may raise to end the call."""
    announced_to: list[CallObserver] = []
    try:
        for observer in exchange.observers:
            telling = observer.waiting(step)
            announced_to.append(observer)
            if telling is not None:
                yield Call(lambda telling=telling: telling)  # type: ignore[misc]  # mypy knows no such default
        if isinstance(step, Sleep):
            warn_of(step)
        yield step
    # After a cancellation or the generator's end, too, every observer that knows of the wait gets its end.
    except BaseException:
        for observer in announced_to:
            with suppress(BaseException):  # The call ends with the first error.
                observer.waiting(None)
        raise
    for observer in announced_to:
        observer.waiting(None)


# A step that is a list has one or more chunks, which the driver yields to the caller.
Step = Send | Read | Pause | Wait | Call | list[C]
# A flow is a generator that yields the steps of a call, is sent their results, and returns the result of the call.
Flow = Generator[Step[C], Any, T]


class Request(NamedTuple):
    """The first request of a call."""

    url: str
    headers: Mapping[str, str]
    content: bytes
    model: str | None = None
    method: str = "POST"
    max_output: int | None = None
    """Output tokens that the provider charges to the rate limit in advance; None if that is unknown."""


class CallPolicy(NamedTuple):
    """The limits of one call: its retries, its timeouts, the limiter, the maximum sizes."""

    retry: RetryPolicy
    timeouts: Timeouts
    clock: Callable[[], float]
    rng: Random
    limiter: AdaptiveRateLimiter | None = None
    """The limiter that admits each attempt; None if the user has switched it off."""
    patient: bool = False
    """True for the rows of a batch, which wait for a provider as long as it takes."""
    max_response_bytes: int = MAX_RESPONSE_BYTES
    polls: bool = False
    """True if the call polls for an answer that the provider makes in the background."""
    stream_resume: Any = False
    """How a stream that breaks after its first chunk is continued; False if it is not."""

    @property
    def max_stream_bytes(self) -> int:
        """The maximum bytes of a stream. The default is larger than for an answer: events repeat other fields."""
        if self.max_response_bytes == MAX_RESPONSE_BYTES:
            return MAX_STREAM_BYTES
        return self.max_response_bytes


class Hooks(typing.NamedTuple, Generic[M, C]):
    """The functions with which a flow builds messages and chunks, whose types it does not know."""

    merge: Callable[[Sequence[C]], C]
    """Return one chunk that is the sum of several."""
    as_chunk: Callable[[M], C]
    """Return a whole message as a chunk."""
    note: Callable[[M | C, str, int], None] | None = None
    """Write a number about the call into an answer."""
    marker: Callable[[], C] | None = None
    """Return the chunk that marks the restart of a stream; None if streams are not restarted."""
    refusals: Refusals[C] | None = None
    """Judges how streams end; None if a refusal is not looked for."""


class Exchange(Generic[M, C]):
    """The state of one call: its present request, its policy, its history.

    `deadline` is a time of the policy's clock; `timeout_s` is the timeout that it comes from, for the error. Attributes
    may be replaced between two requests: one that continues an answer has another `content`, for example.
    """

    timeout_name = "its `timeout`"
    """The name of the limit in the error of a call that has exceeded its deadline."""
    sign: Callable[[], Any] | None = None
    """Returns the headers of one attempt, or an awaitable of them; None if all attempts have the same headers."""
    renew: Callable[[], Any] | None = None
    """Returns the headers with a new key, or an awaitable of them; None if the key comes from no function."""
    before: Callable[[], Any] | None = None
    """Called before the first attempt, and awaited in an async call. An exception that it raises ends the call."""
    continuation: Continuation[M, C] | None = None
    """Builds the further requests of an answer that the provider suspends; None if it suspends none."""
    refused_credential: Callable[[Mapping[str, str]], str] | None = None
    """Returns a sentence for the error of a refused key, which identifies the key in these headers."""
    client: tuple[Any, str | None] = (None, None)
    """The user's HTTP client and the proxy; the connection sets them."""
    admission: Admission | None = None
    """The limiter's permit for the present attempt."""
    routed_call: RoutedCall | None = None
    """The call of the pool that this exchange belongs to; None if it belongs to none."""
    response_headers: Mapping[str, str] | None = None
    """The headers of the present attempt's answer."""
    is_stream: bool = False
    """True once a request for a stream is sent."""

    def __init__(
        self,
        request: Request,
        wire: Wire[M, C],
        policy: CallPolicy,
        hooks: Hooks[M, C],
        *,
        observers: Sequence[CallObserver] = (),
        deadline: float | None = None,
        timeout_s: float | None = None,
    ) -> None:
        self.url, self.headers, self.content, self.model, self.method, self.max_output = request
        self.wire = wire
        self.policy = policy
        self.clock = policy.clock
        self.hooks = hooks
        self.observers = observers
        self.deadline = deadline
        self.timeout_s = timeout_s
        self.history = History()

    def belong_to(self, call: RoutedCall) -> None:
        """Make this the next exchange of a call of a pool. It continues what its limiter knows of the call."""
        self.routed_call = call
        call.has_exchange = True
        self.admission = call.failed_admissions.get(self.policy.limiter)

    def report_usage(self, headers: Mapping[str, str] | None, message: object = None) -> None:
        """Report to the limiter that the provider has answered, with the answer's headers and token usage."""
        limiter = self.policy.limiter
        if limiter is not None and self.admission is not None:
            usage = usage_of(message) if limiter.advertised is not None else None
            limiter.answered(self.admission, self.clock(), headers, usage)

    def annotate(self, answer: M | C) -> None:
        """Write into an answer how many failed attempts of the call may have been billed."""
        note = self.hooks.note
        if note is not None and (count := self.history.maybe_billed):
            note(answer, "maybe_billed_attempts", count)

    def remaining_s(self) -> float | None:
        """Return the seconds to the deadline; raise the `Timeout` if it has passed."""
        if self.deadline is None:
            return None
        remaining_s = self.deadline - self.clock()
        if remaining_s <= 0:
            raise self.out_of_time()
        return remaining_s

    def is_over(self) -> bool:
        """Return whether the deadline has passed."""
        return self.deadline is not None and self.clock() >= self.deadline

    def out_of_time(self) -> ChatError:
        limit = f"{self.timeout_name} of {self.timeout_s or 0.0:g} s"
        # It is fatal, because there is no time for another attempt.
        error = Timeout(
            f"The call to {self.wire.provider} took longer than {limit}.",
            retry_class=RetryClass.FATAL,
        )
        error.attempts = tuple(self.history.attempts)
        return self.signed(error)

    def signed(self, error: ChatError) -> ChatError:
        """Return an error with the provider and the model of this call, and without secrets."""
        from modelwire.transport.redaction import conceal

        error.provider = error.provider or self.wire.provider
        error.model = error.model or self.model
        return conceal(error, self)


# An exchange with any types of messages and chunks.
AnyExchange = Exchange[Any, Any]


def usage_of(message: object) -> Mapping[str, int] | None:
    return getattr(message, "usage_metadata", None)

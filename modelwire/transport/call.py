"""The life of a call, written once for sync and async. No I/O here, and no clock but the one passed in.

A flow is a generator. It yields the steps that it needs (`steps.py`) and is sent their results; a failed connection is
thrown into it as an error of `modelwire.errors`. The two drivers in `drivers.py` execute the steps. The generator
returns a whole answer; it yields the chunks of a stream as lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from modelwire.errors import (
    AuthenticationError,
    ChatError,
    IncompleteStream,
    RetryClass,
    StreamInterrupted,
    and_said,
)
from modelwire.transport.connections.body import Whole, too_large
from modelwire.transport.failures import load_error_path
from modelwire.transport.listeners import warn_of
from modelwire.transport.ratelimit.admission import Admission
from modelwire.transport.ratelimit.waiting import queued
from modelwire.transport.retry import GiveUp, is_refusal, read_retry_after, wait_before_retry
from modelwire.transport.sse import MAX_EVENT_BYTES, SSEDecoder
from modelwire.transport.steps import (
    READ,
    SEND,
    AnyExchange,
    Call,
    Continuation,
    Exchange,
    Flow,
    Send,
    Sign,
    Sleep,
    usage_of,
    wait_reporting,
)
from modelwire.transport.stream_sinks import CollectedChunks, EmittedChunks
from modelwire.transport.wire import Reply

if TYPE_CHECKING:
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

M = TypeVar("M")  # a message
C = TypeVar("C")  # a chunk of a message
T = TypeVar("T")


def call_flow(exchange: Exchange[M, C]) -> Flow[C, M]:
    """Send requests until there is a whole answer, with retries and continuations; return it decoded."""
    if exchange.continuation is None:
        return _try_until_done(exchange, _ask)
    return _whole_answer(exchange, exchange.continuation)


def _whole_answer(exchange: Exchange[M, C], continuation: Continuation[M, C]) -> Flow[C, M]:
    answer = yield from _try_until_done(exchange, _ask)
    if continuation.is_suspended(answer):
        answer = yield from _continued(exchange, continuation, answer, _ask)
    return answer


def _continued(
    exchange: Exchange[M, C],
    continuation: Continuation[M, C],
    answer: M,
    ask: Callable[[Exchange[M, C]], Flow[C, M]],
) -> Flow[C, M]:
    """Send requests until the provider no longer suspends the answer; return the parts as one."""
    part = answer
    while continuation.is_suspended(part):
        yield from _next_request(exchange, continuation, answer)
        try:
            part = yield from _try_until_done(exchange, ask)
        except ChatError as error:
            error.partial = exchange.hooks.as_chunk(answer)
            raise
        answer = continuation.joined(answer, part)
    return answer


def _next_request(
    exchange: Exchange[M, C], continuation: Continuation[M, C], answer: M
) -> Flow[C, None]:
    """Put the body of the request that continues the answer into the exchange."""
    exchange.content = yield Call(partial(continuation.next_content, answer))
    exchange.before = None


def stream_flow(exchange: Exchange[M, C]) -> Flow[C, None]:
    """Request a stream, and yield the answer's chunks as they arrive.

    Until the first chunk is yielded, failures are retried as in `call_flow`. After it they are retried only if the
    exchange has a marker, a chunk that says that the answer starts again.
    """
    handed = EmittedChunks(exchange)
    while True:
        committed = handed.has_begun if exchange.hooks.marker is None else _never
        try:
            yield from _try_until_done(exchange, partial(_ask_stream, sink=handed), committed)
        except ChatError as error:
            if not (handed.any or handed.before):
                raise
            error.partial = handed.sum()
            if isinstance(error, IncompleteStream) or exchange.is_over():
                raise
            raise interrupted(error) from error
        continuation = exchange.continuation
        if continuation is None or not handed.suspended:
            break
        before = handed.sum()
        yield from _next_request(exchange, continuation, continuation.message(before))
        handed = EmittedChunks(exchange, before)
    if handed.refusal is not None:
        handed.refusal.attempts = tuple(exchange.history.attempts)
        raise exchange.signed(handed.refusal)


def collected_flow(exchange: Exchange[M, C]) -> Flow[C, C]:
    """Request a stream and return the sum of its chunks. No chunk is yielded, so any failure may be retried."""
    gathered = CollectedChunks(exchange)

    def once(exchange: Exchange[M, C]) -> Flow[C, None]:
        gathered.chunks.clear()
        return _ask_stream(exchange, gathered)

    def whole(exchange: Exchange[M, C], continuation: Continuation[M, C]) -> Any:
        yield from once(exchange)
        return continuation.message(gathered.sum())

    try:
        yield from _try_until_done(exchange, once)
    except ChatError as error:
        error.partial = gathered.sum() if gathered.chunks else None
        raise
    part = gathered.sum()
    continuation = exchange.continuation
    if continuation is None or not continuation.is_suspended(part):
        return part
    ask = partial(whole, continuation=continuation)
    answer = continuation.message(part)
    answer = yield from _continued(exchange, continuation, answer, ask)
    return exchange.hooks.as_chunk(answer)


def _never() -> bool:
    return False


def _try_until_done(
    exchange: Exchange[M, C],
    once: Callable[[Exchange[M, C]], Flow[C, T]],
    committed: Callable[[], bool] = _never,
) -> Flow[C, T]:
    load_error_path()
    limiter = exchange.policy.limiter
    failed = None
    if exchange.before is not None:
        yield Call(exchange.before)
    while True:
        try:
            if limiter is not None:
                exchange.response_headers = None
                exchange.admission = admission = Admission(
                    exchange.clock(),
                    again=failed is not None,
                    patient=exchange.policy.patient,
                    size=len(exchange.content),
                    max_output=exchange.max_output,
                    previous=exchange.admission,
                )
                limiter.admit(admission)
                if not admission.granted:
                    yield from queued(exchange, limiter, admission, failed)
            started = exchange.clock()
            try:
                if exchange.sign is not None:
                    exchange.headers = yield Sign(exchange.sign)
                return (yield from once(exchange))
            except ChatError as error:
                failed = error
                _record_failure(exchange, error, started)
                wait = yield from _wait_after(exchange, error, committed=committed())
        finally:
            if limiter is not None and exchange.admission is not None:
                try:
                    limiter.leave(exchange.admission, exchange.clock())
                except BaseException:  # Ctrl-C at the start of `leave` would lose the place.
                    limiter.leave(exchange.admission, exchange.clock())
                    raise
                if limiter.congestion.change is not None:
                    _report_change(exchange, limiter)
        yield from _sleep(exchange, wait, failed)


def _sleep(exchange: AnyExchange, wait_s: float, failed: ChatError) -> Flow[Any, None]:
    """Wait before the next attempt, and report the wait with the time that the limiter will add."""
    limiter = exchange.policy.limiter
    expected_s = None if limiter is None else limiter.gate.pause_s(exchange.clock())
    attempts = len(exchange.history.attempts)
    yield from wait_reporting(exchange, Sleep(wait_s, failed, attempts, expected_s))


def _record_failure(exchange: AnyExchange, error: ChatError, started: float) -> None:
    """Add a failed attempt to the history of its call, and report it to the observers."""
    attempt = exchange.history.record(exchange.signed(error), exchange.clock() - started)
    for observer in exchange.observers:
        observer.failed(error, attempt)


def _report_change(exchange: AnyExchange, limiter: AdaptiveRateLimiter) -> None:
    """Report to the observers and the log that a limit was learned or hit, unless another call has reported it."""
    change = limiter.take_change()
    if change is not None:
        for observer in exchange.observers:
            observer.limit_changed(change)
        warn_of(change)


def _renewed(exchange: AnyExchange, error: ChatError) -> Flow[Any, bool]:
    """Renew a refused key once, if a function provides it. Return whether the key has changed."""
    policy = exchange.policy.retry
    renew = exchange.renew
    refused_who = error.status == 401 or isinstance(error, AuthenticationError)
    if not refused_who or renew is None or policy.max_retries == 0:
        return False
    if len(exchange.history.attempts) >= policy.max_requests:
        return False
    exchange.renew = None
    refused = exchange.headers
    headers = yield Call(renew)
    exchange.headers = headers or refused
    return exchange.headers != refused


def _wait_after(exchange: AnyExchange, error: ChatError, *, committed: bool) -> Flow[Any, float]:
    """Return the seconds until the next attempt; raise `error` if there is none."""
    renewed = yield from _renewed(exchange, error)
    if isinstance(error, AuthenticationError) and not renewed and exchange.refused_credential:
        sentence = exchange.refused_credential(exchange.headers)
        if sentence:
            error.message = and_said(error.message, sentence)
    limiter = exchange.policy.limiter
    if limiter is not None and exchange.admission is not None:
        limiter.failed(
            exchange.admission, exchange.clock(), error, exchange.response_headers, renewed=renewed
        )
        if exchange.routed_call is not None:
            exchange.routed_call.record_failed_attempt(limiter, exchange.admission)
    if committed:
        raise error
    wait = 0.0 if renewed else _wait_before_retry(exchange, error)
    if isinstance(wait, GiveUp):
        if wait:
            error.message = and_said(error.message, wait)
        raise error
    return wait


def _wait_before_retry(exchange: AnyExchange, error: ChatError) -> float | GiveUp:
    policy = exchange.policy
    admission = exchange.admission
    history = exchange.history
    limiter = policy.limiter
    now = exchange.clock()
    if history.refused_at is None and is_refusal(error):
        history.refused_at = now
    wait = wait_before_retry(
        error,
        history,
        policy.retry,
        remaining_s=None if exchange.deadline is None else exchange.deadline - now,
        rng=policy.rng,
        waited_s=0.0 if history.refused_at is None else now - history.refused_at,
        in_queue=limiter is not None and policy.patient,
        own_refusals=0 if admission is None else admission.own_refusals,
        is_incurable=admission is not None and admission.is_incurable,
    )
    if limiter is None or admission is None or error.retry_class is not RetryClass.TRANSIENT:
        return wait
    if isinstance(wait, GiveUp) and not (
        policy.patient and limiter.outage.is_on and policy.retry.max_retries
    ):
        return wait
    if limiter.may_retry(admission, now, error):
        return wait
    # In an outage, a row of a batch waits in the queue, and its failure does not count.
    history.excused += policy.patient
    return 0.0


def _ask(exchange: Exchange[M, C]) -> Flow[C, M]:
    for observer in exchange.observers:
        observer.sent(exchange)
    endless = exchange.deadline is None
    reply: Reply = yield SEND if endless else Send(stream=False, remaining_s=exchange.remaining_s())
    if not 200 <= reply.status < 300:
        raise _error_of(exchange, reply)
    exchange.response_headers = reply.headers
    message = exchange.wire.decode(reply)
    exchange.report_usage(reply.headers, message)
    if exchange.history.attempts:
        exchange.annotate(message)
    return message


def _error_of(exchange: AnyExchange, reply: Reply) -> ChatError:
    exchange.response_headers = reply.headers
    error = exchange.wire.error(reply)
    wait_s = read_retry_after(reply.headers)
    if wait_s is not None:
        error.retry_after = wait_s  # Otherwise the codec may have found one in the body.
    return error


def _ask_stream(exchange: Exchange[M, C], sink: _StreamSink[C]) -> Flow[C, None]:
    reply = yield from _stream_head(exchange)
    data, received_bytes = yield from _first_bytes(exchange)
    if data is not None and _is_whole_answer(exchange, reply, data):
        reply.body = data + (yield from _rest(exchange))
        message = exchange.wire.decode(reply)
        exchange.report_usage(reply.headers, message)
        exchange.annotate(message)
        yield from sink.end([exchange.hooks.as_chunk(message)])
        return
    body = _StreamBody(exchange, reply)
    max_bytes = exchange.policy.max_stream_bytes
    has_deadline = exchange.deadline is not None
    sink.begin(reply)
    try:
        while data is not None:
            chunks: list[C] = []
            try:
                body.decode(data, chunks)
            finally:
                yield from sink.take(chunks, data)  # Chunks before a failure are emitted, too.
            if has_deadline:
                exchange.remaining_s()
            data = yield READ
            if data is not None:
                received_bytes += len(data)
                if received_bytes > max_bytes:
                    raise too_large(max_bytes)
        end, is_refused = body.end()
        yield from sink.end(end, refused=is_refused)
    except ChatError as error:
        error.request_id = error.request_id or body.decoder.request_id
        exchange.history.begun = bool(body.tail)
        raise


def _stream_head(exchange: AnyExchange) -> Flow[Any, Reply]:
    """Send the request, and return the head of the stream; raise the error if the answer is one."""
    exchange.is_stream = True
    for observer in exchange.observers:
        observer.sent(exchange)
    reply: Reply = yield Send(stream=True, remaining_s=exchange.remaining_s())
    if not 200 <= reply.status < 300:
        reply.body = yield from _rest(exchange)
        raise _error_of(exchange, reply)
    exchange.response_headers = reply.headers
    return reply


def _is_whole_answer(exchange: AnyExchange, reply: Reply, data: bytes) -> bool:
    """Return whether a body that begins with `data` is one JSON value and not a stream.

    It is an error under a 200, or comes from a server that does not stream.
    """
    media_type = reply.headers.get("content-type", "")
    if hasattr(exchange.wire, "framing") and not media_type.startswith("application/json"):
        return False
    return data.lstrip().startswith((b"{", b"["))


class _StreamBody(Generic[M, C]):
    """Decodes the body of one stream: from bytes to chunks."""

    __slots__ = ("_exchange", "_framing", "_reply", "_unframed", "decoder", "tail")

    def __init__(self, exchange: Exchange[M, C], reply: Reply) -> None:
        self._exchange = exchange
        self._reply = reply
        self._framing = getattr(exchange.wire, "framing", SSEDecoder)(
            max_event_bytes=min(MAX_EVENT_BYTES, exchange.policy.max_response_bytes)
        )
        self.decoder = exchange.wire.stream_decoder(reply.headers)
        # The chunks decoded last. They are empty until the provider has answered.
        self.tail: list[C] = []
        # The bytes before the first event, None after it. An HTML page has no event, and an error shows these bytes.
        self._unframed: bytes | None = b""

    def decode(self, data: bytes, chunks: list[C]) -> None:
        """Decode `data` and append its chunks to `chunks`, also those before a failure."""
        try:
            events = self._framing.feed(data)
            for event in events:
                chunks += self.decoder.feed(event)
            if chunks and not self.tail:
                self._exchange.report_usage(self._reply.headers)
        finally:
            self.tail = chunks or self.tail
        if self._unframed is not None:
            self._unframed = None if events else (self._unframed + data)[:_UNFRAMED_BYTES]

    def end(self) -> tuple[list[C], bool]:
        """Called at the end of the body. Return the last chunks, and whether the decoder has found a refusal."""
        exchange = self._exchange
        reply = self._reply
        end_of_framing = getattr(self._framing, "close", None)
        if end_of_framing is not None:
            end_of_framing()
        if self._unframed:
            reply.body = self._unframed
            return [exchange.hooks.as_chunk(exchange.wire.decode(reply))], False
        end = self.decoder.close()
        if end:
            exchange.annotate(end[-1])
        chunks = reversed([*self.tail, *end])
        exchange.report_usage(reply.headers, next(filter(usage_of, chunks), None))
        return end, getattr(self.decoder, "refused", False)


# An error shows at most this many bytes of a body without events.
_UNFRAMED_BYTES = 4096


def _first_bytes(
    exchange: AnyExchange,
) -> Flow[Any, tuple[bytes | None, int]]:
    """Read the body until something other than white space arrives, which servers send to keep a connection alive.

    Return the bytes to decode, None if the body has none, and the number of bytes read. Of many blank lines only the
    last one is returned: the others mean nothing in any format.
    """
    blank = b""
    received_bytes = 0
    max_bytes = exchange.policy.max_stream_bytes
    while True:
        data: bytes | None = yield READ
        if data is None:
            return blank or None, received_bytes
        received_bytes += len(data)
        blank += data
        if data.strip():
            return blank, received_bytes
        if len(blank) > _UNFRAMED_BYTES:
            blank = blank[max(blank.rfind(b"\n"), blank.rfind(b"\r")) + 1 :][:_UNFRAMED_BYTES]
        exchange.remaining_s()
        if received_bytes > max_bytes:
            raise too_large(max_bytes)


def _rest(exchange: AnyExchange) -> Flow[Any, bytes]:
    whole = Whole(exchange.policy.max_response_bytes)
    while (data := (yield READ)) is not None:
        whole.add(data)
    return whole.joined()


class _StreamSink(Protocol[C]):
    """Receives the chunks of a stream; `take` and `end` return the lists of chunks that the flow yields."""

    def begin(self, head: Reply) -> None: ...
    def take(self, chunks: list[C], data: bytes = b"") -> Iterable[list[C]]: ...
    def end(self, chunks: list[C], *, refused: bool = False) -> Iterable[list[C]]: ...


def interrupted(error: ChatError) -> StreamInterrupted:
    """Return the error of a stream that failed after its first chunk."""
    interrupted = StreamInterrupted(
        f"The stream failed after a part of the answer had been handed out: {error.message} The part is in `.partial`.",
        provider=error.provider,
        model=error.model,
        status=error.status,
        code=error.code,
        type=error.type,
        request_id=error.request_id,
        retry_after=error.retry_after,
        body=error.body,
        partial=error.partial,
        retry_class=error.retry_class,
    )
    interrupted.attempts = error.attempts
    return interrupted

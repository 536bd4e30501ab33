"""`recorded`: writes every request and its answer into a file."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import IO, TYPE_CHECKING, Any
from weakref import WeakSet

from modelwire.aliases import StrPath, Values
from modelwire.errors import CassetteError, ChatError
from modelwire.ext import (
    CONNECTION_HOOKS,
    CallObserver,
    ConnectionWrapper,
    HTTPChatModel,
    observing,
)
from modelwire.messages import message_chunk_to_message, message_to_dict, messages_to_dict
from modelwire.testing.cassettes.records import (
    HEAD,
    Answer,
    AnyExchange,
    Call,
    Request,
    call_to_line,
    from_lines,
    to_line,
)
from modelwire.user_paths import owned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelwire.ext import Reply
    from modelwire.messages import BaseMessage
    from modelwire.testing.cassettes.replaying import Replay
    from modelwire.transport.steps import Send

_one_at_a_time = Lock()
# The files that this process has recorded.
_recorded_here: set[Path] = set()


def start_cassette(cassette: Recording | Replay, what: str) -> None:
    """Pass every connection that is made from now on to `cassette`."""
    with _one_at_a_time:
        if CONNECTION_HOOKS:
            raise CassetteError(
                f"{what} cannot begin: another cassette runs in this process, and they do not nest."
            )
        CONNECTION_HOOKS.append(cassette)


def end_cassette(cassette: Recording | Replay) -> None:
    """Stop passing new connections to `cassette`."""
    with _one_at_a_time:
        if cassette in CONNECTION_HOOKS:
            CONNECTION_HOOKS.remove(cassette)


class Recording:
    """Record every call that starts in the block, in all threads and tasks, into a new file at `path`.

        with recorded("run.jsonl"):
            chain.batch(rows)

    Each line is one request and its answer; a retry has its own line. One more line has the call
    itself, which `compare` can run again: its messages, its parameters and its result. Keys, tokens and
    passwords are masked; prompts and answers are not. Lines are written when requests end, in the
    order in which they began. `count` is the number of requests written.

    A recording of an earlier process at `path` is replaced. If this process has recorded the file, you
    must choose: `append=True` adds to it, `append=False` replaces it.

    Raises:
        CassetteError: Another cassette is active, the file cannot be written, or its recording would be lost.
    """

    answers = False

    def __init__(self, path: StrPath, *, append: bool | None = None) -> None:
        self.path = Path(path)
        self._append = append
        self._writer: Writer | None = None
        self._observing = ExitStack()

    @property
    def count(self) -> int:
        if self._writer is None:
            return 0
        return self._writer.count

    def __enter__(self) -> Recording:
        start_cassette(self, f"`recorded({str(self.path)!r})`")
        try:
            self._writer = Writer(self.path, append=self._append)
            self._observing.enter_context(observing(CallRecorder(self._writer), everywhere=True))
        except BaseException:
            # On Ctrl-C, too: `__exit__` does not run then, and calls would be recorded forever.
            self._observing.close()
            end_cassette(self)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._observing.close()
        end_cassette(self)
        if self._writer is not None:
            self._writer.close()

    def wrap(self, connection: Any) -> Any:
        if self._writer is None:
            return connection
        return recorded_connection(self._writer, connection)


class Writer:
    """Writes requests and answers as lines, each complete, in the order in which the requests began."""

    def __init__(self, path: Path, *, append: bool | None = None) -> None:
        self.path = path
        self.count = 0
        self._lock = Lock()
        # This is the number of the next line. The line of a request that ends before its turn waits in
        # `_ended`.
        self._next = 0
        self._begun = 0
        self._ended: dict[int, str | None] = {}
        # The lines with these numbers are calls.
        self._calls: set[int] = set()
        self._open: dict[int, _Running] = {}
        # The file already has the long texts with these hashes.
        self._texts: set[str] = set()
        # The exchanges with a recorded request, and those whose answer was not read to its end.
        self._recorded: WeakSet[AnyExchange] = WeakSet()
        self._left: WeakSet[AnyExchange] = WeakSet()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            adds = _adds_to(path, append)
            mode = "wb"
            if adds:
                mode = "ab"
            self._file: IO[bytes] | None = open(path, mode, opener=owned)  # noqa: SIM115 - until `close`
            if not adds:
                self._write(HEAD)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        _recorded_here.add(path.absolute())

    def begin(self, exchange: AnyExchange) -> _Running:
        """Register a request that is about to be sent."""
        request = Request.of(exchange)
        with self._lock:
            running = self._open[self._begun] = _Running(self._begun, exchange, request)
            self._begun += 1
            self._recorded.add(exchange)
        return running

    def end(self, running: _Running, *, written: bool = True) -> None:
        """Write a request and its answer; with `written` False nothing, because the request was never sent."""
        answer = running.answer
        answer.end_s = running.now_s()
        if answer.ended == "left":
            self._left.add(running.exchange)
        line = None
        if written:
            line = to_line(running.request, answer, running.exchange, self._texts)
        with self._lock:
            if self._open.pop(running.number, None) is None:
                # The block was left before this request ended.
                return
            self._ended[running.number] = line
            self._write_ended()

    def add_call(self, call: Call, exchange: AnyExchange) -> None:
        """Write a call whose last request was that of `exchange`, if this writer has recorded it."""
        if exchange not in self._recorded:
            return
        if exchange in self._left:
            call.answer = None
            call.error = "The answer was not read to its end."
        line = call_to_line(call, exchange, self._texts)
        with self._lock:
            self._ended[self._begun] = line
            self._calls.add(self._begun)
            self._begun += 1
            self._write_ended()

    def _write_ended(self) -> None:
        try:
            while self._next in self._ended:
                ended = self._ended.pop(self._next)
                if ended is not None:
                    self._write(ended)
                    self.count += self._next not in self._calls
                self._next += 1
        except OSError as exc:
            raise self._unwritable(exc) from exc

    def close(self) -> None:
        """Write the unfinished requests with what has arrived so far."""
        for running in list(self._open.values()):
            self.end(running)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: str) -> None:
        if self._file is not None:
            # Characters that UTF-8 cannot encode are escaped as in JSON.
            self._file.write(line.encode(errors="backslashreplace") + b"\n")
            self._file.flush()

    def _unwritable(self, exc: OSError) -> CassetteError:
        return CassetteError(f"`{self.path}` cannot be written: {exc.strerror or exc}.")


def _adds_to(path: Path, append: bool | None) -> bool:  # noqa: FBT001
    """Return whether to append to the file instead of replacing it.

    Raises `CassetteError` if the file is not a cassette, or has a recording of this process.
    """
    if not path.is_file() or not (data := path.read_bytes()):
        return False
    if b'"modelwire": "cassette"' not in data.partition(b"\n")[0]:
        raise CassetteError(f"`{path}` is not a cassette, and would be replaced: move it away.")
    if append is None and path.absolute() in _recorded_here and data.count(b"\n") > 1:
        raise CassetteError(
            f"`{path}` was recorded by this same process, and would be replaced. Add to it with "
            f"`recorded({str(path)!r}, append=True)`, or replace it with `append=False`."
        )
    return bool(append and from_lines(data, path))


@dataclass
class _Running:
    """One request in progress."""

    number: int
    exchange: AnyExchange
    request: Request
    answer: Answer = field(default_factory=Answer)
    began: float = field(default_factory=monotonic)

    def now_s(self) -> float:
        return monotonic() - self.began


class CallRecorder(CallObserver):
    """Records each call of which the writer has recorded a request: its messages, its parameters and its result."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    def started(
        self, model: Any, messages: Sequence[BaseMessage], kwargs: Values
    ) -> CallObserver | None:
        if not isinstance(model, HTTPChatModel):
            return None
        return _RecordedCall(self._writer, model, messages, kwargs)


class _RecordedCall(CallObserver):
    """Observes one call, and records it when it ends."""

    def __init__(
        self,
        writer: Writer,
        model: HTTPChatModel,
        messages: Sequence[BaseMessage],
        kwargs: Values,
    ) -> None:
        options = dict(kwargs)
        stop = options.pop("stop", None)
        self._writer = writer
        self._exchange: AnyExchange | None = None
        self._began = monotonic()
        more = []
        if model.extra_body or options.get("extra_body"):
            more = ["extra_body"]
        self._call = Call(
            provider=str(getattr(model, "provider", type(model).__name__)),
            model=str(model.model),
            messages=messages_to_dict(list(messages)),
            params=model.call_parameters(stop, options),
            left_out=more,
        )

    def sent(self, exchange: AnyExchange) -> None:
        self._exchange = exchange
        self._call.model = str(exchange.model or self._call.model)

    def answered(self, result: Any) -> None:
        for generation in result.generations[:1]:
            message = message_chunk_to_message(generation.message)
            self._call.answer = message_to_dict(message)
        self._end()

    def failed(self, error: BaseException, attempt: Any, partial: Any = None) -> None:
        if attempt is None:
            text = getattr(error, "message", None) or str(error)
            self._call.error = f"{type(error).__name__}: {text}"
            self._end()

    def _end(self) -> None:
        if self._exchange is not None:
            self._call.seconds = monotonic() - self._began
            self._writer.add_call(self._call, self._exchange)


class _RecordedConnection(ConnectionWrapper):
    """Records the requests that a connection sends, and the answers that it reads."""

    def __init__(self, writer: Writer, inner: Any) -> None:
        super().__init__(inner)
        self._writer = writer
        self._running: _Running | None = None

    def _begin(self) -> None:
        self._running = self._writer.begin(self.exchange)

    def _sent(self, reply: Reply, step: Send) -> Reply:
        running = self._running
        if running is not None:
            answer = running.answer
            answer.status = reply.status
            answer.headers = {name.lower(): value for name, value in reply.headers.items()}
            answer.head_s = running.now_s()
            if reply.body:
                answer.pieces.append((answer.head_s, reply.body))
            if not step.stream:
                self._end("complete")
        return reply

    def _came(self, data: bytes | None) -> bytes | None:
        if self._running is not None:
            if data:
                self._running.answer.pieces.append((self._running.now_s(), data))
            elif data is None:
                self._end("complete")
        return data

    def _end(self, how: str) -> None:
        running = self._running
        self._running = None
        if running is not None:
            running.answer.ended = how
            self._writer.end(running)

    def failure(self, exc: Exception) -> Exception:
        """Record a network error. Any other error means that the request was never sent."""
        error = super().failure(exc)
        running = self._running
        self._running = None
        if running is not None:
            if isinstance(error, ChatError):
                running.answer.fail(error)
            self._writer.end(running, written=isinstance(error, ChatError))
        return error


class _SyncRecordedConnection(_RecordedConnection):
    def send(self, step: Send) -> Reply:
        self._begin()
        return self._sent(self.inner.send(step), step)

    def read(self) -> bytes | None:
        return self._came(self.inner.read())

    def close(self) -> None:
        self.inner.close()
        self._end("left")


class _AsyncRecordedConnection(_RecordedConnection):
    async def send(self, step: Send) -> Reply:
        self._begin()
        return self._sent(await self.inner.send(step), step)

    async def read(self) -> bytes | None:
        return self._came(await self.inner.read())

    async def close(self) -> None:
        await self.inner.close()
        self._end("left")


def recorded_connection(writer: Writer, inner: Any) -> ConnectionWrapper:
    """Return a connection whose requests and answers `writer` writes."""
    if inner.is_async:
        return _AsyncRecordedConnection(writer, inner)
    return _SyncRecordedConnection(writer, inner)

"""`recorded`: writes every request and its answer into a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from modelwire.errors import CassetteError, ChatError
from modelwire.testing.cassettes.records import HEAD, Answer, Request, from_lines, to_line
from modelwire.transport.connections.pooled import AsyncPooledConnection, tapes
from modelwire.user_paths import owned

if TYPE_CHECKING:
    import os

    from modelwire.testing.cassettes.replaying import Replay
    from modelwire.transport.steps import Exchange, Send
    from modelwire.transport.wire import Reply

__all__ = ["RecordedConnection", "Recording", "Writer", "insert", "intercept", "take_out"]

# These methods of a connection are replaced; the values are the names of the tape's methods that
# replace them.
_SYNC = {name: name for name in ("failure", "send", "read", "close", "sleep", "wait")}
_ASYNC = dict(
    zip(
        ("failure", "_send", "_read", "close", "sleep", "wait"),
        ("failure", "asend", "aread", "aclose", "asleep", "await_turn"),
        strict=True,
    )
)
_one_at_a_time = Lock()
# This process has recorded these files.
_recorded_here: set[Path] = set()


def insert(tape: Recording | Replay, what: str) -> None:
    """Call `tape` for every connection that is made from now on."""
    with _one_at_a_time:
        if tapes:
            raise CassetteError(
                f"{what} cannot begin: another cassette runs in this process, and they do not nest."
            )
        tapes.append(tape)


def intercept(tape: Any, connection: Any) -> Any:
    """Replace the connection's methods by the recorder's; return the originals."""
    own = {}
    for name, ours in (_ASYNC if isinstance(connection, AsyncPooledConnection) else _SYNC).items():
        if hasattr(tape, ours):
            own[ours] = getattr(connection, name)
            setattr(connection, name, getattr(tape, ours))
    return SimpleNamespace(**own)


def take_out(tape: Recording | Replay) -> None:
    """Stop calling `tape` for new connections."""
    with _one_at_a_time:
        if tape in tapes:
            tapes.remove(tape)


class Recording:
    """Record every call that starts in the block, in all threads and tasks, into a new file at `path`.

        with recorded("run.jsonl"):
            chain.batch(rows)

    Each line is one request and its answer; a retry has its own line. Keys, tokens and passwords
    are masked; prompts and answers are not. Lines are written when requests end, in the order in
    which they began. `count` is the number of requests written.

    The recording of an earlier run at `path` is replaced. One of this same process would be lost by
    that, so it must be chosen: `append=True` adds to it, `append=False` starts it anew.

    Raises:
        CassetteError: Another cassette is active, the file cannot be written, or its recording would be lost.
    """

    replays = False

    def __init__(self, path: str | os.PathLike[str], *, append: bool | None = None) -> None:
        self.path = Path(path)
        self._append = append
        self._writer: Writer | None = None

    @property
    def count(self) -> int:
        if self._writer is None:
            return 0
        return self._writer.count

    def __enter__(self) -> Recording:
        insert(self, f"`recorded({str(self.path)!r})`")
        try:
            self._writer = Writer(self.path, append=self._append)
        except BaseException:
            # Ctrl-C is included: `__exit__` does not run then, and calls would be recorded forever.
            take_out(self)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        take_out(self)
        if self._writer is not None:
            self._writer.close()

    def attach(self, connection: Any) -> None:
        if self._writer is not None:
            RecordedConnection(self._writer, connection)


class Writer:
    """Writes requests and answers as lines, each complete, in the order in which the requests began."""

    def __init__(self, path: Path, *, append: bool | None = None) -> None:
        self.path = path
        self.count = 0
        self._lock = Lock()
        # This is the number of the next line. A request that ends before its turn waits in
        # `_ended`.
        self._next = 0
        self._begun = 0
        self._ended: dict[int, str | None] = {}
        self._open: dict[int, _Running] = {}
        # These are the hashes of the long texts that are in the file already.
        self._texts: set[str] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            adds = _adds_to(path, append)
            self._file: IO[bytes] | None = open(path, "ab" if adds else "wb", opener=owned)  # noqa: SIM115 - until `close`
            if not adds:
                self._write(HEAD)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        _recorded_here.add(path.absolute())

    def begin(self, exchange: Exchange[Any, Any]) -> _Running:
        """Register a request that is about to be sent."""
        request = Request.of(exchange)
        with self._lock:
            running = self._open[self._begun] = _Running(self._begun, exchange, request)
            self._begun += 1
        return running

    def end(self, running: _Running, *, written: bool = True) -> None:
        """Write a request and its answer. Nothing is written for a request that was never sent."""
        running.answer.end_s = running.now_s()
        if written:
            line = to_line(running.request, running.answer, running.exchange, self._texts)
        else:
            line = None
        with self._lock:
            if self._open.pop(running.number, None) is None:
                # The block was left before this request ended.
                return
            self._ended[running.number] = line
            try:
                while self._next in self._ended:
                    if (ended := self._ended.pop(self._next)) is not None:
                        self._write(ended)
                        self.count += 1
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
    """Return whether to append to the file.

    Raises `CassetteError` if its recording would be lost.
    """
    if not path.is_file() or not (data := path.read_bytes()):
        return False
    if b'"modelwire": "cassette"' not in data.partition(b"\n")[0]:
        raise CassetteError(f"`{path}` is not a cassette, and would be replaced: move it away.")
    if append is None and path.absolute() in _recorded_here and data.count(b"\n") > 1:
        raise CassetteError(
            f"`{path}` was recorded a moment ago, by this process, and would be replaced. Add to it by "
            f"`recorded({str(path)!r}, append=True)`, or begin it anew by `append=False`."
        )
    return bool(append and from_lines(data, path))


@dataclass
class _Running:
    """One request in progress."""

    number: int
    exchange: Exchange[Any, Any]
    request: Request
    answer: Answer = field(default_factory=Answer)
    began: float = field(default_factory=monotonic)

    def now_s(self) -> float:
        return monotonic() - self.began


class RecordedConnection:
    """Records what one connection sends and reads.

    Its methods replace the connection's and call the originals.
    """

    def __init__(self, writer: Writer, connection: Any) -> None:
        self._writer = writer
        self._exchange = connection.exchange
        self._connection = connection
        self._running: _Running | None = None
        # `send` reads a whole answer and closes the connection itself, so `read` must not end the
        # record meanwhile.
        self._sending = False
        self._own = intercept(self, connection)

    def _begin(self) -> None:
        self._running = self._writer.begin(self._exchange)
        self._sending = True

    def _sent(self, reply: Reply, step: Send) -> Reply:
        self._sending = False
        if (running := self._running) is not None:
            answer = running.answer
            if reply.body and not answer.pieces:
                # aiohttp reads a short body together with the head.
                answer.pieces.append((running.now_s(), reply.body))
            answer.status = reply.status
            answer.headers = {name.lower(): value for name, value in reply.headers.items()}
            answer.head_s = answer.head_s or (
                answer.pieces[0][0] if answer.pieces else running.now_s()
            )
            if not step.stream:
                self._end("complete")
        return reply

    def _came(self, data: bytes | None) -> bytes | None:
        if self._running is not None:
            if data:
                self._running.answer.pieces.append((self._running.now_s(), data))
            elif data is None and not self._sending:
                self._end("complete")
        return data

    def _end(self, how: str) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.answer.ended = how
            self._writer.end(running)

    def failure(self, exc: Exception) -> Exception:
        """Record a network error. Any other error means that the request was never sent."""
        error = self._own.failure(exc)
        running, self._running = self._running, None
        if running is not None:
            if isinstance(error, ChatError):
                # It is the response object of httpx or of aiohttp.
                response = self._connection._response
                status = getattr(response, "status_code", None) or getattr(response, "status", None)
                running.answer.status = running.answer.status or (
                    status if isinstance(status, int) else None
                )
                running.answer.fail(error)
            self._writer.end(running, written=isinstance(error, ChatError))
        return error  # type: ignore[no-any-return]

    # These methods replace the connection's, sync and async.

    def send(self, step: Send) -> Reply:
        self._begin()
        try:
            return self._sent(self._own.send(step), step)
        finally:
            self._sending = False

    async def asend(self, step: Send) -> Reply:
        self._begin()
        try:
            return self._sent(await self._own.asend(step), step)
        finally:
            self._sending = False

    def read(self) -> bytes | None:
        return self._came(self._own.read())

    async def aread(self) -> bytes | None:
        return self._came(await self._own.aread())

    def close(self) -> None:
        self._own.close()
        if not self._sending:
            self._end("left")

    async def aclose(self) -> None:
        await self._own.aclose()
        if not self._sending:
            self._end("left")

"""`recorded`: write every request that goes out, and what came back, into a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from time import monotonic
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any

from modelwire.errors import CassetteError, ChatError
from modelwire.testing.cassettes.records import HEAD, Answer, Request, from_lines, to_line
from modelwire.transport.connections.pooled import AsyncPooledConnection, Tape, tapes

if TYPE_CHECKING:
    import os

    from modelwire.transport.steps import Exchange, Send
    from modelwire.transport.wire import Reply

__all__ = ["RecordedLine", "Recording", "Writer", "insert", "put_in_place", "take_out"]

# The methods of a line, and what a tape calls its own that stand in their place.
_SYNC = {name: name for name in ("failure", "send", "read", "close", "sleep", "wait")}
_ASYNC = dict(
    zip(
        ("failure", "_send", "_read", "close", "sleep", "wait"),
        ("failure", "asend", "aread", "aclose", "asleep", "await_turn"),
        strict=True,
    )
)
_one_at_a_time = Lock()
_recorded_here: set[Path] = set()  # by this process


def insert(tape: Tape, what: str) -> None:
    """Let `tape` hear of every line that is made from now on."""
    with _one_at_a_time:
        if tapes:
            raise CassetteError(
                f"{what} cannot begin: another cassette runs in this process, and they do not nest."
            )
        tapes.append(tape)


def put_in_place(tape: Any, line: Any) -> Any:
    """Have a line call those methods of a tape that bear the names below. Returns its own, under the same names."""
    own = {}
    for name, ours in (_ASYNC if isinstance(line, AsyncPooledConnection) else _SYNC).items():
        if hasattr(tape, ours):
            own[ours] = getattr(line, name)
            setattr(line, name, getattr(tape, ours))
    return SimpleNamespace(**own)


def take_out(tape: Tape) -> None:
    """Let it hear of no further line."""
    with _one_at_a_time:
        if tape in tapes:
            tapes.remove(tape)


class Recording:
    """Record every call that starts in the block, of all threads and tasks, into a new file at `path`.

        with recorded("run.jsonl"):
            chain.batch(rows)

    A line is one request and what came back: a retry has its own. Keys, tokens and passwords are masked; prompts and
    answers are not. Lines are written as exchanges end, in the order in which they began. `count` is how many
    exchanges were written.

    The recording of an earlier run at `path` is replaced. One of this same process is not, as it would be lost:
    `append=True` adds to it, `append=False` begins it anew.

    Raises:
        CassetteError: Another cassette runs, or the file cannot be written, or what it holds would be lost.
    """

    replays = False

    def __init__(self, path: str | os.PathLike[str], *, append: bool | None = None) -> None:
        self.path = Path(path)
        self._append = append
        self._writer: Writer | None = None

    @property
    def count(self) -> int:
        return 0 if self._writer is None else self._writer.count

    def __enter__(self) -> Recording:
        insert(self, f"`recorded({str(self.path)!r})`")
        try:
            self._writer = Writer(self.path, append=self._append)
        except (
            BaseException
        ):  # Ctrl-C too: `__exit__` does not run, and calls would be recorded for ever
            take_out(self)
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        take_out(self)
        if self._writer is not None:
            self._writer.close()

    def attach(self, line: Any) -> None:
        if self._writer is not None:
            RecordedLine(self._writer, line)


class Writer:
    """Writes exchanges as lines, each whole, in the order in which they began."""

    def __init__(self, path: Path, *, append: bool | None = None) -> None:
        self.path = path
        self.count = 0
        self._lock = Lock()
        self._next = 0  # the number of the next line; what ended before its turn waits in `_ended`
        self._begun = 0
        self._ended: dict[int, str | None] = {}
        self._open: dict[int, _Running] = {}
        self._texts: set[str] = set()  # hashes of the long texts that were written
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            adds = _adds_to(path, append)
            self._file: IO[bytes] | None = path.open("ab" if adds else "wb")
            if not adds:
                self._write(HEAD)
        except OSError as exc:
            raise self._unwritable(exc) from exc
        _recorded_here.add(path.absolute())

    def begin(self, exchange: Exchange[Any, Any]) -> _Running:
        """Note that a request goes out."""
        request = Request.of(exchange)
        with self._lock:
            running = self._open[self._begun] = _Running(self._begun, exchange, request)
            self._begun += 1
        return running

    def end(self, running: _Running, *, written: bool = True) -> None:
        """Write what came of a request; of one that was never sent there is nothing to write."""
        running.answer.end_s = running.now_s()
        line = (
            to_line(running.request, running.answer, running.exchange, self._texts)
            if written
            else None
        )
        with self._lock:
            if self._open.pop(running.number, None) is None:  # the block was left before this ended
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
        """Write what is still open as it stands."""
        for running in list(self._open.values()):
            self.end(running)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, line: str) -> None:
        if self._file is not None:
            # What is no Unicode is escaped as JSON has it.
            self._file.write(line.encode(errors="backslashreplace") + b"\n")
            self._file.flush()

    def _unwritable(self, exc: OSError) -> CassetteError:
        return CassetteError(f"`{self.path}` cannot be written: {exc.strerror or exc}.")


def _adds_to(path: Path, append: bool | None) -> bool:  # noqa: FBT001
    """Tell whether what is recorded is added to a file. Raises `CassetteError` where what it holds would be lost."""
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
    """One exchange that is under way."""

    number: int
    exchange: Exchange[Any, Any]
    request: Request
    answer: Answer = field(default_factory=Answer)
    began: float = field(default_factory=monotonic)

    def now_s(self) -> float:
        return monotonic() - self.began


class RecordedLine:
    """Notes what one line sends and reads, in its place before the line's own methods."""

    def __init__(self, writer: Writer, line: Any) -> None:
        self._writer = writer
        self._exchange = line.exchange
        self._line = line
        self._running: _Running | None = None
        self._sending = False  # a whole answer is read, and its line closed, inside of `send`
        self._own = put_in_place(self, line)

    # What there is to note.

    def _begin(self) -> None:
        self._running = self._writer.begin(self._exchange)
        self._sending = True

    def _sent(self, reply: Reply, step: Send) -> Reply:
        self._sending = False
        if (running := self._running) is not None:
            answer = running.answer
            if (
                reply.body and not answer.pieces
            ):  # a short one, which aiohttp's line takes along with the head
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
        """Note an error of the wire; what the program's own fault is, was never sent."""
        error = self._own.failure(exc)
        running, self._running = self._running, None
        if running is not None:
            if isinstance(error, ChatError):
                response = self._line._response  # of httpx, or of aiohttp
                status = getattr(response, "status_code", None) or getattr(response, "status", None)
                running.answer.status = running.answer.status or (
                    status if isinstance(status, int) else None
                )
                running.answer.fail(error)
            self._writer.end(running, written=isinstance(error, ChatError))
        return error  # type: ignore[no-any-return]

    # The line's methods, sync and async.

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

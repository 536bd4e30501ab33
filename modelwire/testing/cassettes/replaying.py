"""`replayed`: answers every request from a file that `recorded` wrote."""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from pathlib import Path
from threading import RLock
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakSet

from modelwire.aliases import StrPath
from modelwire.errors import CassetteError, InvalidArgument
from modelwire.ext import ConnectionWrapper, Reply, exchange_limiters, observing
from modelwire.testing.cassettes.recording import (
    CallRecorder,
    Writer,
    end_cassette,
    recorded_connection,
    start_cassette,
)
from modelwire.testing.cassettes.records import Answer, AnyExchange, Request, from_lines
from modelwire.testing.cassettes.request_diff import how_it_differs

if TYPE_CHECKING:
    from modelwire.transport.steps import Send, Wait

# Before a wait for the rate limiter is skipped, it is a real one for this long: another call may free the limiter.
_TURN_S = 0.01


class Replay:
    """Answer every call that starts in the block from the recording at `path`, without network.

        with replayed("run.jsonl"):
            chain.batch(rows)

    A request is found by its method, URL and body; equal ones are answered in the order of the
    recording. A request that is not recorded raises `CassetteError`, which describes the difference
    to the most similar one; with `on_missing="call"` it is sent, and added to the file. `missing`
    lists requests without an answer, `unused` is the number of answers left.

    Without a `pace`, nothing waits: neither for bytes, nor before a retry, nor for a rate limit.
    With a `pace`, bytes arrive at the recorded times (1.0), or faster (2.0: in half the time), and
    waits are real. Rate limits learned in the block and outside of it are separate.

    Raises:
        CassetteError: Another cassette is active, or the file is missing, truncated, not a cassette or too new.
        InvalidArgument: `on_missing` or `pace` has an invalid value.
    """

    answers = True

    def __init__(
        self,
        path: StrPath,
        *,
        on_missing: Literal["raise", "call"] = "raise",
        pace: float | None = None,
        _may_be_absent: bool = False,
    ) -> None:
        if on_missing not in ("raise", "call"):
            raise InvalidArgument(f'`on_missing` must be "raise" or "call", not {on_missing!r}.')
        if pace is not None and not pace > 0:
            raise InvalidArgument(
                f"`pace` must be greater than 0, or None for no waiting, not {pace!r}."
            )
        self.path = Path(path)
        self.pace = pace
        self.missing: list[str] = []
        self._calls = on_missing == "call"
        # A test that uses the fixture need not make any call.
        self._may_be_absent = _may_be_absent
        self._writer: Writer | None = None
        self._recorded: list[Request] = []
        self._answers: dict[str, deque[Answer]] = {}
        self._lock = RLock()
        self._skipped_s = 0.0
        # These calls have a deadline.
        self._limited: WeakSet[AnyExchange] = WeakSet()
        self._limiters: Any = None
        self._observing = ExitStack()

    def __enter__(self) -> Replay:
        start_cassette(self, f"`replayed({str(self.path)!r})`")
        try:
            self._load()
            if self._calls:
                self._writer = Writer(self.path, append=True)
                self._observing.enter_context(
                    observing(CallRecorder(self._writer), everywhere=True)
                )
        except BaseException:
            # On Ctrl-C, too: calls after the block must not be answered from this recording.
            self._observing.close()
            end_cassette(self)
            raise
        self._limiters = exchange_limiters({})
        return self

    def __exit__(self, *exc: object) -> None:
        self._observing.close()
        end_cassette(self)
        exchange_limiters(self._limiters)
        if self._writer is not None:
            self._writer.close()

    @property
    def unused(self) -> int:
        return sum(map(len, self._answers.values()))

    def wrap(self, connection: Any) -> Any:
        exchange = connection.exchange
        if self.pace is None:
            exchange.clock = self.clock
            if exchange.deadline is not None:
                exchange.deadline += self._skipped_s
                self._limited.add(exchange)
        if self._writer is not None:
            connection = recorded_connection(self._writer, connection)
        if connection.is_async:
            return _AsyncReplayedConnection(self, connection)
        return _SyncReplayedConnection(self, connection)

    def _load(self) -> None:
        path = self.path
        try:
            contents = from_lines(path.read_bytes(), path)
        except FileNotFoundError as exc:
            if self._may_be_absent:
                return
            raise CassetteError(
                f"There is no cassette at `{path}`: make it with `recorded(...)`, or with "
                "`pytest --modelwire-record=once`."
            ) from exc
        except OSError as exc:
            raise CassetteError(f"`{path}` cannot be read: {exc.strerror or exc}.") from exc
        for request, answer in contents.exchanges:
            self._recorded.append(request)
            self._answers.setdefault(request.sha256, deque()).append(answer)

    def knows(self, exchange: AnyExchange) -> bool:
        """Return whether the recording has an unused answer for the next attempt of a call."""
        return bool(self._answers.get(Request.of(exchange).sha256))

    def answer_to(self, exchange: AnyExchange) -> Answer | None:
        """Return the recorded answer to a request; None if the request is to be sent.

        Raises: `CassetteError` if there is no answer.
        """
        request = Request.of(exchange)
        with self._lock:
            answers = self._answers.get(request.sha256)
            if answers:
                return answers.popleft()
            if self._calls:
                return None
            self.missing.append(f"{request.method} {request.url}")
        raise CassetteError(
            f"`{self.path}` has no answer to this request. {how_it_differs(request, self._recorded)}"
        )

    def clock(self) -> float:
        """Return the time in seconds for deadlines and limiters: `monotonic` plus the skipped seconds."""
        return monotonic() + self._skipped_s

    def pass_over(self, seconds: float, by: AnyExchange) -> None:
        """Advance the clock of all calls and rate limiters by `seconds`.

        The deadlines of all calls but `by` are moved by as much.
        """
        with self._lock:
            self._skipped_s += seconds
            for exchange in self._limited:
                if exchange is not by and exchange.deadline is not None:
                    exchange.deadline += seconds


class _ReplayedConnection(ConnectionWrapper):
    """Answers the requests of one connection from a recording; others are sent over the `inner` connection."""

    def __init__(self, replay: Replay, inner: Any) -> None:
        super().__init__(inner)
        self._replay = replay
        self._answer: Answer | None = None
        self._next = 0
        self._began = 0.0

    def _begin(self) -> Answer | None:
        self._answer = self._replay.answer_to(self.exchange)
        self._next = 0
        self._began = monotonic()
        return self._answer

    def _due_s(self, at_s: float) -> float:
        """Return the seconds until data recorded `at_s` after the request are due."""
        pace = self._replay.pace
        if pace is None:
            return 0.0
        return max(0.0, self._began + at_s / pace - monotonic())

    def _head_s(self, answer: Answer) -> float:
        """Return the seconds until the headers are due, or until the error if no headers were recorded."""
        if answer.status is None:
            return self._due_s(answer.end_s)
        return self._due_s(answer.head_s)

    def _reply(self, answer: Answer) -> Reply:
        if answer.status is None:
            self._ends(answer)
        return Reply(answer.status or 0, dict(answer.headers))

    def _next_s(self, answer: Answer) -> float:
        if self._next < len(answer.pieces):
            return self._due_s(answer.pieces[self._next][0])
        return self._due_s(answer.end_s)

    def _piece(self, answer: Answer) -> bytes | None:
        self.exchange.remaining_s()
        if self._next == len(answer.pieces):
            self._ends(answer)
            return None
        self._next += 1
        return answer.pieces[self._next - 1][1]

    def _ends(self, answer: Answer) -> None:
        if answer.ended == "failed":
            raise answer.failure()
        if answer.ended == "left":
            raise CassetteError(
                f"`{self._replay.path}` has the answer to this request only up to here: the recorded program "
                "stopped reading it. Record it again."
            )

    def _has_time(self) -> bool:
        """Return whether waits before this request are skipped: without a `pace`, if its answer is recorded."""
        return self._replay.pace is None and self._replay.knows(self.exchange)

    def _passed_over(self, seconds: float) -> bool:
        passes = self._has_time()
        if passes:
            self._replay.pass_over(seconds, self.exchange)
        return passes

    def _end_turn(self, step: Wait) -> None:
        if not step.admission.signalled:
            self._replay.pass_over(step.seconds, self.exchange)


def _short(step: Wait) -> Wait:
    return type(step)(step.admission, min(step.seconds, _TURN_S))


class _SyncReplayedConnection(_ReplayedConnection):
    def send(self, step: Send) -> Reply:
        answer = self._begin()
        if answer is None:
            reply: Reply = self.inner.send(step)
            return reply
        sleep(self._head_s(answer))
        reply = self._reply(answer)
        if not step.stream:
            reply.body = b"".join(iter(self.read, None))
        return reply

    def read(self) -> bytes | None:
        answer = self._answer
        if answer is None:
            data: bytes | None = self.inner.read()
            return data
        sleep(self._next_s(answer))
        return self._piece(answer)

    def close(self) -> None:
        self._answer = None
        self.inner.close()

    def sleep(self, seconds: float) -> None:
        if not self._passed_over(seconds):
            self.inner.sleep(seconds)

    def wait(self, step: Wait) -> None:
        if self._has_time():
            self.inner.wait(_short(step))
            self._end_turn(step)
        else:
            self.inner.wait(step)


class _AsyncReplayedConnection(_ReplayedConnection):
    """Each wait, even of 0 seconds, lets other tasks run, and ends with an error at the call's deadline."""

    async def send(self, step: Send) -> Reply:
        from asyncio import timeout

        answer = self._begin()
        if answer is None:
            reply: Reply = await self.inner.send(step)
            return reply
        async with timeout(step.remaining_s):
            await self.inner.sleep(self._head_s(answer))
            reply = self._reply(answer)
            pieces = []
            while not step.stream and (piece := await self.read()) is not None:
                pieces.append(piece)
            reply.body = b"".join(pieces)
        return reply

    async def read(self) -> bytes | None:
        from asyncio import timeout

        answer = self._answer
        if answer is None:
            data: bytes | None = await self.inner.read()
            return data
        async with timeout(self.exchange.remaining_s()):
            await self.inner.sleep(self._next_s(answer))
        return self._piece(answer)

    async def close(self) -> None:
        self._answer = None
        await self.inner.close()

    async def sleep(self, seconds: float) -> None:
        if not self._passed_over(seconds):
            await self.inner.sleep(seconds)

    async def wait(self, step: Wait) -> None:
        if self._has_time():
            await self.inner.wait(_short(step))
            self._end_turn(step)
        else:
            await self.inner.wait(step)

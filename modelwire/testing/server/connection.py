"""One connection of the server: it reads HTTP/1.1 requests with h11, and executes the steps of their answers.

`Connection` has the methods of `asyncio.Protocol`, but does not inherit from it: asyncio is imported
only when a server starts.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import h11

from modelwire.testing.server.replies import FOREVER_S, End, Reply, Step, Steps
from modelwire.testing.server.requests import SeenRequest

if TYPE_CHECKING:
    import asyncio

_MAX_HEAD_BYTES = 64 * 1024
# With this value of SO_LINGER (on, 0 seconds), the system discards unsent data on close and resets
# the connection.
_RST = struct.pack("ii", 1, 0)

# The beginning of a response that is not an interim one (1xx).
_STATUS_LINE = re.compile(rb"HTTP/1\.1 [02-9]\d\d")

_Handle = Callable[[SeenRequest], bytes | Steps]
# The connection calls this at the end of a request, with whether the whole answer was sent.
_Finished = Callable[[SeenRequest, bool], None]


class Connection:
    """Reads and answers the requests of one connection, one after the other."""

    def __init__(
        self,
        handle: _Handle,
        finished: _Finished,
        loop: asyncio.AbstractEventLoop,
        open_ones: set[Connection],
        time_scale: float,
    ) -> None:
        self._handle = handle
        self._finished = finished
        self._loop = loop
        self._open = open_ones
        self._time_scale = time_scale
        self._reader = _new_reader()
        # This is the head of the latest request, whose body may still be incomplete.
        self._head: Any = None
        self._content = bytearray()
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        import asyncio

        self._transport = transport
        # It is not set while the send buffer is full, because the client does not read.
        self._writable = asyncio.Event()
        self._writable.set()
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._reader.receive_data(data)
        if self._playing is None:
            self._answer_what_is_there()

    def eof_received(self) -> bool:
        # HTTP clients that send EOF have disconnected; no known client waits on a half-closed
        # connection.
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)
        if self._playing is not None:
            self._playing.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def close(self) -> None:
        """Drop the connection."""
        self._transport.abort()

    def _answer_what_is_there(self) -> None:
        while (request := self._read()) is not None:
            steps = self._handle(request)
            if not isinstance(steps, bytes):
                self._playing = self._loop.create_task(self._play(request, steps))
                return
            request.status = int(steps[9:12])
            # Counting comes first, so that a client that has read the answer finds it counted.
            self._finished(request, True)
            self._transport.write(steps)
            if _is_last(request):
                self._transport.close()
                return

    def _read(self) -> SeenRequest | None:
        """Return the next complete request; None if more data must arrive, or if the data are not HTTP.

        Data that are not HTTP get an error as their answer, and the connection is closed.
        """
        try:
            while not isinstance(event := self._reader.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    self._head = event
                    self._content = bytearray()
                elif isinstance(event, h11.Data):
                    self._content += event.data
                else:  # More data have to arrive.
                    if self._reader.they_are_waiting_for_100_continue:
                        go_on = h11.InformationalResponse(
                            status_code=100, headers=[], reason=b"Continue"
                        )
                        self._transport.write(self._reader.send(go_on))
                    return None
        except h11.RemoteProtocolError as exc:
            self._transport.write(
                Reply(exc.error_status_hint, {"connection": "close"}, [b""]).head()
            )
            self._transport.close()
            return None
        rest, _ = self._reader.trailing_data
        # The bytes of the answer come from the script and do not pass through h11, so each request
        # gets a new reader.
        self._reader = _new_reader()
        if rest:
            self._reader.receive_data(rest)
        head = self._head
        named = {}
        for name, value in head.headers:
            named[name.decode("latin-1")] = value.decode("latin-1")
        return SeenRequest(
            head.method.decode("latin-1"),
            head.target.decode("latin-1"),
            named,
            bytes(self._content),
        )

    async def _play(self, request: SeenRequest, steps: Steps) -> None:
        playing = iter(steps)
        try:
            step = next(playing, b"")
            following = next(playing, None)
            while following is not None:
                await self._do(request, step)
                step = following
                following = next(playing, None)
        except BaseException:
            # The answer is counted as unfinished, even if the server was stopped.
            self._finished(request, False)
            # The error may come from a user's own fault: the client must not wait for more data.
            self._transport.abort()
            raise
        if isinstance(step, bytes):
            self._note_status(request, step)
        # Counting comes before the last bytes, so that a client that has read them finds the answer counted.
        self._finished(request, True)
        await self._do(request, step)
        if isinstance(step, End) or self._transport.is_closing():
            return
        self._playing = None
        if _is_last(request):
            self._transport.close()
        else:
            self._answer_what_is_there()

    async def _do(self, request: SeenRequest, step: Step) -> None:
        """Execute one step: send bytes, wait some seconds, or end the connection."""
        import asyncio

        if isinstance(step, End):
            self._end(step)
        elif isinstance(step, bytes):
            self._note_status(request, step)
            self._transport.write(step)
            # An endless answer must let other connections run.
            await asyncio.sleep(0)
            await self._writable.wait()
        elif step == FOREVER_S:
            await self._loop.create_future()
        elif step > 0:
            await asyncio.sleep(step * self._time_scale)

    @staticmethod
    def _note_status(request: SeenRequest, step: bytes) -> None:
        if _STATUS_LINE.match(step):
            request.status = int(step[9:12])

    def _end(self, how: End) -> None:
        if how is End.CLOSE:
            self._transport.close()
            return
        import socket

        self._transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, _RST
        )
        self._transport.abort()


def _new_reader() -> h11.Connection:
    return h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)


def _is_last(request: SeenRequest) -> bool:
    """Return whether the client wants the connection closed.

    The header may list several options (RFC 9110, 7.6.1).
    """
    options = request.headers.get("connection", "").lower()
    return "close" in map(str.strip, options.split(","))

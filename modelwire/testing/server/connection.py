"""One connection of the server: HTTP/1.1 requests in, read by h11, the steps of their answers out, byte by byte.

A protocol for an asyncio transport, by duck typing: asyncio itself is imported by who makes the server.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import h11

from modelwire.testing.server.replies import FOREVER_S, End, Reply, Step
from modelwire.testing.server.requests import SeenRequest

if TYPE_CHECKING:
    import asyncio

__all__ = ["Connection"]

MAX_HEAD_BYTES = 64 * 1024
_RST = struct.pack(
    "ii", 1, 0
)  # SO_LINGER: on, no seconds: the system forgets what is unsent and resets

Handle = Callable[[SeenRequest], bytes | Iterable[Step]]
Finished = Callable[[SeenRequest, bool], None]  # (request, whether all of the answer went)


class Connection:
    """Reads requests one after the other; the next one is looked at when the last is answered."""

    def __init__(
        self,
        handle: Handle,
        finished: Finished,
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
        self._head: Any = None  # of the request whose body is awaited
        self._content = bytearray()
        self._playing: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        import asyncio

        self._transport = transport
        self._writable = asyncio.Event()  # not set while the client does not read
        self._writable.set()
        self._open.add(self)

    def data_received(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._reader.receive_data(data)
        if self._playing is None:
            self._answer_what_is_there()

    def eof_received(self) -> bool:
        return False  # HTTP clients that say no more have gone; none is known that waits with half a connection

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
            self._finished(request, True)  # first: who has read our answer finds it counted
            self._transport.write(steps)
            if _is_last(request):
                self._transport.close()
                return

    def _read(self) -> SeenRequest | None:
        """Take one whole request from what has come, or nothing; what is no HTTP is refused."""
        try:
            while not isinstance(event := self._reader.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Request):
                    self._head, self._content = event, bytearray()
                elif isinstance(event, h11.Data):
                    self._content += event.data
                else:  # more has to come
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
        self._reader = (
            _new_reader()
        )  # the answer's bytes are the script's own, and do not go through h11
        if rest:
            self._reader.receive_data(rest)
        head = self._head
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        return SeenRequest(
            head.method.decode("latin-1"),
            head.target.decode("latin-1"),
            named,
            bytes(self._content),
        )

    async def _play(self, request: SeenRequest, steps: Iterable[Step]) -> None:
        playing = iter(steps)
        try:
            step, following = next(playing, b""), next(playing, None)
            while following is not None:
                await self._do(request, step)
                step, following = following, next(playing, None)
        except (
            BaseException
        ):  # whatever cut the answer, a stopping server too, it is counted as not finished
            self._finished(request, False)
            self._transport.abort()  # a fault of the user's own may fail: its client waits for nothing
            raise
        if isinstance(step, bytes):
            self._note_status(request, step)
        self._finished(request, True)  # before the last step, for the same reason
        await self._do(request, step)
        if isinstance(step, End) or self._transport.is_closing():
            return
        self._playing = None
        if _is_last(request):
            self._transport.close()
        else:
            self._answer_what_is_there()

    async def _do(self, request: SeenRequest, step: Step) -> None:
        """Do one step; cancelled where the client goes meanwhile."""
        import asyncio

        if isinstance(step, End):
            self._end(step)
        elif isinstance(step, bytes):
            self._note_status(request, step)
            self._transport.write(step)
            await asyncio.sleep(0)  # an endless answer leaves room for the others
            await self._writable.wait()
        elif step == FOREVER_S:
            await self._loop.create_future()
        elif step > 0:
            await asyncio.sleep(step * self._time_scale)

    @staticmethod
    def _note_status(request: SeenRequest, step: bytes) -> None:
        if step[:9] == b"HTTP/1.1 " and step[9:12].isdigit() and step[9:10] != b"1":
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
    return h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)


def _is_last(request: SeenRequest) -> bool:
    """Whether the client wants the connection closed; the word may stand among others (RFC 9110, 7.6.1)."""
    return "close" in (
        word.strip().lower() for word in request.headers.get("connection", "").split(",")
    )

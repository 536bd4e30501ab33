"""Where the chunks of a stream go: out to the caller, or together into one answer. No I/O here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from modelwire.errors import ChatError
from modelwire.transport.sse import MAX_EVENT_BYTES, SSEDecoder

if TYPE_CHECKING:
    from modelwire.transport.steps import Exchange
    from modelwire.transport.wire import Reply

__all__ = ["CollectedChunks", "EmittedChunks"]

M = TypeVar("M")
C = TypeVar("C")


class EmittedChunks(Generic[M, C]):
    """Hands chunks to the caller, and can say what they were should the stream fail.

    It keeps the bytes they came in and decodes them again when asked: a codec is pure, so that is exact, and bytes cost
    the garbage collector nothing, where the chunks of hundreds of live streams cost it a sixth of a core.
    """

    FOLD_AT_BYTES = 1024 * 1024

    def __init__(self, exchange: Exchange[M, C]) -> None:
        self.any = False
        self._exchange = exchange
        self._earlier: C | None = None  # what an attempt before this one had handed out

    def begin(self, head: Reply) -> None:
        if self.any:
            self._earlier = self.sum()
        self._framing = getattr(self._exchange.wire, "framing", SSEDecoder)(
            max_event_bytes=MAX_EVENT_BYTES
        )
        self._decoder = self._exchange.wire.stream_decoder(head.headers)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._folded: list[C] = []  # the sum of what was decoded again so far

    def take(self, chunks: list[C], data: bytes = b"") -> Iterable[list[C]]:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > self.FOLD_AT_BYTES:
                self._fold()
        if chunks:
            if self._earlier is not None and self._exchange.marker is not None:
                self._earlier = None
                chunks = [self._exchange.marker(), *chunks]
            self.any = True
        return (chunks,) if chunks else ()

    def sum(self) -> C:
        """Add up what the caller has: of the last attempt that came to anything."""
        self._fold()
        return cast("C", self._folded[0] if self._folded else self._earlier)

    def _fold(self) -> None:
        chunks = self._folded
        try:
            for data in self._held:
                for event in self._framing.feed(data):
                    chunks += self._decoder.feed(event)
        except ChatError:  # the failure that ended the stream: what came before it is all there
            pass
        self._held, self._held_bytes = [], 0
        self._folded = [self._exchange.merge(chunks)] if chunks else []


class CollectedChunks(Generic[M, C]):
    """Keeps the chunks, folded into one every so often."""

    FOLD_AT = 256

    def __init__(self, exchange: Exchange[M, C]) -> None:
        self.chunks: list[C] = []
        self._merge = exchange.merge

    def begin(self, head: Reply) -> None:
        pass

    def take(self, chunks: list[C], data: bytes = b"") -> Iterable[list[C]]:
        self.chunks += chunks
        if len(self.chunks) > self.FOLD_AT:
            self.chunks = [self._merge(self.chunks)]
        return ()

    def sum(self) -> C:
        return self._merge(self.chunks)

"""Receives the chunks of a stream, to yield them to the caller or to collect them for one answer. No I/O here."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from modelwire.errors import ChatError
from modelwire.transport.sse import MAX_EVENT_BYTES, SSEDecoder

if TYPE_CHECKING:
    from modelwire.transport.steps import Exchange
    from modelwire.transport.wire import Reply

M = TypeVar("M")
C = TypeVar("C")


class _Pack:
    """Pieces of a stream's body, stored compressed. Iteration yields the original pieces."""

    __slots__ = ("_data", "_sizes")

    def __init__(self, pieces: Sequence[bytes]) -> None:
        from zlib import Z_BEST_SPEED, compress

        self._sizes = array("I", map(len, pieces))
        self._data = compress(b"".join(pieces), Z_BEST_SPEED)

    def __iter__(self) -> Iterator[bytes]:
        from zlib import decompress

        data = decompress(self._data)
        begin = 0
        for size in self._sizes:
            yield data[begin : begin + size]
            begin += size


class EmittedChunks(Generic[M, C]):
    """Yields chunks to the caller, and can return their sum if the stream fails.

    It stores the received bytes and decodes them again if needed. That is exact, as a codec is pure, and bytes cost the
    garbage collector nothing, while the chunks of hundreds of live streams cost it a sixth of a core. The bytes of a
    long stream are compressed, since its events are much alike.
    """

    PACK_AT_BYTES = 1024 * 1024

    def __init__(self, exchange: Exchange[M, C], before: C | None = None) -> None:
        # True after the first chunk was yielded.
        self.any = False
        # True if the provider expects another request.
        self.suspended = False
        # The error of a refused answer, whose last chunks are not yielded.
        self.refusal: ChatError | None = None
        # The sum of the answer's earlier parts.
        self.before = before
        self._exchange = exchange
        # The sum of the chunks that an earlier attempt had yielded.
        self._earlier: C | None = None
        # The last chunks of a suspended part, as they were received.
        self._end: list[C] = []
        self._packed: list[_Pack] = []
        # The pieces that were received after the packed ones.
        self._held: list[bytes] = []
        self._held_bytes = 0
        # The sum of the pieces that were decoded again so far.
        self._folded: list[C] = []
        self._in_place = self._next_part()

    def has_begun(self) -> bool:
        """Return whether a chunk was yielded to the caller."""
        return self.any

    def begin(self, head: Reply) -> None:
        if self.any:
            self._earlier = self.sum()
        self._in_place = self._next_part()
        self._framing = getattr(self._exchange.wire, "framing", SSEDecoder)(
            max_event_bytes=MAX_EVENT_BYTES
        )
        self._decoder = self._exchange.wire.stream_decoder(head.headers)
        self._packed = []
        self._held = []
        self._held_bytes = 0
        self._folded = []

    def _next_part(self) -> Callable[[Sequence[C]], list[C]] | None:
        """Return a function that makes chunks continue the answer's earlier parts; None for its first part."""
        continuation = self._exchange.continuation
        if self.before is None or continuation is None:
            return None
        return continuation.next_part(self.before)

    def take(self, chunks: list[C], data: bytes = b"") -> Iterable[list[C]]:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > self.PACK_AT_BYTES:
                self._packed.append(_Pack(self._held))
                self._held = []
                self._held_bytes = 0
        if chunks:
            if self._in_place is not None:
                chunks = self._in_place(chunks)
            if self._earlier is not None and self._exchange.hooks.marker is not None:
                self._earlier = None
                chunks = [*self._again(), *chunks]
            self.any = True
        return (chunks,) if chunks else ()

    def _again(self) -> list[C]:
        """Return the marker of a restart and the earlier parts of the answer, because only the last part restarts."""
        assert self._exchange.hooks.marker is not None  # noqa: S101 - for the type checker
        marker = self._exchange.hooks.marker()
        continuation = self._exchange.continuation
        if self.before is None or continuation is None:
            return [marker]
        return [marker, continuation.opened(self.before)]

    def end(self, chunks: list[C], *, refused: bool = False) -> Iterable[list[C]]:
        """Return the last chunks to yield: without the end mark if the part is suspended, none if it is refused."""
        refusals = self._exchange.hooks.refusals
        if refusals is not None and chunks and (refused or refusals.may_end(chunks[-1])):
            self._end = chunks
            whole = self.sum()
            self.refusal = refusals.error(whole, self._exchange.wire.provider)
            if self.refusal is not None:
                return ()
            chunks = refusals.ending(whole, chunks)
            self._end = []
        continuation = self._exchange.continuation
        if continuation is not None and chunks and continuation.is_suspended(chunks[-1]):
            self.suspended = True
            self._end = chunks
            chunks = [*chunks[:-1], continuation.opened(chunks[-1])]
        return self.take(chunks)

    def sum(self) -> C:
        """Return the sum of the chunks that the caller has: the earlier parts, and the last attempt with any chunks."""
        self._fold()
        chunks = [*self._folded, *self._end]
        if not chunks:
            return cast("C", self.before if self._earlier is None else self._earlier)
        part = self._exchange.hooks.merge(chunks)
        continuation = self._exchange.continuation
        if self.before is None or continuation is None:
            return part
        return continuation.added(self.before, part)

    def _fold(self) -> None:
        chunks = self._folded
        try:
            packs: list[Iterable[bytes]] = [*self._packed, self._held]
            for pieces in packs:
                for data in pieces:
                    for event in self._framing.feed(data):
                        chunks += self._decoder.feed(event)
                if len(chunks) > 1:
                    chunks = [self._exchange.hooks.merge(chunks)]
        except ChatError:  # This failure has ended the stream; the chunks before it are complete.
            pass
        self._packed = []
        self._held = []
        self._held_bytes = 0
        self._folded = [self._exchange.hooks.merge(chunks)] if chunks else []


class CollectedChunks(Generic[M, C]):
    """Collects the chunks of a stream; more than `FOLD_AT` are replaced by their sum."""

    FOLD_AT = 256

    def __init__(self, exchange: Exchange[M, C]) -> None:
        self.chunks: list[C] = []
        self._merge = exchange.hooks.merge

    def begin(self, head: Reply) -> None:
        pass

    def take(self, chunks: list[C], data: bytes = b"") -> Iterable[list[C]]:
        self.chunks += chunks
        if len(self.chunks) > self.FOLD_AT:
            self.chunks = [self._merge(self.chunks)]
        return ()

    def end(self, chunks: list[C], *, refused: bool = False) -> Iterable[list[C]]:
        return self.take(chunks)

    def sum(self) -> C:
        return self._merge(self.chunks)

"""Read a body: unpack what a server has compressed, piece by piece, and keep the whole within limits. No I/O here.

We ask for gzip and deflate (RFC 9110 8.4.1), which the standard library reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelwire.errors import ConnectionLost, MalformedResponse, RetryClass

__all__ = [
    "MAX_RESPONSE_BYTES",
    "MAX_STREAM_BYTES",
    "Unpacking",
    "Whole",
    "joined",
    "too_large",
    "unpacking",
]

MAX_RESPONSE_BYTES = 64 * 1024 * 1024  # unpacked; no answer is larger, and a bomb is
# The most bytes of a stream where the user sets no limit: each event repeats its frame, so that 128,000 tokens with
# Azure's filter results take 70 MiB.
MAX_STREAM_BYTES = 4 * MAX_RESPONSE_BYTES
_GZIP_BEGINS = b"\x1f"  # RFC 1952 2.3.1
_PIECE_BYTES = 1024 * 1024  # unpacked at a time: a bomb is noticed before it is in memory


class Whole:
    """Collects a body that will be read as one. Raises `MalformedResponse` for one without measure."""

    def __init__(self, max_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._max_bytes = max_bytes

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._pieces.append(data)

    def joined(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._pieces)


def joined(pieces: Iterable[bytes], max_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
    """Collect `pieces` into one body."""
    whole = Whole(max_bytes)
    for data in pieces:
        whole.add(data)
    return whole.joined()


class Unpacking:
    """Decompresses one body. Corrupt data raises `ConnectionLost`, as bytes were lost in transit.

    If not `strict`, bytes that cannot be decompressed are passed on unchanged.
    """

    def __init__(
        self, encoding: str, *, strict: bool = True, max_bytes: int = MAX_RESPONSE_BYTES
    ) -> None:
        import zlib

        self._zlib = zlib
        self._encoding = encoding
        self._strict = strict
        self._max_bytes = max_bytes
        self._unpack = self._unpacker()
        self._head = b""
        self._begun = False
        self._broken = False

    def _unpacker(self) -> Any:
        bits = self._zlib.MAX_WBITS
        if self._encoding == "gzip":
            bits |= 16
        return self._zlib.decompressobj(bits)

    def feed(self, data: bytes) -> bytes:
        """Return what `data` unpacks to, possibly nothing yet."""
        if self._broken:
            return data
        if not self._begun:  # the two bytes that tell the format are read together
            data = self._head + data
            self._head = b""
            if len(data) < 2:
                self._head = data
                return b""
        try:
            return self._unpacked(data)
        except self._zlib.error as exc:
            if not self._begun and self._encoding == "deflate":
                # It ought to be wrapped in zlib's format; some servers send it bare.
                self._unpack = self._zlib.decompressobj(-self._zlib.MAX_WBITS)
                self._begun = True
                return self.feed(data)
            if self._strict:
                raise ConnectionLost(f"The answer's compression is broken ({exc}).") from exc
            self._broken = True
            return data

    def _unpacked(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while data or (
            pieces and len(pieces[-1]) == _PIECE_BYTES
        ):  # a full piece may have left more behind
            if (
                self._unpack.eof and data
            ):  # gzip allows one member after the other; what else follows is padding
                if self._encoding != "gzip" or data[:1] != _GZIP_BEGINS:
                    break
                self._unpack = self._unpacker()
            pieces.append(self._unpack.decompress(data, _PIECE_BYTES))
            self._begun = True
            size += len(pieces[-1])
            if size > self._max_bytes:
                raise too_large(self._max_bytes)
            data = self._unpack.unconsumed_tail or (
                self._unpack.unused_data if self._encoding == "gzip" else b""
            )
        return b"".join(pieces)

    def check_end(self) -> None:
        """Raise where the body ended before its compression did."""
        if self._begun and self._strict and not self._unpack.eof:
            raise ConnectionLost("The answer's compression is cut short.")


def unpacking(
    encoding: str | None, *, strict: bool = True, max_bytes: int = MAX_RESPONSE_BYTES
) -> Unpacking | None:
    """Return what unpacks a body of this `Content-Encoding`, None where there is nothing to do."""
    name = (encoding or "identity").strip().lower()
    if name in ("identity", ""):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return Unpacking(name.removeprefix("x-"), strict=strict, max_bytes=max_bytes)
    if not strict:
        return None
    raise MalformedResponse(f"The answer is compressed as `{name[:40]}`, which was not asked for.")


def too_large(max_bytes: int) -> MalformedResponse:
    return MalformedResponse(
        f"The answer has more than {max_bytes:,} bytes; it was given up. The limit is the model's "
        "`max_response_bytes`.",
        retry_class=RetryClass.FATAL,
    )

"""Decompresses bodies piece by piece, and limits their size. No I/O here.

Requests accept gzip and deflate (RFC 9110 8.4.1), which the standard library reads.
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

# An answer may have at most this many bytes after decompression. Real answers are smaller; a decompression bomb is not.
MAX_RESPONSE_BYTES = 64 * 1024 * 1024
# A stream may have at most this many bytes, if the user sets no limit. Each event repeats other fields, so that 128,000
# tokens with Azure's filter results take 70 MiB.
MAX_STREAM_BYTES = 4 * MAX_RESPONSE_BYTES
_GZIP_BEGINS = b"\x1f"  # RFC 1952 2.3.1
# This many bytes are decompressed at a time, so that a decompression bomb is noticed before it is in memory.
_PIECE_BYTES = 1024 * 1024


class Whole:
    """Collects the pieces of a body. Raises `MalformedResponse` if they have more than `max_bytes`."""

    def __init__(self, max_bytes: int = MAX_RESPONSE_BYTES) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._max_bytes = max_bytes

    def add(self, data: bytes) -> None:
        """Append the next piece."""
        self._size += len(data)
        if self._size > self._max_bytes:
            raise too_large(self._max_bytes)
        self._pieces.append(data)

    def joined(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._pieces)


def joined(pieces: Iterable[bytes], max_bytes: int = MAX_RESPONSE_BYTES) -> bytes:
    """Return `pieces` as one body. Raises `MalformedResponse` if they have more than `max_bytes`."""
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
        """Return the decompressed bytes of `data`, possibly none yet."""
        if self._broken:
            return data
        if not self._begun:  # The two bytes that identify the format are read together.
            data = self._head + data
            self._head = b""
            if len(data) < 2:
                self._head = data
                return b""
        try:
            return self._unpacked(data)
        except self._zlib.error as exc:
            if not self._begun and self._encoding == "deflate":
                # The standard wraps deflate in zlib's format; some servers send it without.
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
        # After a full piece, more data may wait inside the decompressor.
        while data or (pieces and len(pieces[-1]) == _PIECE_BYTES):
            # A gzip body may have several members; any other data after one is padding.
            if self._unpack.eof and data:
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
        """Raise `ConnectionLost` if the body has ended before its compressed data."""
        if self._begun and self._strict and not self._unpack.eof:
            raise ConnectionLost("The answer's compression is cut short.")


def unpacking(
    encoding: str | None, *, strict: bool = True, max_bytes: int = MAX_RESPONSE_BYTES
) -> Unpacking | None:
    """Return the decompressor for a body with this `Content-Encoding`; None if it is not compressed.

    An unknown encoding raises `MalformedResponse`; if not `strict`, the result is None for it.
    """
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
        f"The answer has more than {max_bytes:,} bytes, so the connection was closed. The limit is the model's "
        "`max_response_bytes`.",
        retry_class=RetryClass.FATAL,
    )

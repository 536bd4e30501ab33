"""Read a body: unpack what a server has compressed, piece by piece, and keep the whole within limits. No I/O here.

We ask for gzip and deflate (RFC 9110 8.4.1), which the standard library reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelwire.errors import ConnectionLost, MalformedResponse, RetryClass

__all__ = ["MAX_RESPONSE_BYTES", "Unpacking", "Whole", "joined", "unpacking"]

MAX_RESPONSE_BYTES = 64 * 1024 * 1024  # unpacked; no answer is larger, and a bomb is


class Whole:
    """Collects a body that will be read as one. Raises `MalformedResponse` for one without measure."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """Take the next piece."""
        self._size += len(data)
        if self._size > MAX_RESPONSE_BYTES:
            raise _too_large()
        self._pieces.append(data)

    def joined(self) -> bytes:
        """Return it all."""
        return b"".join(self._pieces)


def joined(pieces: Iterable[bytes]) -> bytes:
    """Collect `pieces` into one body."""
    whole = Whole()
    for data in pieces:
        whole.add(data)
    return whole.joined()


class Unpacking:
    """Unpacks one body. What is broken is a `ConnectionLost`: bytes went missing on their way.

    Not `strict`, it hands on as they are the bytes it cannot unpack.
    """

    def __init__(self, encoding: str, *, strict: bool = True) -> None:
        import zlib

        self._zlib = zlib
        self._encoding = encoding
        self._strict = strict
        self._unpack = self._unpacker()
        self._head = b""
        self._begun = False
        self._broken = False

    def _unpacker(self) -> Any:
        return self._zlib.decompressobj(self._zlib.MAX_WBITS | 16 if self._encoding == "gzip" else self._zlib.MAX_WBITS)

    def feed(self, data: bytes) -> bytes:
        """Return what `data` unpacks to, possibly nothing yet."""
        if self._broken:
            return data
        if not self._begun:  # the two bytes that tell the format are read together
            data, self._head = self._head + data, b""
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
        out = b""
        while data:
            if self._unpack.eof:  # gzip allows one member after the other
                self._unpack = self._unpacker()
            out += self._unpack.decompress(data, MAX_RESPONSE_BYTES)
            if self._unpack.unconsumed_tail or len(out) > MAX_RESPONSE_BYTES:
                raise _too_large()
            self._begun = True
            data = self._unpack.unused_data if self._encoding == "gzip" else b""
        return out

    def check_end(self) -> None:
        """Raise where the body ended before its compression did."""
        if self._begun and self._strict and not self._unpack.eof:
            raise ConnectionLost("The answer's compression is cut short.")


def unpacking(encoding: str | None, *, strict: bool = True) -> Unpacking | None:
    """Return what unpacks a body of this `Content-Encoding`, None where there is nothing to do."""
    name = (encoding or "identity").strip().lower()
    if name in ("identity", ""):
        return None
    if name in ("gzip", "x-gzip", "deflate"):
        return Unpacking(name.removeprefix("x-"), strict=strict)
    if not strict:
        return None
    raise MalformedResponse(f"The answer is compressed as `{name[:40]}`, which was not asked for.")


def _too_large() -> MalformedResponse:
    return MalformedResponse(
        f"The answer has more than {MAX_RESPONSE_BYTES:,} bytes; it was given up.", retry_class=RetryClass.FATAL
    )

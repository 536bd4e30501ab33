"""Reading a body: compression in any pieces, and limits."""

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelwire.errors import ConnectionLost, MalformedResponse
from modelwire.transport.connections.body import Whole, unpacking

TEXT = "größe 🍷 ".encode() * 50


def bare_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


FORMS = {
    "gzip": gzip.compress(TEXT),
    "x-gzip": gzip.compress(TEXT[:100])
    + gzip.compress(TEXT[100:]),  # two members, as RFC 1952 allows
    "deflate": zlib.compress(TEXT),
    "DEFLATE ": bare_deflate(TEXT),
}


@given(st.sampled_from(list(FORMS)), st.integers(1, 40))
def test_any_pieces_unpack_to_the_same(encoding: str, size: int) -> None:
    packed, unpacker = FORMS[encoding], unpacking(encoding)
    assert unpacker is not None
    out = b"".join(unpacker.feed(packed[i : i + size]) for i in range(0, len(packed), size))
    unpacker.check_end()
    assert out == TEXT


def test_what_is_not_compressed_is_left_alone_and_what_we_cannot_read_is_said() -> None:
    assert unpacking(None) is unpacking("identity") is unpacking("") is None
    with pytest.raises(MalformedResponse, match="br"):
        unpacking("br")
    assert unpacking("br", strict=False) is None


def test_broken_and_cut_bodies_are_told_unless_an_error_is_being_read() -> None:
    cut, garbage = FORMS["gzip"][:-10], b"not gzip at all"
    for data in (cut, garbage):
        with pytest.raises(ConnectionLost):
            unpacker = unpacking("gzip")
            unpacker.feed(data)
            unpacker.check_end()
    lenient = unpacking("gzip", strict=False)
    assert lenient.feed(garbage) == garbage
    lenient.check_end()


def test_a_bomb_is_given_up() -> None:
    with pytest.raises(MalformedResponse, match="100,000 bytes") as caught:
        unpacking("gzip", max_bytes=100_000).feed(gzip.compress(b"\0" * 10_000_000))
    assert not caught.value.retryable
    whole = Whole(100_000)
    with pytest.raises(MalformedResponse):
        for _ in range(200):
            whole.add(b"x" * 1000)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("size", [1024 * 1024 - 1, 1024 * 1024, 3 * 1024 * 1024])
def test_nothing_is_left_behind_where_a_piece_is_full(encoding: str, size: int) -> None:
    packed = gzip.compress(b"a" * size) if encoding == "gzip" else zlib.compress(b"a" * size)
    unpacker = unpacking(encoding)
    assert unpacker.feed(packed) == b"a" * size
    unpacker.check_end()


@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_padding_after_a_compressed_body_is_passed_over(encoding: str, pieces: int) -> None:
    packed, padding = (
        (gzip.compress(TEXT) if encoding == "gzip" else zlib.compress(TEXT)),
        bytes(16),
    )
    unpacker = unpacking(encoding)
    assert (
        b"".join(map(unpacker.feed, [packed + padding] if pieces == 1 else [packed, padding]))
        == TEXT
    )
    unpacker.check_end()

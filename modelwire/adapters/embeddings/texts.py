"""Checks the texts of a caller, splits those that are too long, and packs them into requests. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import sqrt
from typing import Any, NamedTuple

from modelwire.errors import InvalidArgument, InvalidType

# An English text has at least this many characters for each token. A text in another script may have only one.
_ASCII_CHARS_PER_TOKEN = 3
_MOST_BYTES_OF_A_CHARACTER = 4


class PackLimits(NamedTuple):
    """The limits of one request."""

    texts: int  # the most texts
    tokens: int  # the most tokens of all texts
    tokens_of_text: int  # the most tokens of one text


def checked_texts(texts: Any) -> list[str]:
    """Return the texts as a list. Raises `InvalidType` or `InvalidArgument` with the index of an invalid text."""
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise InvalidType(
            f"`texts` must be a list of texts, not a `{type(texts).__name__}`. For one text: `embed_query(text)`."
        )
    checked = list(texts)
    for index, text in enumerate(checked):
        if not isinstance(text, str):
            raise InvalidType(
                f"`texts[{index}]` must be a text, not a `{type(text).__name__}`. Nothing was sent."
            )
        if not text:
            raise InvalidArgument(
                f"`texts[{index}]` is empty, and an empty text has no vector. Nothing was sent."
            )
    return checked


def estimated_tokens(text: str) -> int:
    """Return an estimate of the number of tokens in `text`, which is seldom too low."""
    if text.isascii():
        return len(text) // _ASCII_CHARS_PER_TOKEN + 1
    return len(text) + 1


class Splitter:
    """Splits texts of more than `limit` tokens, which are counted by tiktoken's encoding, or else estimated.

    A token has at least one byte, so most texts are certainly short enough without counting. `find_encoding` is called
    for the first text that must be counted.
    """

    def __init__(self, limit: int, find_encoding: Callable[[], Any]) -> None:
        self.limit = limit
        self.is_estimate = False
        """True once a text was split by an estimate of its tokens."""
        self._find_encoding = find_encoding

    @cached_property
    def encoding(self) -> Any:
        """The encoding; None if it is not on this machine."""
        return self._find_encoding()

    def is_short(self, text: str) -> bool:
        """Return whether the text certainly has at most `limit` tokens."""
        if len(text) * _MOST_BYTES_OF_A_CHARACTER <= self.limit:
            return True
        return len(text) <= self.limit and len(text.encode(errors="replace")) <= self.limit

    def counted_tokens(self, text: str) -> int | None:
        """Return the number of tokens in a text; None if they cannot be counted on this machine."""
        if self.encoding is None:
            return None
        return len(self.encoding.encode_ordinary(text))

    def pieces(self, text: str) -> list[str]:
        """Return the text in pieces of at most `limit` tokens. Most texts are one piece."""
        if self.is_short(text):
            return [text]
        if self.encoding is None:
            return self._pieces_by_estimate(text)
        ids = self.encoding.encode_ordinary(text)
        if len(ids) <= self.limit:
            return [text]
        starts = range(0, len(ids), self.limit)
        return [self.encoding.decode(ids[at : at + self.limit], errors="ignore") for at in starts]

    def _pieces_by_estimate(self, text: str) -> list[str]:
        if estimated_tokens(text) <= self.limit:
            return [text]
        self.is_estimate = True
        chars = self.limit
        if text.isascii():
            chars = self.limit * _ASCII_CHARS_PER_TOKEN
        return [text[at : at + chars] for at in range(0, len(text), chars)]


def packed(texts: Sequence[str], limits: PackLimits) -> Iterator[list[str]]:
    """Yield the texts, in order, in lists for one request each, which are as long as the limits allow."""
    pack: list[str] = []
    tokens = 0
    for text in texts:
        more = estimated_tokens(text)
        is_full = len(pack) == limits.texts or tokens + more > limits.tokens
        if pack and is_full:
            yield pack
            pack = []
            tokens = 0
        pack.append(text)
        tokens += more
    if pack:
        yield pack


def average(vectors: Sequence[list[float]], weights: Sequence[int]) -> list[float]:
    """Return the weighted average of the vectors of a text's pieces, scaled to length 1."""
    summed = [0.0] * len(vectors[0])
    for vector, weight in zip(vectors, weights, strict=True):
        pairs = zip(summed, vector, strict=True)
        summed = [total + number * weight for total, number in pairs]
    length = sqrt(sum(number * number for number in summed)) or 1.0
    return [number / length for number in summed]

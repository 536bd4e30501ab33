"""From the texts of a caller to the texts of requests: checked, split where they are too long, packed. No I/O here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from math import sqrt
from typing import Any, NamedTuple

from modelwire.errors import InvalidArgument, InvalidType

# A text of English has at least this many characters a token; of other scripts it may have one.
_ASCII_CHARS_PER_TOKEN = 3
_MOST_BYTES_OF_A_CHARACTER = 4


class PackLimits(NamedTuple):
    """The most that one request takes: texts, tokens of all of them, tokens of one."""

    texts: int
    tokens: int
    tokens_of_text: int


def checked_texts(texts: Any) -> list[str]:
    """Return the texts as a list. Raises `InvalidType` and `InvalidArgument` with the index of a bad one."""
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
    """Return a number of tokens that `text` seldom exceeds."""
    if text.isascii():
        return len(text) // _ASCII_CHARS_PER_TOKEN + 1
    return len(text) + 1


class Splitter:
    """Splits texts of more than `limit` tokens, by tiktoken's encoding, or without one by an estimate.

    A token is at least one byte, so most texts are known to be short enough without counting.
    `find_encoding` is called for the first text that has to be counted.
    """

    def __init__(self, limit: int, find_encoding: Callable[[], Any]) -> None:
        self.limit = limit
        self.is_estimate = False
        """True if a text was split by an estimate."""
        self._find_encoding = find_encoding

    @cached_property
    def encoding(self) -> Any:
        """The encoding; None where there is none on this machine."""
        return self._find_encoding()

    def is_short(self, text: str) -> bool:
        """Return whether the text certainly fits."""
        if len(text) * _MOST_BYTES_OF_A_CHARACTER <= self.limit:
            return True
        return len(text) <= self.limit and len(text.encode(errors="replace")) <= self.limit

    def counted_tokens(self, text: str) -> int | None:
        """Return how many tokens a text has; None where they cannot be counted here."""
        if self.encoding is None:
            return None
        return len(self.encoding.encode_ordinary(text))

    def pieces(self, text: str) -> list[str]:
        """Return the text in pieces that fit; most texts are one piece."""
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
    """Yield the texts in order, as many in a list as one request takes."""
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
    """Return the weighted average of the vectors of a text's pieces, at length 1."""
    summed = [0.0] * len(vectors[0])
    for vector, weight in zip(vectors, weights, strict=True):
        pairs = zip(summed, vector, strict=True)
        summed = [total + number * weight for total, number in pairs]
    length = sqrt(sum(number * number for number in summed)) or 1.0
    return [number / length for number in summed]

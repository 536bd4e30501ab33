"""The base class of the codecs of embeddings APIs: it reads vectors, and rejects invalid ones. No I/O here."""

from __future__ import annotations

import sys
from array import array
from binascii import a2b_base64
from collections import deque
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from modelwire.adapters.wires.json import UNDOCUMENTED, count_or_none, no_answer, read_reply
from modelwire.aliases import JSON, HeaderFields, Kwargs
from modelwire.messages import AIMessage, HumanMessage

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import ChatCall, Codec
    from modelwire.errors import ChatError, MalformedResponse
    from modelwire.messages import UsageMetadata
    from modelwire.transport.wire import Reply, WireRequest

Rows = list[list[float]]
VectorsAndTokens = tuple[Sequence[Any], int | None]

_VECTORS = "vectors"  # The key of the vectors in the `additional_kwargs` of an answer.
_IS_BIG_ENDIAN: bool = sys.byteorder == "big"  # Providers send little-endian numbers.
_PACK = "pack"  # The key of the `Pack` in the `additional_kwargs` of a call's message.


class Pack(NamedTuple):
    """The texts of one request, and its options by their common names, such as `dimensions` and `input_type`."""

    texts: Sequence[str]
    options: Mapping[str, Any] = {}

    def message(self) -> HumanMessage:
        """Return the message that carries this pack through a call. Observers of the call see the joined texts."""
        return HumanMessage("\n".join(self.texts), additional_kwargs={_PACK: self})


class Vectors:
    """The vectors of one answer, in the order of its texts. Logs of the call show only their number."""

    __slots__ = ("rows",)

    def __init__(self, rows: Rows) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        return f"Vectors({len(self.rows)})"


def pack_of(call: ChatCall) -> Pack:
    """Return the texts and options of a call."""
    return cast("Pack", call.messages[0].additional_kwargs[_PACK])


def vectors_of(answer: AIMessage) -> Rows:
    """Return the vectors of an answer, in the order of the texts of its request."""
    vectors: Any = answer.additional_kwargs[_VECTORS]
    rows: Rows = getattr(vectors, "rows", vectors)
    return rows


def storable_answer(answer: AIMessage) -> AIMessage:
    """Return the answer with its vectors, if it has any, as plain lists, so that they can be serialised."""
    if _VECTORS not in answer.additional_kwargs:
        return answer
    return answer.model_copy(update={"additional_kwargs": {_VECTORS: vectors_of(answer)}})


class EmbeddingCodec:
    """The codec of one request. A subclass encodes the body, and finds the vectors in an answer.

    `errors` is the codec of the provider's chat API, which reads error responses.
    """

    wire = "embeddings"
    has_output = False
    WORDS: ClassVar[Mapping[str, str]] = {}
    """The provider's names of options, by their common names, if they differ."""

    def __init__(self, provider: str, model: str, pack: Pack, errors: Codec) -> None:
        self.provider = provider
        self.model = model
        self.pack = pack
        self._errors = errors

    def encode(self, call: ChatCall) -> WireRequest:
        """Return the request of a call."""
        raise NotImplementedError

    def options(self) -> Kwargs:
        """Return the options of the request under the provider's names."""
        return {self.WORDS.get(key, key): value for key, value in self.pack.options.items()}

    def read(self, body: Any) -> VectorsAndTokens:
        """Return the vectors of an answer, in the order of the texts, and its token count, or None.

        A vector is a list of numbers, 32-bit floats as bytes, or these in base64. None marks a missing vector. If the
        body has another form, one of the exceptions in `UNDOCUMENTED` may be raised.
        """
        raise NotImplementedError

    def parse(self, reply: Reply) -> Any:
        """Return the parsed JSON of an answer. Raises `MalformedResponse` if it is not JSON."""
        return read_reply(reply, self.provider)

    def tokens_in_headers(self, reply: Reply) -> int | None:
        """Return the token count of an answer whose body has none; None if it is unknown."""
        return None

    def decode(self, reply: Reply) -> AIMessage:
        """Return a message with the vectors of an answer.

        Raises `MalformedResponse` for missing or invalid vectors; its `index` is the position of the first bad one.
        """
        body = self.parse(reply)
        try:
            found, tokens = self.read(body)
            vectors = deque(found)
            del found
            rows, infinite = _rows_of(vectors)
        except UNDOCUMENTED:
            raise no_answer(reply, self.provider, "has no vectors") from None
        self._check(rows, infinite, reply)
        if tokens is None:
            tokens = self.tokens_in_headers(reply)
        usage: UsageMetadata | None = None
        if tokens is not None:
            usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
        return AIMessage.from_wire(
            "",
            additional_kwargs={_VECTORS: Vectors(rows)},
            usage_metadata=usage,
            response_metadata={"model_name": self.model, "model_provider": self.provider},
        )

    def _check(self, rows: Rows, infinite: set[int], reply: Reply) -> None:
        """Raise `MalformedResponse` unless there is a valid vector for each text."""
        count = len(self.pack.texts)
        if len(rows) > count:
            raise no_answer(reply, self.provider, f"has {len(rows)} vectors for {count} texts")
        wanted = self.pack.options.get("dimensions")
        for index, row in enumerate(rows):
            if not row:
                problem = "is missing"
            elif index in infinite:
                problem = "has a number that is not finite"
            elif wanted is not None and wanted != len(row):
                problem = f"has {len(row)} numbers, and `dimensions` is {wanted}"
            else:
                continue
            raise self._bad_vector(index, problem, reply)
        if len(rows) < count:
            raise self._bad_vector(
                len(rows), f"is missing ({len(rows)} of {count} were sent)", reply
            )

    def _bad_vector(self, index: int, problem: str, reply: Reply) -> MalformedResponse:
        why = f"cannot be used: vector {index} {problem}"
        error = no_answer(reply, self.provider, why)
        error.index = index  # type: ignore[attr-defined]  # `EmbeddingWork` reads it
        return error

    def stream_decoder(self, headers: HeaderFields | None = None) -> Any:
        raise NotImplementedError

    def error(self, reply: Reply) -> ChatError:
        """Return the error of a response with a status >= 300 and any body; never raises."""
        return self._errors.error(reply)


def _floats_of(vector: Any) -> list[float]:
    """Return a vector as a list; an empty one for None. Raises an exception of `UNDOCUMENTED` for any other value."""
    if isinstance(vector, str):
        vector = a2b_base64(vector)
    if isinstance(vector, bytes):
        packed = array("f")
        packed.frombytes(vector)
        if _IS_BIG_ENDIAN:
            packed.byteswap()
        return packed.tolist()
    if vector is None:
        return []
    if vector.__class__ is not list:
        raise TypeError
    return list(map(float, vector))


def _rows_of(vectors: deque[Any]) -> tuple[Rows, set[int]]:
    """Return the vectors as lists, and the indexes of those with a number that is not finite.

    Each vector is removed before it is converted, so that its memory can be reused. This is a fifth faster.
    """
    rows: Rows = []
    infinite = set()
    while vectors:
        vector = vectors.popleft()
        row = _floats_of(vector)
        if not (_is_small(vector) or isfinite(sum(row))):
            infinite.add(len(rows))
        rows.append(row)
    return rows, infinite


def _is_small(vector: Any) -> bool:
    """Return whether a vector consists of 32-bit floats below 1.7e38, as bytes, so that all are finite.

    Looking at the byte with the exponent takes a fifth of the time of a sum.
    """
    if not isinstance(vector, bytes):
        return False
    exponents = vector[3::4]
    return b"\x7f" not in exponents and b"\xff" not in exponents


def by_index(items: Sequence[JSON], count: int, name: str) -> list[Any]:
    """Remove the field `name` from the items and return its values in the order of their `index`.

    None marks a text (of `count` texts) without an item. If there are more items than texts, their order is unchanged,
    and `decode` raises the error.
    """
    if len(items) > count:
        return [item.pop(name) for item in items]
    rows: list[Any] = [None] * count
    for position, item in enumerate(items):
        index = count_or_none(item.get("index"))
        place = position if index is None else index
        rows[place] = item.pop(name)
    return rows

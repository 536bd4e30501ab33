"""`EmbeddingWork`: all decisions of a call of `embed_documents`. The model makes its requests, sync or async."""

from __future__ import annotations

from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.adapters.embeddings.codec import Pack, Rows, vectors_of
from modelwire.adapters.embeddings.texts import (
    Splitter,
    average,
    checked_texts,
    estimated_tokens,
    packed,
)
from modelwire.errors import ChatError, ContextTooLong, and_said, warn_caller
from modelwire.outputs import Generation

if TYPE_CHECKING:
    from modelwire.adapters.embeddings.model import HTTPEmbeddings


class EmbeddingWork:
    """Decides which texts of a call are sent, in which requests, and assigns the vectors to the texts.

    Equal texts are sent once. A too long text is sent in pieces, and its vector is the average of their vectors.
    """

    def __init__(self, model: HTTPEmbeddings, texts: Any, purpose: str) -> None:
        self.model = model
        self.texts = checked_texts(texts)
        self.unique = list(dict.fromkeys(self.texts))
        self.options = model.options(purpose)
        self.packs: list[Pack] = []
        self._vectors: dict[str, list[float]] = {}
        self._pieces: dict[str, list[str]] = {}  # the pieces of each text that is too long

    def use_cached(self, found: Iterable[Sequence[Generation] | None]) -> None:
        """Use the vectors in the cache; `found` are its entries for the unique texts, None for a miss."""
        for text, generations in zip(self.unique, found, strict=True):
            row = _row_of(generations)
            if row:
                self._vectors[text] = row

    def pack(self) -> list[Pack]:
        """Return the requests for the texts that have no vector yet. Raises `ContextTooLong` for a too long text."""
        model = self.model
        splitter = Splitter(model.embedding_ctx_length, model.find_encoding)
        sent: list[str] = []
        for text in self.unique:
            if text in self._vectors:
                continue
            if splitter.is_short(text):
                sent.append(text)
            elif model.check_embedding_ctx_length:
                pieces = splitter.pieces(text)
                if len(pieces) > 1:
                    self._pieces[text] = pieces
                sent += pieces
            else:
                self._check_length(text, splitter)
                sent.append(text)
        if splitter.is_estimate:
            warn_caller(
                f"Texts longer than {splitter.limit:,} tokens were split by an estimate: tiktoken or its vocabulary "
                f"for `{model.model}` is not on this machine."
            )
        unique = dict.fromkeys(sent)
        self.packs = [Pack(texts, self.options) for texts in packed([*unique], model.limits())]
        return self.packs

    def _check_length(self, text: str, splitter: Splitter) -> None:
        """Raise `ContextTooLong` if the text has more tokens than the limit."""
        tokens = splitter.counted_tokens(text)
        if tokens is not None and tokens > splitter.limit:
            error = ContextTooLong(
                f"`texts[{self.texts.index(text)}]` has {tokens:,} tokens, but `{self.model.model}` takes "
                f"{splitter.limit:,}. Nothing was sent. `check_embedding_ctx_length=True` splits such a text.",
                model=self.model.model,
            )
            error.tokens = tokens
            error.max_input_tokens = splitter.limit
            raise error

    def take(self, answers: Iterable[Any]) -> None:
        """Use the answers of all requests, in their order. The first exception among them is raised.

        Its `partial` has a vector for each text, None for a missing one.
        """
        vectors: dict[str, list[float]] = {}
        failed: tuple[Pack, Exception] | None = None
        for pack, answer in zip(self.packs, answers, strict=True):
            if not isinstance(answer, Exception):
                rows = vectors_of(answer)
                vectors.update(zip(pack.texts, rows, strict=True))
            elif failed is None:
                failed = pack, answer
        for text in self.unique:
            pieces = self._pieces.get(text)
            if pieces is not None and vectors.keys() >= set(pieces):
                rows = [vectors[piece] for piece in pieces]
                weights = [*map(estimated_tokens, pieces)]
                self._vectors[text] = average(rows, weights)
            if pieces is None and text in vectors:
                self._vectors[text] = vectors[text]
        if failed is not None:
            raise self._located(*failed)

    def _located(self, pack: Pack, error: Exception) -> Exception:
        """Return the error of a request, with the indexes of its texts added to the message."""
        if not isinstance(error, ChatError):
            return error
        error.partial = [*map(self._vectors.get, self.texts)]
        position = getattr(error, "index", None)
        if position is not None:
            index = self._index_of(pack.texts[position])
            error.index = index  # type: ignore[attr-defined]  # Only errors about a bad vector have it.
            error.message = and_said(error.message, f"It is the vector of `texts[{index}]`.")
            return error
        indexes = [*map(self._index_of, pack.texts)]
        longest = max(pack.texts, key=len)
        sentence = (
            f"The request had {len(indexes)} of {len(self.texts)} texts, `texts[{min(indexes)}]` to "
            f"`texts[{max(indexes)}]`; the longest is `texts[{self._index_of(longest)}]`, of {len(longest):,} "
            "characters."
        )
        error.message = and_said(error.message, sentence)
        return error

    def _index_of(self, sent: str) -> int:
        """Return the index of the first text that is equal to `sent`, or of which `sent` is a piece."""
        owners = (text for text, pieces in self._pieces.items() if sent in pieces)
        return self.texts.index(next(owners, sent))

    def new_entries(self) -> Iterator[tuple[str, list[Generation]]]:
        """Yield the new entries for the cache: the texts that were sent, with their vectors in base64."""
        sent = set(self._pieces)
        for pack in self.packs:
            sent.update(pack.texts)
        for text in self.unique:
            row = self._vectors.get(text)
            if row is not None and text in sent:
                packed_row = b2a_base64(array("d", row), newline=False)
                yield text, [Generation(text=packed_row.decode())]

    def vectors(self) -> Rows:
        """Return a vector for each text. Equal texts get equal vectors, but never the same list."""
        rows = [self._vectors[text] for text in self.texts]
        if len(self.unique) == len(rows):
            return rows
        return [*map(list, rows)]


def _row_of(generations: Sequence[Generation] | None) -> list[float]:
    """Return the vector in an entry of a cache; an empty list for a miss, or an unreadable entry."""
    row = array("d")
    try:
        row.frombytes(a2b_base64(generations[0].text))  # type: ignore[index]  # None is a miss
    except (ValueError, TypeError, LookupError, AttributeError):
        return []
    return row.tolist()

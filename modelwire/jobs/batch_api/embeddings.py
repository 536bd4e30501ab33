"""Embeddings in a batch: a chain whose rows are texts, one in each request, and whose outputs are vectors.

OpenAI takes 50,000 rows in a batch, and 50,000 texts in all of them (the comments of `batches.create` in the package
`openai` 3.57), so a row of one text costs nothing that a row of several would save. No I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from modelwire import ext
from modelwire.aliases import JSON, Fields
from modelwire.embeddings import Embeddings
from modelwire.errors import InvalidArgument
from modelwire.jobs.batch_api.chain import NotBatchable
from modelwire.jobs.embedding_rows import text_error
from modelwire.jobs.stored_vectors import COLUMN, Vector
from modelwire.runnables import Runnable, RunnableSequence

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import Codec
    from modelwire.messages import AIMessage
    from modelwire.runnables import RunnableConfig

# The Batch APIs of other providers take no embeddings, or others than these.
PROVIDERS = ("openai",)


class _Texts(Runnable[Any, Any]):
    """Takes the text of a row out of its column, and makes the input of an embeddings call of it."""

    def __init__(self, model: Any, column: str | None) -> None:
        self.model = model
        self.column = column

    def __repr__(self) -> str:
        """Return what the requests depend on, besides the model."""
        return f"Texts({self.column!r}, {self.model.options('document')!r})"

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Return the input of the call for a row. Raises: `InvalidArgument` for a text that has no vector."""
        text = input
        if self.column is not None and isinstance(input, Mapping):
            if self.column not in input:
                raise InvalidArgument(f"The row has no column `{self.column}`.")
            text = input[self.column]
        error = text_error(text)
        if error is not None:
            raise error
        pack, *more = self.model.packs([text])
        if more or len(pack.texts) > 1:
            raise InvalidArgument(
                f"The text has {len(text):,} characters, more than `{self.model.model}` takes in one piece, and a "
                "batch does not split it: call it directly, with `run_job`."
            )
        return pack


class _VectorOfAnswer(Runnable[Any, Any]):
    """Returns the vector of an answer."""

    answer_columns = (COLUMN,)

    def __repr__(self) -> str:
        return "VectorOfAnswer()"

    def invoke(
        self, input: AIMessage, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Vector:
        """Return the vector of an answer that has one."""
        (numbers,) = ext.vectors_of(input)
        return Vector(numbers)


def with_steps(chain: Any, column: str | None) -> Any:
    """Return an embeddings model as the chain of a batch job, and any other chain unchanged.

    Raises: `NotBatchable` for an embeddings model whose provider has no Batch API for it.
    """
    if isinstance(chain, Embeddings):
        return chain_of_embeddings(chain, column)
    if column is not None:
        raise InvalidArgument(
            "`text` is for an embeddings model: a prompt names its columns itself."
        )
    return chain


def chain_of_embeddings(model: Any, column: str | None) -> Runnable:
    """Return the chain of an embeddings model: the text of a row, the call, the vector of its answer."""
    if getattr(getattr(model, "calls", None), "provider", None) not in PROVIDERS:
        raise NotBatchable(
            f"`{type(model).__name__}` has no Batch API here: only OpenAI's takes embeddings. "
            "`run_job(embeddings, rows, text=...)` calls the model directly."
        )
    return RunnableSequence(_Texts(model, column), model.calls, _VectorOfAnswer())


def output_of(message: AIMessage | None) -> Any:
    """Return the output of a row without its chain: the vector of an answer that has one, or the message."""
    if message is None:
        return None
    try:
        return _VectorOfAnswer().invoke(message)
    except KeyError:
        return message


def embeddings_facts(before: Runnable | None) -> JSON | None:
    """Return what another process needs to read the vectors of a job; None for a chain of a chat model."""
    if not isinstance(before, _Texts):
        return None
    return {"text": before.column, "options": before.model.options("document")}


def codec_of_rows(about: Fields) -> Codec:
    """Return the codec for the rows of a job with these settings."""
    codec: Codec = ext.embeddings_codec(
        about["provider"], about["model"], about["embeddings"]["options"]
    )
    return codec

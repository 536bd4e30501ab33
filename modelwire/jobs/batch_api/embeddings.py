"""Embeddings in a batch: makes a chain of an embeddings model, whose inputs are texts and whose outputs are vectors.

Each request has one text. OpenAI limits a batch to 50,000 rows and to 50,000 texts in all rows (the comments of
`batches.create` in the package `openai` 3.57), so several texts in a row would save nothing. No I/O here.
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

# The Batch APIs of other providers do not take requests for embeddings in the form of OpenAI's.
PROVIDERS = ("openai",)


class _Texts(Runnable[Any, Any]):
    """The step before the model: returns the input of an embeddings call for the text of a row."""

    def __init__(self, model: Any, column: str | None) -> None:
        self.model = model
        self.column = column

    def __repr__(self) -> str:
        """Return the column and the model's options, which are a part of the job's fingerprint."""
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
    """The step after the model: returns the vector in an answer."""

    answer_columns = (COLUMN,)

    def __repr__(self) -> str:
        return "VectorOfAnswer()"

    def invoke(
        self, input: AIMessage, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Vector:
        """Return the vector in an answer. Raises: `KeyError` if the answer has none."""
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
    """Return the chain of an embeddings model, which takes a row and returns the vector of its text."""
    if getattr(getattr(model, "calls", None), "provider", None) not in PROVIDERS:
        raise NotBatchable(
            f"`{type(model).__name__}` has no Batch API here: only OpenAI's takes embeddings. "
            "`run_job(embeddings, rows, text=...)` calls the model directly."
        )
    return RunnableSequence(_Texts(model, column), model.calls, _VectorOfAnswer())


def output_of(message: AIMessage | None) -> Any:
    """Return the output of a row when the chain is unknown: the vector in its answer, or else the message."""
    if message is None:
        return None
    try:
        return _VectorOfAnswer().invoke(message)
    except KeyError:
        return message


def embeddings_facts(before: Runnable | None) -> JSON | None:
    """Return the settings with which another process can read the vectors of a job; None for a chat model.

    `before` are the steps before the model.
    """
    if not isinstance(before, _Texts):
        return None
    return {"text": before.column, "options": before.model.options("document")}


def codec_of_rows(about: Fields) -> Codec:
    """Return the codec for the answers of an embeddings job with the settings `about`."""
    codec: Codec = ext.embeddings_codec(
        about["provider"], about["model"], about["embeddings"]["options"]
    )
    return codec

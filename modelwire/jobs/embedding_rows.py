"""Jobs with an embeddings model: rows that wait at the same time are sent in one request.

A vector is stored as 32-bit floats in base64, which take a quarter of the space of numbers in JSON.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire.aliases import JSON, Fields
from modelwire.embeddings import Embeddings
from modelwire.errors import (
    BadRequest,
    CallerError,
    ChatError,
    InvalidArgument,
    InvalidType,
    MalformedResponse,
    NotFound,
)
from modelwire.jobs.row_caller import RowCaller
from modelwire.jobs.stored_vectors import COLUMN, stored_vector
from modelwire.jobs.work import Work, failure_text
from modelwire.runnables import Runnable

if TYPE_CHECKING:
    import asyncio

    from modelwire.runnables import RunnableConfig

# A request that is not full is sent once no row has joined it for this long.
_GATHER_S = 0.02
# This many full requests are in flight at first, and at most, if more are faster. The rows of a full
# request take about 10 MB of memory.
REQUESTS_AT_ONCE, REQUESTS_AT_MOST = 16, 32
# An embeddings model without `limits()` gets this many texts at a time.
_TEXTS_OF_UNKNOWN_MODEL = 256
# Costs are divided among rows in units of a millionth of a millionth of a US dollar.
_COST_DIGITS = 12

# A job with an embeddings model rejects these options, which need a chat model.
_OF_CHAT_MODELS = ("model", "system", "schema", "attachments", "finish_by", "bucket")

# The fingerprint of a job contains these settings of the model, on which its vectors depend.
_OF_VECTORS = ("model", "dimensions", "input_type")

# These errors may concern a single text of a request, so the request is divided and sent again.
_OF_A_TEXT = (BadRequest, MalformedResponse, CallerError)

# The facts for a row's record: its vector as `answer`, or its `error` as text.
Outcome = dict[str, Any]


class EmbeddingWork(Work):
    """The work of a job with an embeddings model. `column` holds the texts; None if the rows are texts."""

    def __init__(self, model: Embeddings, column: str | None) -> None:
        super().__init__(_Embedder(model))
        self._column = column
        if column is not None:
            self.columns = [column]
        self.named_by = "The job"
        self.has_answer_tokens = False
        # A request has at most this many texts.
        self.texts_of_request = _texts_of_request(model)
        self.rows_at_once = REQUESTS_AT_ONCE * self.texts_of_request
        self.rows_at_most = REQUESTS_AT_MOST * self.texts_of_request

    def question(self, values: Any) -> Any:
        """Return the text of a row: the value in the column of the texts, or the row itself if it is a text."""
        if isinstance(values, dict) and self._column is not None:
            return values.get(self._column)
        return values

    def filled(self, values: Any) -> Any:
        """Return the text of a row."""
        return self.question(values)

    def check_columns(self, columns: Sequence[str] | None) -> None:
        """Raise `InvalidArgument` if the input lacks the column of the texts."""
        if self._column is None and columns:
            raise InvalidArgument(
                f'`text` must name the column with the texts, such as `text="{columns[-1]}"`. '
                f"The input has {', '.join(f'`{name}`' for name in columns)}."
            )
        super().check_columns(columns)

    def fingerprint(self, config: RunnableConfig | None = None) -> dict[str, str]:
        """Return a fingerprint that changes with the column, the model or its options."""
        parts = super().fingerprint(config)
        parts["model"] = parts["work"] = repr(self.chain)
        if self._column is not None:
            parts = {"prompt": f"{{{self._column}}}", **parts}
        return parts


def embedding_work(model: Embeddings, options: Fields) -> EmbeddingWork:
    """Return the work of a job for an embeddings model. Raises `InvalidArgument` for options that need a prompt."""
    for name in _OF_CHAT_MODELS:
        if options[name]:
            raise InvalidArgument(f"`{name}` is not for a job of embeddings. Leave it out.")
    if options["engine"] != "local":
        raise InvalidArgument('A job of embeddings runs in this process: leave `engine="ray"` out.')
    return EmbeddingWork(model, options["text"])


def _texts_of_request(model: Any) -> int:
    if not hasattr(model, "limits"):
        return _TEXTS_OF_UNKNOWN_MODEL
    most: int = model.limits().texts
    return most


class _Embedder(Runnable[Any, Any]):
    """Embeds a list of texts, and returns an outcome for each. An error of a single text fails only that text."""

    answer_columns = (COLUMN,)

    def __init__(self, model: Embeddings) -> None:
        self.model = model

    def __repr__(self) -> str:
        """Return the model's class and settings, which are a part of the job's fingerprint."""
        shown = []
        for name in _OF_VECTORS:
            value = getattr(self.model, name, None)
            if value is not None:
                shown.append(f"{name}={value!r}")
        return f"{type(self.model).__name__}({', '.join(shown)})"

    def _runnables_inside(self) -> Iterator[Runnable]:
        """Yield the runnable that makes the model's calls, if it has one: prices are looked up by its name."""
        calls = getattr(self.model, "calls", None)
        if isinstance(calls, Runnable):
            yield calls

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        from asyncio import run

        return run(self.ainvoke(input, config, **kwargs))

    async def ainvoke(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> list[Outcome]:
        """Return one outcome for each text. Raises the error of a call that concerns all of them."""
        texts: list[str] = input
        try:
            found: Sequence[Any] = await self.model.aembed_documents(texts)
        except (ChatError, CallerError) as error:
            found = getattr(error, "partial", None) or [None] * len(texts)
            is_divisible = len(texts) != 1 and _is_of_a_text(error)
            if not any(found) and not is_divisible:
                raise
        outcomes: list[Outcome] = [{} for _ in found]
        missing = []
        for index, vector in enumerate(found):
            if vector:
                outcomes[index]["answer"] = {COLUMN: stored_vector(vector)}
            else:
                missing.append(index)
        for part in _parts(missing, len(texts)):
            again = await self._outcomes([texts[index] for index in part])
            for index, outcome in zip(part, again, strict=True):
                outcomes[index] = outcome
        return outcomes

    async def _outcomes(self, texts: list[str]) -> list[Outcome]:
        """Return one outcome for each text, and the error of the call if it may concern a single text."""
        try:
            return await self.ainvoke(texts)
        except (ChatError, CallerError) as error:
            if not _is_of_a_text(error):
                raise
            return [{"error": failure_text(error)}] * len(texts)


def _is_of_a_text(error: Exception) -> bool:
    """Return whether an error may concern a single text of a request. A `NotFound` concerns the model."""
    return isinstance(error, _OF_A_TEXT) and not isinstance(error, NotFound)


def _parts(missing: list[int], count: int) -> list[list[int]]:
    """Divide the indexes of texts without a vector into requests; `count` is the number of texts of the last one.

    They are sent together, or in halves if no text of the last request has a vector.
    """
    if not missing:
        return []
    if len(missing) < count:
        return [missing]
    middle = len(missing) // 2
    return [missing[:middle], missing[middle:]]


class _Waiting(NamedTuple):
    """A row that waits for its vector."""

    text: str
    outcome: asyncio.Future[tuple[Outcome, str]]


class EmbeddingCaller(RowCaller):
    """Calls an embeddings model. Rows that wait at the same time share a request, its tokens and its cost."""

    def __init__(self, chain: Runnable, config: RunnableConfig, texts_of_request: int) -> None:
        super().__init__(chain, config)
        self._most = texts_of_request
        self._waiting: list[_Waiting] = []
        self._is_gathering = False
        self._calls: set[asyncio.Task[None]] = set()

    async def ask(self, values: Any) -> tuple[JSON, str]:
        """Return the facts for a row's record, and the scope of its failure; see `RowCaller.ask`."""
        problem = text_error(values)
        if problem is not None:
            return {"error": failure_text(problem), "attempts": 0}, ""
        from asyncio import get_running_loop

        loop = get_running_loop()
        row = _Waiting(values, loop.create_future())
        self._waiting.append(row)
        if len(self._waiting) >= self._most:
            self._send()
        elif not self._is_gathering:
            self._is_gathering = True
            loop.call_later(_GATHER_S, self._gathered, loop, 0)
        return await row.outcome

    def _gathered(self, loop: asyncio.AbstractEventLoop, before: int) -> None:
        """Send the waiting rows; if more of them wait than `before`, give further rows time to join first."""
        count = len(self._waiting)
        if count > before:
            loop.call_later(_GATHER_S, self._gathered, loop, count)
            return
        self._is_gathering = False
        if count:
            self._send()

    def _send(self) -> None:
        from asyncio import create_task

        rows = self._waiting
        self._waiting = []
        call = create_task(self._call(rows))
        self._calls.add(call)
        call.add_done_callback(self._calls.discard)

    async def _call(self, rows: Sequence[_Waiting]) -> None:
        from asyncio import CancelledError

        try:
            about, failure_scope = await super().ask([row.text for row in rows])
        except CancelledError:
            for row in rows:
                row.outcome.cancel()
            raise
        except BaseException as exc:  # noqa: BLE001 - raised where the row is awaited
            for row in rows:
                if not row.outcome.done():
                    row.outcome.set_exception(exc)
            return
        for row, outcome in zip(rows, _outcomes(about, rows), strict=True):
            if not row.outcome.done():
                row.outcome.set_result((outcome, failure_scope))

    def close(self) -> None:
        """Cancel the requests in flight."""
        for call in self._calls:
            call.cancel()


def text_error(text: Any) -> CallerError | None:
    """Return the error of a value that cannot be embedded, because it is empty or no string; None for any other."""
    if text is None or text == "":
        return InvalidArgument("The text is empty, and an empty text has no vector.")
    if not isinstance(text, str):
        return InvalidType(f"The text must be a string, not a `{type(text).__name__}`.")
    return None


def _outcomes(about: Outcome, rows: Sequence[_Waiting]) -> list[Outcome]:
    """Divide the facts of a request among its rows: each has its vector or error, and a share of tokens and cost."""
    facts: Outcome = {}
    for name in ("attempts", "latency_s", "cached"):
        if name in about:
            facts[name] = about[name]
    if "error" in about:
        # The tokens and the cost of a failed request belong to no single row. The first row has
        # them, so that the sums over the rows are right.
        failed = {**facts, "error": about["error"]}
        return [about, *(dict(failed) for _ in rows[1:])]
    outcomes: list[Outcome] = [{**facts, **outcome} for outcome in about["answer"]]
    weights = []
    for row, outcome in zip(rows, outcomes, strict=True):
        weight = 0
        if "answer" in outcome:
            weight = len(row.text)
        weights.append(weight)
    if "input_tokens" in about:
        shares = _shares(about["input_tokens"], weights)
        for outcome, tokens in zip(outcomes, shares, strict=True):
            outcome["input_tokens"] = tokens
            outcome["output_tokens"] = 0
    if "cost" in about:
        units = int(Decimal(about["cost"]).scaleb(_COST_DIGITS))
        for outcome, share in zip(outcomes, _shares(units, weights), strict=True):
            outcome["cost"] = f"{Decimal(share).scaleb(-_COST_DIGITS):f}"
    return outcomes


def _shares(total: int, weights: Sequence[int]) -> list[int]:
    """Divide `total` in proportion to the weights into whole numbers with the same sum; all are 0 without weights."""
    whole = sum(weights) or 1
    shares = []
    begin = 0
    for weight in accumulate(weights):
        end = total * weight // whole
        shares.append(end - begin)
        begin = end
    return shares

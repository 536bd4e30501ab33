"""Rows with a common beginning wait until one of them has written the provider's prompt cache.

Providers can read a prefix once the answer to its writer has begun, so rows that start together would all write it. It
is only done if a model of the chain has `prompt_cache` set. Rows of a chain that begins with a prompt template are
compared by the system messages they begin with; those of another chain are taken to begin alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from modelwire.errors import ModelwireError
from modelwire.jobs.work import Work, models_with_arguments
from modelwire.messages import BaseMessage, count_tokens_approximately
from modelwire.usage import dollars, price_of_usage

if TYPE_CHECKING:
    from asyncio import Future

# A row waits at most this long for the one that writes the cache.
_LONGEST_WAIT_S = 60.0
# A common beginning of less than this many characters is below the minimum of every provider.
_LEAST_CHARS = 1_024
# The beginnings that have been written are forgotten above this number, and written again.
_MOST_BEGINNINGS = 10_000

# An estimate compares the beginnings of this many rows.
COMPARED_ROWS = 100

Outcome = tuple[dict[str, Any], str]


class CacheWarmup:
    """Lets one row of each beginning go first."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._is_on = _uses_prompt_cache(work)
        self._written: set[int] = set()
        self._writing: dict[int, Future[None]] = {}

    async def call(self, values: Any, ask: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Return the outcome of `ask`, which calls the chain for a row, once its beginning is in the cache."""
        beginning = None
        if self._is_on:
            beginning = _beginning(self._work, values)
        if beginning is None:
            return await ask()
        import asyncio

        key = hash(beginning)
        while key not in self._written:
            writing = self._writing.get(key)
            if writing is None:
                return await self._write(key, ask)
            await asyncio.wait({writing}, timeout=_LONGEST_WAIT_S)
            if not writing.done():
                break
        return await ask()

    async def _write(self, key: int, ask: Callable[[], Awaitable[Outcome]]) -> Outcome:
        import asyncio

        writing = self._writing[key] = asyncio.get_running_loop().create_future()
        try:
            outcome = await ask()
            if "error" not in outcome[0]:
                if len(self._written) >= _MOST_BEGINNINGS:
                    self._written.clear()
                self._written.add(key)
            return outcome
        finally:
            del self._writing[key]
            writing.cancel()


def _uses_prompt_cache(work: Work) -> bool:
    """Return whether a model of the chain has `prompt_cache` set, or bound."""
    return any(
        kwargs.get("prompt_cache", getattr(model, "prompt_cache", False))
        for model, kwargs, _ in models_with_arguments(work.chain)
    )


def _beginning(work: Work, values: Any) -> str | None:
    """Return what the prompt of a row begins with; None if that is too short to be cached, or cannot be made."""
    if work.prompt is None:
        return ""
    try:
        messages = work.prompt.invoke(work.filled(values)).to_messages()
    except ModelwireError:
        return None  # The row will fail with it.
    text = "\n".join(str(message.content) for message in _head(messages))
    if len(text) < _LEAST_CHARS:
        return None
    return text


def _head(messages: Sequence[BaseMessage]) -> list[BaseMessage]:
    head: list[BaseMessage] = []
    for message in messages:
        if message.type != "system":
            break
        head.append(message)
    return head


def saving_note(work: Work, rows: Sequence[Any], total: float) -> str:
    """Return what the prompt cache saves for `total` rows whose first values are `rows`; "" if that is not known."""
    models = list(models_with_arguments(work.chain))
    beginnings = {_beginning(work, values) for values in rows}
    if len(models) != 1 or len(beginnings) != 1:
        return ""
    if total < 2 or not _uses_prompt_cache(work):
        return ""
    (beginning,) = beginnings
    if not beginning:
        return ""
    tokens = count_tokens_approximately([beginning])
    model = models[0][0]
    plain = _price(model, tokens, {})
    read = _price(model, tokens, {"cache_read": tokens})
    written = _price(model, tokens, {"cache_creation": tokens})
    if plain is None or read is None or written is None:
        return ""
    saved = (plain - read) * Decimal(total - 1)
    saved -= written - plain
    return (
        f"All rows begin with the same {tokens:,} tokens or so: from the second row on they are read from the prompt "
        f"cache, which saves about {dollars(saved)} of direct calls."
    )


def _price(model: Any, tokens: int, details: dict[str, int]) -> Decimal | None:
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    return price_of_usage(
        {**usage, "input_token_details": details},
        str(getattr(model, "model", "")),
        provider=getattr(model, "provider", None),
    )

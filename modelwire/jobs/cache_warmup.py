"""Calls one row of each prompt prefix first, so that the other rows read the prefix from the provider's prompt cache.

A prefix can be read once the provider answers the call that has written it; rows that start together would all pay for
writing it. Rows wait only if a model of the chain has `prompt_cache` set. If the chain starts with a prompt template,
the prefix of a row is the system messages at the start of its prompt; the rows of any other chain are assumed to share
one prefix.
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

# A row waits at most this long for the row that writes the cache.
_LONGEST_WAIT_S = 60.0
# No provider caches a prefix of fewer characters, so rows do not wait for it.
_LEAST_CHARS = 1_024
# When this many prefixes were written, all are forgotten, and the next row of each writes it again.
_MOST_PREFIXES = 10_000

# `saving_note` compares the prefixes of this many rows.
COMPARED_ROWS = 100

# The facts for the record of a row, and the scope of its failure (see `RowCaller.ask`).
Outcome = tuple[dict[str, Any], str]


class CacheWarmup:
    """Calls the first row of each prefix, while the other rows with that prefix wait."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self.is_on = _uses_prompt_cache(work)
        # The hashes of the prefixes that are in the cache, and of those that a call in flight writes.
        self._written: set[int] = set()
        self._writing: dict[int, Future[None]] = {}

    async def call(self, values: Any, ask: Callable[[], Awaitable[Outcome]]) -> Outcome:
        """Wait until the prefix of a row is in the cache, then call `ask` for the row, and return its outcome."""
        prefix = None
        if self.is_on:
            prefix = _prefix(self._work, values)
        if prefix is None:
            return await ask()
        import asyncio

        key = hash(prefix)
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
                if len(self._written) >= _MOST_PREFIXES:
                    self._written.clear()
                self._written.add(key)
            return outcome
        finally:
            del self._writing[key]
            writing.cancel()


def _uses_prompt_cache(work: Work) -> bool:
    """Return whether a model of the chain has `prompt_cache` set, or bound."""
    for model, kwargs, _ in models_with_arguments(work.chain):
        of_model = getattr(model, "prompt_cache", False)
        if kwargs.get("prompt_cache", of_model):
            return True
    return False


def _prefix(work: Work, values: Any) -> str | None:
    """Return the prefix of a row's prompt, "" for a chain without a prompt template.

    None if the prefix is too short to be cached, or if the prompt cannot be formatted.
    """
    if work.prompt is None:
        return ""
    try:
        messages = work.prompt.invoke(work.filled(values)).to_messages()
    except ModelwireError:
        return None  # The call of the row will raise the same error.
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
    """Return a sentence about what the prompt cache saves in a job of `total` rows; "" if that is unknown.

    `rows` are the values of the first rows.
    """
    models = list(models_with_arguments(work.chain))
    prefixes = {_prefix(work, values) for values in rows}
    if len(models) != 1 or len(prefixes) != 1:
        return ""
    if total < 2 or not _uses_prompt_cache(work):
        return ""
    (prefix,) = prefixes
    if not prefix:
        return ""
    tokens = count_tokens_approximately([prefix])
    model = models[0][0]
    plain = _price(model, tokens, {})
    read = _price(model, tokens, {"cache_read": tokens})
    written = _price(model, tokens, {"cache_creation": tokens})
    if plain is None or read is None or written is None:
        return ""
    readers = Decimal(total - 1)
    saved = (plain - read) * readers
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

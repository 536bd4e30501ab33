"""Closes nested iterators, so that leaving a stream early closes its connection at once."""

from __future__ import annotations

from typing import Any


def close(*iterators: Any) -> None:
    """Close these iterators in order: the reader first, then its source."""
    for position, iterator in enumerate(iterators):
        closing = getattr(iterator, "close", None)
        if closing is not None:
            try:
                closing()
            except BaseException:
                # Whatever the error is, the other iterators must still be closed.
                close(*iterators[position + 1 :])
                raise


async def aclose(*iterators: Any) -> None:
    """Close these iterators in order: the reader first, then its source."""
    for position, iterator in enumerate(iterators):
        closing = getattr(iterator, "aclose", None)
        if closing is not None:
            try:
                await closing()
            except BaseException:
                # Whatever the error is, the other iterators must still be closed.
                await aclose(*iterators[position + 1 :])
                raise

"""Closing what wraps one another."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from modelwire.runnables.closing import aclose, close


class Closing:
    def __init__(self, seen: list[Any], name: str, error: Exception | None = None) -> None:
        self.seen, self.name, self.error = seen, name, error

    def close(self) -> None:
        self.seen.append(self.name)
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        self.close()


def test_everything_is_closed_in_order_even_when_one_fails(colour: Any) -> None:
    seen: list[Any] = []
    things = (
        Closing(seen, "a"),
        None,
        Closing(seen, "b", ValueError("b")),
        iter([]),
        Closing(seen, "c"),
    )
    with pytest.raises(ValueError, match="b"):
        colour.run(lambda: close(*things), lambda: aclose(*things))
    assert seen == ["a", "b", "c"]


def test_closing_nothing_is_nothing() -> None:
    close()
    close(None, 3, iter("a"))
    asyncio.run(aclose(None, 3))

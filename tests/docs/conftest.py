"""A page shows what the product does, its waits included."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_waits() -> None:
    """Wait as the product does."""

"""The waits here are the product's own: they are what these tests are about."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def short_waits() -> None:
    """Wait as the product does."""

"""The waits here are the product's own: they are what these tests are about."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def waits_of_the_product(real_waits: None) -> None:
    """Wait as the product does."""

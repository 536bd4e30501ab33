"""A page shows what the product does, its waits included."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def waits_of_the_product(real_waits: None) -> None:
    """Wait as the product does."""

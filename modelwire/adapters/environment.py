"""Reads environment variables that models take settings from."""

from __future__ import annotations

import os
from collections.abc import Sequence

from modelwire.errors import InvalidArgument
from modelwire.transport.connections.address import address_of


def from_environment(variables: Sequence[str]) -> str | None:
    """Return the value of the first of `variables` that is not empty; None if all are."""
    return os.environ.get(name_that_is_set(variables))


def name_that_is_set(variables: Sequence[str]) -> str:
    """Return the name of the first of `variables` that is not empty; "" if all are."""
    return next((name for name in variables if os.environ.get(name)), "")


def check_address(url: str, variables: Sequence[str]) -> None:
    """Raise `InvalidArgument`, which names the variable, if its value `url` is not a valid address."""
    try:
        address_of(url)
    except InvalidArgument as exc:
        named = name_that_is_set(variables)
        raise InvalidArgument(
            str(exc).replace("`base_url`", f"`{named}` in the environment")
        ) from exc

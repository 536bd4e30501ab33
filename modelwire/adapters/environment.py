"""What the environment says: the first variable that is set, and whether it is an address."""

from __future__ import annotations

import os
from collections.abc import Sequence

from modelwire.errors import InvalidArgument
from modelwire.transport.connections.address import address_of


def from_environment(variables: Sequence[str]) -> str | None:
    """Return the first of `variables` that is set to something."""
    return os.environ.get(name_that_is_set(variables))


def name_that_is_set(variables: Sequence[str]) -> str:
    """Return the name of the first of `variables` that is set to something, or an empty text."""
    return next((name for name in variables if os.environ.get(name)), "")


def check_address(url: str, variables: Sequence[str]) -> None:
    """Raise `InvalidArgument` that names the variable whose value is no address."""
    try:
        address_of(url)
    except InvalidArgument as exc:
        named = name_that_is_set(variables)
        raise InvalidArgument(
            str(exc).replace("`base_url`", f"`{named}` in the environment")
        ) from exc

"""Functions that read a setting from a dict or the environment, under the names that LangChain scripts use."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, MissingKey

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = [
    "convert_to_secret_str",
    "from_env",
    "get_from_dict_or_env",
    "get_from_env",
    "secret_from_env",
]

_UNSET: Any = object()


class _MissingSetting(MissingKey, ValueError):
    """A setting is neither passed nor in the environment."""


def get_from_env(key: str, env_key: str, default: str | None = None) -> str:
    """Return the environment variable `env_key`, else `default`.

    Raises: `MissingKey`, which is a `ValueError` here, without either; it names `key` and `env_key`.
    """
    if value := os.environ.get(env_key):
        return value
    if default is not None:
        return default
    raise _MissingSetting(
        f"There is no `{key}`: set `{env_key}` in the environment, or pass `{key}`."
    )


def get_from_dict_or_env(
    data: Mapping[str, Any],
    key: str | list[str] | tuple[str, ...],
    env_key: str,
    default: str | None = None,
) -> str:
    """Return the value of the first of the keys that has one in `data`, else the variable `env_key`, else `default`."""
    keys = [key] if isinstance(key, str) else list(key)
    for name in keys:
        if value := data.get(name):
            return str(value)
    return get_from_env(keys[0], env_key, default)


def convert_to_secret_str(value: SecretStr | str) -> SecretStr:
    """Return a text as a pydantic `SecretStr`."""
    from pydantic import SecretStr

    if isinstance(value, SecretStr):
        return value
    return SecretStr(value)


def from_env(
    key: str | list[str] | tuple[str, ...],
    /,
    *,
    default: Any = _UNSET,
    error_message: str | None = None,
) -> Callable[[], Any]:
    """Return a function that returns the first of these variables that is set, for a field's `default_factory`.

    Raises: `InvalidArgument` without variables. The function raises `MissingKey` without a value or default.
    """
    keys = [key] if isinstance(key, str) else list(key)
    if not keys:
        raise InvalidArgument("`from_env` needs at least one variable to look for.")

    def read() -> Any:
        for name in keys:
            if name in os.environ:
                return os.environ[name]
        if default is not _UNSET:
            return default
        raise _MissingSetting(
            error_message
            or f"Did not find {keys[0]}: set `{'` or `'.join(keys)}` in the environment."
        )

    return read


def secret_from_env(
    key: str | list[str] | tuple[str, ...],
    /,
    *,
    default: Any = _UNSET,
    error_message: str | None = None,
) -> Callable[[], Any]:
    """Return a function as `from_env` does; it returns a pydantic `SecretStr`, or None if that is the default."""
    read = from_env(key, default=default, error_message=error_message)

    def read_secret() -> Any:
        value = read()
        if value is None:
            return value
        return convert_to_secret_str(value)

    return read_secret

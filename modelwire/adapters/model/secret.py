"""A secret value with a masked `repr`. It loads nothing: pydantic's `SecretStr` would add 10 ms to a script's start."""

from __future__ import annotations

from typing import Any

from modelwire.errors import InvalidArgument, MissingKey


class Secret:
    """A text that `repr`, `str` and logs show as asterisks; read it with `get_secret_value`, as in pydantic."""

    __slots__ = ("_value", "ambient", "variable")

    def __init__(self, value: str, *, ambient: bool = False, variable: str = "") -> None:
        self._value = value
        # True for a secret from the environment, which is sent only if nothing else authenticates.
        self.ambient = ambient
        # The environment variable from which the secret was read.
        self.variable = variable

    def get_secret_value(self) -> str:
        """Return the text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class LostSecret:
    """Marks, in an unpickled model, that the code had set a credential; pickles never contain it.

    A call raises `MissingKey` until a credential is set again, because the environment's key is for another address. A
    header that authenticates the call is used instead, as it is in place of a key from the environment.
    """

    __slots__ = ()
    ambient = True

    def __call__(self) -> str:
        """Raise `MissingKey`."""
        raise lost_credential()

    def __repr__(self) -> str:
        return "LostSecret()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LostSecret)

    def __hash__(self) -> int:
        return hash(LostSecret)


def lost_credential() -> MissingKey:
    """Return the error for a call of an unpickled model that had a credential of its own before it was pickled."""
    return MissingKey(
        "This model had a credential of its own, which is never pickled, and the key of the environment is not sent in "
        "its place. Set the credential again where the model is unpickled: `model.api_key = ...`, or for each model of "
        "a pool `pool.deployments[...].api_key = ...`."
    )


def reveal(secret: Any) -> str | None:
    """Return the text of a secret: our own or pydantic's, a plain string, or a function that returns one of them.

    Raises `InvalidArgument` for an async function.
    """
    if secret.__class__ is Secret:
        known: str = secret._value
        return known
    while callable(secret):
        secret = secret()
        if hasattr(secret, "__await__"):
            if hasattr(secret, "close"):
                secret.close()  # This avoids Python's warning of a coroutine that was never awaited.
            raise InvalidArgument(
                "The function that gives the key or token is async, and a sync call cannot wait for it: call "
                "`ainvoke`, `astream` or `abatch`, or give a sync function."
            )
    text: str | None = secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret
    return text

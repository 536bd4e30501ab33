"""A secret value with a masked `repr`. It loads nothing: pydantic's `SecretStr` would add 10 ms to a script's start."""

from __future__ import annotations

from typing import Any

from modelwire.errors import InvalidArgument, MissingKey


class Secret:
    """Holds a text that `repr`, `str` and logs show as asterisks; read it with `get_secret_value`, as pydantic's."""

    __slots__ = ("_value", "ambient", "variable")

    def __init__(self, value: str, *, ambient: bool = False, variable: str = "") -> None:
        self._value = value
        self.ambient = ambient  # of the environment: sent where nothing else says who calls
        self.variable = variable  # of the environment that it was read from

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

    A call raises `MissingKey` until another one is set, because the environment's key is for another address. As with
    a key of the environment, a header that authenticates the call is used instead.
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
    """Return the error of a call whose credential was left behind when its model was pickled."""
    return MissingKey(
        "This model was pickled with a credential of its own, which does not travel, and the key of the environment "
        "is not sent in its place. Set the credential again where the model is unpickled: `model.api_key = ...`, "
        "or for each model of a pool `pool.deployments[...].api_key = ...`."
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
                secret.close()  # else Python warns of a coroutine that nobody awaited
            raise InvalidArgument(
                "The function that gives the key or token is async, and a sync call cannot wait for it: call "
                "`ainvoke`, `astream` or `abatch`, or give a sync function."
            )
    text: str | None = secret.get_secret_value() if hasattr(secret, "get_secret_value") else secret
    return text

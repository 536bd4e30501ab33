"""`RouterRunnable`: runs the runnable that the input names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from typing_extensions import TypedDict

from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean
from modelwire.runnables.base import Output, Runnable, coerce_to_runnable
from modelwire.runnables.config import Config
from modelwire.runnables.forwarding import Call, Forwarding

__all__ = ["RouterInput", "RouterRunnable"]


class RouterInput(TypedDict):
    """The key of the runnable, and its input."""

    key: str
    input: Any


class RouterRunnable(Forwarding[RouterInput, Output]):
    """Passes `input["input"]` to the runnable with the key `input["key"]`.

    It has no run of its own.
    """

    _parts = ("runnables", "name")
    OutputType: Any = Any

    def __init__(self, runnables: Mapping[str, Any], *, name: str | None = None) -> None:
        self.runnables: dict[str, Runnable[Any, Output]] = {
            key: coerce_to_runnable(value, place=f"as `{key}` of a `RouterRunnable`")
            for key, value in runnables.items()
        }
        self.name = name

    def __repr__(self) -> str:
        return f"RouterRunnable(runnables={self.runnables!r})"

    def _runnables_inside(self) -> Iterable[Runnable]:
        return self.runnables.values()

    def _forwarded(self, input: Any, config: Config, kwargs: Kwargs) -> Call:
        if not isinstance(input, Mapping) or "key" not in input or "input" not in input:
            raise InvalidType(
                "The input of a `RouterRunnable` must be a dict with `key` and `input`."
            )
        key = input["key"]
        if key not in self.runnables:
            raise InvalidArgument(
                f"No runnable associated with key '{key}'. {did_you_mean(str(key), [*self.runnables])}"
            )
        return self.runnables[key], input["input"], config, kwargs

    # The runnable is known only once the whole input has arrived.
    transform = Runnable.transform
    atransform = Runnable.atransform

"""A table of the names that different providers have for one parameter.

A later value of a parameter replaces an earlier one, also under another name: a call beats `bind`, `bind` beats the
model's arguments. No I/O here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwire.aliases import Kwargs
from modelwire.records import NamedTuple


class _Parameter(NamedTuple):
    """The names of one parameter, the most specific last, and the keys of other parameters that set it, too."""

    names: tuple[str, ...]
    parts: tuple[tuple[str, frozenset[str]], ...] = ()  # (name of the other parameter, its keys)


_TABLE = (
    # `max_output_tokens` selects the Responses API, even if a later call sets the limit by another name.
    _Parameter(
        ("max_tokens_to_sample", "max_tokens", "max_completion_tokens", "max_output_tokens")
    ),
    _Parameter(("stop_sequences", "stop")),
    _Parameter(("seed", "random_seed")),
    _Parameter(
        ("effort", "reasoning_effort"),
        (
            ("reasoning", frozenset({"effort", "budget_tokens", "max_tokens", "enabled"})),
            ("output_config", frozenset({"effort"})),
        ),
    ),
    _Parameter(
        ("output_format", "response_format"),
        (("output_config", frozenset({"format"})), ("text", frozenset({"format"}))),
    ),
    _Parameter(("verbosity",), (("text", frozenset({"verbosity"})),)),
)
_BY_NAME = {name: parameter for parameter in _TABLE for name in parameter.names}
_WHOLES = {whole for parameter in _TABLE for whole, _ in parameter.parts}


def set_parameter(params: Kwargs, name: str, value: Any) -> None:
    """Set a parameter in `params` and remove its values under its other names; the value None only removes."""
    earlier: list[str] = []
    for parameter in _set_by(name, value):
        earlier += [other for other in parameter.names if other in params and other != name]
        for whole, keys in parameter.parts:
            if whole != name:
                _take_out(params, whole, keys)
    for other in earlier:
        params.pop(other, None)
    params.pop(name, None)  # The parameter that is set last becomes the last key.
    if value is None:
        return
    own = _BY_NAME.get(name)
    if own is not None:
        name = max((name, *earlier), key=own.names.index)
        if name in ("effort", "reasoning_effort") and isinstance(
            rest := params.get("reasoning"), Mapping
        ):
            name, value = "reasoning", {**rest, "effort": value}  # It may have a `summary`, too.
    params[name] = value


def _set_by(name: str, value: Any) -> list[_Parameter]:
    """Return the parameters that `name` sets: itself, or those that are parts of its value."""
    if name in _BY_NAME:
        return [_BY_NAME[name]]
    if name not in _WHOLES or not isinstance(value, Mapping):
        return []
    return [
        it
        for it in _TABLE
        if any(whole == name and not keys.isdisjoint(value) for whole, keys in it.parts)
    ]


def _take_out(params: Kwargs, whole: str, keys: frozenset[str]) -> None:
    mapping = params.get(whole)
    if not isinstance(mapping, Mapping) or keys.isdisjoint(mapping):
        return
    rest = {key: part for key, part in mapping.items() if key not in keys}
    if rest:
        params[whole] = rest
    else:
        del params[whole]

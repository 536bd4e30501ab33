"""The sandbox of jinja2 templates: a single number in a template cannot create a huge value.

This module imports jinja2, so it is loaded with the first template.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sized
from typing import Any

from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from modelwire.aliases import Function, Values

# A single number in a template may create at most this many characters or items.
_MOST_AT_ONCE = 1_000_000
# They match formats with a width or precision of millions. That for `%` also matches `*`, whose width
# is an argument.
_WIDE_PERCENT = r"%(?:\([^)]*\))?[-#0 +]*(?:\d*\.)?(?:\d{7}|\*)"
_WIDE_BRACES = r"\{[^{}]*:[^{}]*\d{7}"


class _Bounded(ImmutableSandboxedEnvironment):
    """Rejects operations in which a single number creates a huge value: `'a' * n`,
    `'%9999999d'`, `'a'.ljust(n)`, `|center(n)`.
    """

    intercepted_binops = frozenset(("*", "**", "%"))

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if _is_huge(operator, left, right):
            raise SecurityError(
                f"the result of `{operator}` has more than {_MOST_AT_ONCE:,} characters or items"
            )
        return super().call_binop(context, operator, left, right)

    def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(getattr(function, "__self__", None), (str, bytes)):
            _refuse_widths(args, kwargs)
        return super().call(context, function, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """Return the sandbox's replacement of `str.format` with a limit on sizes."""
        wrapped = super().wrap_str_format(value)
        if wrapped is None:
            return None

        def bounded_format(*args: Any, **kwargs: Any) -> str:
            _refuse_widths(args, kwargs, text=value.__self__, wide=_WIDE_BRACES)
            return wrapped(*args, **kwargs)

        return bounded_format


def _bounded_filter(name: str) -> Function:
    """Return the filter of this name with a limit on its width. Such filters take no context."""
    original = ENVIRONMENT.filters[name]

    def filtered(value: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_widths(args, kwargs, text=str(value) if name == "format" else "")
        return original(value, *args, **kwargs)

    return filtered


def _refuse_widths(
    args: Iterable[Any], kwargs: Values, *, text: str = "", wide: str = _WIDE_PERCENT
) -> None:
    """Raise `SecurityError` for a large number among the arguments, or a large width in the format `text`."""
    values = (*args, *kwargs.values())
    is_wide = any(isinstance(value, int) and value > _MOST_AT_ONCE for value in values)
    if is_wide or re.search(wide, text):
        raise SecurityError(f"a width or count is more than {_MOST_AT_ONCE:,}")


def _is_huge(operator: str, left: Any, right: Any) -> bool:
    if operator == "%":
        return isinstance(left, (str, bytes)) and re.search(_WIDE_PERCENT, str(left)) is not None
    if operator == "**":
        return (
            isinstance(left, int)
            and isinstance(right, int)
            and left.bit_length() * right > _MOST_AT_ONCE
        )
    for one, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(one, Sized):
            return len(one) * times > _MOST_AT_ONCE
    return False


ENVIRONMENT = _Bounded()
ENVIRONMENT.filters |= {name: _bounded_filter(name) for name in ("center", "format", "indent")}

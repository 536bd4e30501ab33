"""Jinja2 templates in jinja2's own sandbox: values are read, never changed, and `__x__` attributes are not accessible.

The sandbox protects the program from a template. The size of the output is limited, and so is a
single text or list that a template creates by a number, as `'a'.ljust(n)` does. Its run time is not
limited, nor is a text that it doubles in a loop. Use only templates from people you trust.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import cache
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidTemplate, MissingDependency
from modelwire.prompts.template import Template

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["Jinja2Template"]

# The output may have this many characters, more than any provider takes.
_MOST_CHARS = 64 * 1024 * 1024
# A single number in a template may create at most this many characters or items.
_MOST_AT_ONCE = 1_000_000
# This matches formats with a width or precision of millions, and with `%` also one that is an
# argument.
_WIDE_PERCENT = r"%(?:\([^)]*\))?[-#0 +]*(?:\d*\.)?(?:\d{7}|\*)"
_WIDE_BRACES = r"\{[^{}]*:[^{}]*\d{7}"


class Jinja2Template(Template):
    """A jinja2 template. Files are not read: `include`, `import` and `extends` are rejected."""

    __slots__ = ("_compiled",)

    def __init__(self, text: str) -> None:
        environment = _environment()
        from jinja2 import meta
        from jinja2.exceptions import TemplateSyntaxError

        super().__init__(text)
        try:
            tree = environment.parse(text)
            if next(meta.find_referenced_templates(tree), _NONE) is not _NONE:
                raise InvalidTemplate(
                    "The jinja2 template includes another one, which is not supported."
                )
            self.variables = tuple(sorted(meta.find_undeclared_variables(tree)))
            self._compiled = environment.from_string(tree)
        except TemplateSyntaxError as exc:
            raise InvalidTemplate(
                f"The jinja2 template cannot be read: {exc.message} (line {exc.lineno})."
            ) from exc

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with `values` filled in; a missing value is empty."""
        from jinja2.exceptions import TemplateRuntimeError

        pieces: list[str] = []
        chars = 0
        try:
            for piece in self._compiled.generate(values):
                chars += len(piece)
                if chars > _MOST_CHARS:
                    raise InvalidTemplate(
                        f"The jinja2 template makes more than {_MOST_CHARS:,} characters."
                    )
                pieces.append(piece)
            return "".join(pieces)
        except TemplateRuntimeError as exc:
            raise _failure(type(exc))(f"The jinja2 template cannot be filled in: {exc}.") from exc
        except OverflowError as exc:  # The sandbox raises this for a `range` that is too long.
            raise InvalidTemplate(f"The jinja2 template cannot be filled in: {exc}") from exc


_NONE: Any = object()


@cache
def _environment() -> SandboxedEnvironment:
    try:
        from jinja2.exceptions import SecurityError
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as exc:
        raise MissingDependency(
            "`template_format='jinja2'` needs jinja2: `pip install 'modelwire[jinja2]'`."
        ) from exc

    class Bounded(ImmutableSandboxedEnvironment):
        """Rejects operations in which a single number creates a huge value: `'a' * n`,
        `'%9999999d'`, `'a'.ljust(n)`, `|center(n)`.
        """

        intercepted_binops = frozenset(("*", "**", "%"))

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if _is_huge(operator, left, right):
                raise SecurityError(
                    f"what `{operator}` makes there has more than {_MOST_AT_ONCE:,} characters or items"
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
                _refuse_widths(
                    args, kwargs, wide=re.search(_WIDE_BRACES, value.__self__) is not None
                )
                return wrapped(*args, **kwargs)

            return bounded_format

    def _refuse_widths(
        args: Iterable[Any], kwargs: Mapping[str, Any], *, wide: bool = False
    ) -> None:
        if wide or any(
            isinstance(value, int) and value > _MOST_AT_ONCE for value in (*args, *kwargs.values())
        ):
            raise SecurityError(f"a width or count there is more than {_MOST_AT_ONCE:,}")

    def bounded(name: str) -> Any:
        """Return the filter of this name with a limit on its width.

        Such filters take no context.
        """
        original = environment.filters[name]

        def filtered(value: Any, *args: Any, **kwargs: Any) -> Any:
            _refuse_widths(
                args,
                kwargs,
                wide=name == "format" and re.search(_WIDE_PERCENT, str(value)) is not None,
            )
            return original(value, *args, **kwargs)

        return filtered

    environment = Bounded()
    environment.filters |= {name: bounded(name) for name in ("center", "format", "indent")}
    return environment


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


def _failure(kind: type[Exception]) -> type[InvalidTemplate]:
    """Return a class that is both `InvalidTemplate` and jinja2's error, for scripts that catch the latter."""
    return type(kind.__name__, (InvalidTemplate, kind), {"__module__": __name__})

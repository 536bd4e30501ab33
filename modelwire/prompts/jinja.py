"""Jinja2 templates in jinja2's own sandbox: values are read, never changed, and `__x__` attributes are not accessible.

The sandbox protects the program from a template. The size of the output is limited, and so is a
single text or list that a template creates by a number, as `'a'.ljust(n)` does. Its run time is not
limited, nor is a text that it doubles in a loop. Use only templates from people you trust.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.aliases import Values
from modelwire.errors import InvalidTemplate, MissingDependency
from modelwire.prompts.compiled import Template

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

# The output may have this many characters, more than any provider takes.
_MOST_CHARS = 64 * 1024 * 1024


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

    def render(self, values: Values) -> str:
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


def _environment() -> SandboxedEnvironment:
    try:
        from modelwire.prompts.jinja_sandbox import ENVIRONMENT
    except ImportError as exc:
        raise MissingDependency(
            "`template_format='jinja2'` needs jinja2: `pip install 'modelwire[jinja2]'`."
        ) from exc
    return ENVIRONMENT


def _failure(kind: type[Exception]) -> type[InvalidTemplate]:
    """Return a class that is both `InvalidTemplate` and jinja2's error, for scripts that catch the latter."""
    return type(kind.__name__, (InvalidTemplate, kind), {"__module__": __name__})

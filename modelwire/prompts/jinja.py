"""Jinja2 templates, in jinja2's own sandbox: values are read, never changed, and nothing is reached through `__x__`.

The sandbox keeps a template away from the program; it does not bound its time. Take templates from people you trust.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidTemplate, MissingDependency
from modelwire.prompts.template import Template

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

__all__ = ["Jinja2Template"]


class Jinja2Template(Template):
    """A jinja2 template. Files are not read: `include`, `import` and `extends` are refused."""

    __slots__ = ("_compiled",)

    def __init__(self, text: str) -> None:
        environment = _environment()
        from jinja2 import meta
        from jinja2.exceptions import TemplateSyntaxError

        super().__init__(text)
        try:
            tree = environment.parse(text)
            if next(meta.find_referenced_templates(tree), _NONE) is not _NONE:
                raise InvalidTemplate("The jinja2 template includes another one; templates are read from nowhere else.")
            self.variables = tuple(sorted(meta.find_undeclared_variables(tree)))
            self._compiled = environment.from_string(tree)
        except TemplateSyntaxError as exc:
            raise InvalidTemplate(f"The jinja2 template cannot be read: {exc.message} (line {exc.lineno}).") from exc

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill in `values`; what is missing is empty."""
        from jinja2.exceptions import TemplateRuntimeError

        try:
            return self._compiled.render(values)
        except TemplateRuntimeError as exc:
            raise _failure(type(exc))(f"The jinja2 template cannot be filled in: {exc}.") from exc
        except OverflowError as exc:  # the sandbox's own word for a `range` that is too long
            raise InvalidTemplate(f"The jinja2 template cannot be filled in: {exc}") from exc


_NONE: Any = object()


@cache
def _environment() -> SandboxedEnvironment:
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as exc:
        raise MissingDependency("`template_format='jinja2'` needs jinja2: `pip install 'modelwire[jinja2]'`.") from exc
    return ImmutableSandboxedEnvironment()


def _failure(kind: type[Exception]) -> type[InvalidTemplate]:
    """Return a class that is `InvalidTemplate` and jinja2's own, for scripts that catch the latter."""
    return type(kind.__name__, (InvalidTemplate, kind), {"__module__": __name__})

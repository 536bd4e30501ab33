"""Templates of text: each is compiled once into parts, and then filled in many times. Pure; independent of messages.

A value is never treated as a template, so braces in it are unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from string import Formatter
from typing import Any, Literal, TypeAlias

from modelwire.aliases import Values
from modelwire.errors import (
    InvalidArgument,
    InvalidTemplate,
    InvalidType,
    MissingVariable,
    did_you_mean,
)
from modelwire.prompts.compiled import Template

__all__ = ["PromptTemplateFormat", "get_template_variables"]


class FStringTemplate(Template):
    """A template with `{name}`, `{name!r}` or `{name:format}`; `{{` and `}}` are braces."""

    __slots__ = ("_fields", "_parts", "_whole")

    def __init__(self, text: str) -> None:
        super().__init__(text)
        parts: list[str] = []
        # For each variable: its position in `parts`, its name, its format and its conversion.
        fields: list[tuple[int, str, str, str | None]] = []
        for literal, name, spec, conversion in _pieces(text):
            if literal:
                parts.append(literal)
            if name is not None:
                fields.append((len(parts), name, spec, conversion))
                parts.append("")
        self._parts = parts
        self._fields = fields
        self._whole = "".join(parts)
        self.variables = tuple(dict.fromkeys(name for _, name, _, _ in fields))

    def render(self, values: Values) -> str:
        if not self._fields:
            return self._whole
        parts = self._parts.copy()
        for place, name, spec, conversion in self._fields:
            value = values[name]
            if conversion is not None:
                value = _CONVERSIONS[conversion](value)
            if type(value) is str and not spec:
                parts[place] = value
            else:
                parts[place] = format(value, spec)
        return "".join(parts)


def _read_mustache(text: str) -> Template:
    from modelwire.prompts.mustache import MustacheTemplate

    return MustacheTemplate(text)


def _read_jinja2(text: str) -> Template:
    from modelwire.prompts.jinja import Jinja2Template

    return Jinja2Template(text)


PromptTemplateFormat: TypeAlias = Literal["f-string", "mustache", "jinja2"]

TEMPLATE_FORMATS: dict[str, Callable[[str], Template]] = {
    "f-string": FStringTemplate,
    "mustache": _read_mustache,
    "jinja2": _read_jinja2,
}
"""The function that compiles each `template_format`."""


def compile_template(text: str, template_format: str = "f-string") -> Template:
    """Return a compiled template.

    Raises: `InvalidTemplate` for one that is invalid or contains more than plain names.
    """
    if not isinstance(text, str):
        raise InvalidType(f"A template must be a `str`, not a `{type(text).__name__}`.")
    read = TEMPLATE_FORMATS.get(str(template_format))
    if read is None:
        hint = did_you_mean(str(template_format), list(TEMPLATE_FORMATS))
        raise InvalidArgument(f"Unsupported template format: {template_format}. {hint}")
    return read(text)


def get_template_variables(template: str, template_format: str = "f-string") -> list[str]:
    """Return the variables of a template, sorted."""
    return sorted(compile_template(template, template_format).variables)


def check_variables(
    prompt: object,
    expected: Collection[str],
    values: Collection[object],
    cause: KeyError | None = None,
) -> None:
    """Raise the error that names the missing variables of a prompt, if there are any."""
    absent = sorted([name for name in expected if name not in values])
    if not absent:
        return
    one = absent[0]
    received = sorted(map(str, values))
    raise MissingVariable(
        f"Input to `{type(prompt).__name__}` is missing variables {absent}."
        f" Expected: {sorted(expected)}. Received: {received}.\n"
        f"If {{{one}}} is meant to be part of the text and not a variable, double its braces: {{{{{one}}}}}."
    ) from cause


class BlockTemplate:
    """A content block, or any JSON-like value, with templates for strings at any depth.

    Keys are used unchanged.
    """

    __slots__ = ("_made", "template", "template_format", "variables")

    def __init__(self, template: Any, template_format: str = "f-string") -> None:
        self.template = template
        self.template_format = template_format
        names: dict[str, None] = {}
        self._made = _compile_nested(template, template_format, names)
        self.variables = tuple(names)

    def fill(self, values: Values) -> Any:
        """Return a new value with the variables filled in.

        Raises: `KeyError` for the first missing variable.
        """
        return _fill_nested(self._made, values)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BlockTemplate):
            return NotImplemented
        return (self.template, self.template_format) == (other.template, other.template_format)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"BlockTemplate(template={self.template!r})"


# Values may be nested this deep; real content blocks have fewer than ten levels.
_DEEPEST = 100


def _compile_nested(
    value: Any, template_format: str, names: dict[str, None], depth: int = 0
) -> Any:
    """Return the value with each string compiled, adding its variables to `names`.

    Strings without variables stay strings.
    """
    if depth > _DEEPEST:
        raise InvalidTemplate(f"A content block is nested more than {_DEEPEST} levels deep.")
    if isinstance(value, str):
        template = compile_template(value, template_format)
        names.update(dict.fromkeys(template.variables))
        if template.variables:
            return template
        return template.render({})
    if isinstance(value, dict):
        return {
            key: _compile_nested(item, template_format, names, depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_compile_nested(item, template_format, names, depth + 1) for item in value]
    return value


def _fill_nested(made: Any, values: Values) -> Any:
    if isinstance(made, dict):
        return {key: _fill_nested(item, values) for key, item in made.items()}
    if isinstance(made, list):
        return [_fill_nested(item, values) for item in made]
    if isinstance(made, Template):
        return made.render(values)
    return made


# The sum of all widths and precisions of a template, such as 20 in `{a:>20}`, is limited to this
# number, so that a template cannot fill the memory with blanks.
_MOST_PADDING = 1_000_000


_CONVERSIONS: dict[str, Callable[[Any], str]] = {"r": repr, "s": str, "a": ascii}


def _pieces(text: str) -> Iterator[tuple[str, str | None, str, str | None]]:
    """Yield literal text with the name, format and conversion that follow it, each checked."""
    padding = 0
    try:
        for literal, name, spec, conversion in Formatter().parse(text):
            if name is not None:
                _check_field(name, spec or "", conversion)
                padding += sum(map(int, re.findall(r"\d+", spec or "")))
                if padding > _MOST_PADDING:
                    raise InvalidTemplate(
                        f"The formats of the f-string template, up to {{{name}:{spec}}}, have {padding:,} characters,"
                        f" but the limit is {_MOST_PADDING:,}. Use a smaller width or precision."
                    )
            yield literal, name, spec or "", conversion
    except InvalidTemplate:
        raise
    except ValueError as exc:
        raise InvalidTemplate(
            f"The f-string template cannot be read: {exc}. Write a brace that is part of the text as `{{{{` or `}}}}`."
        ) from exc


def _check_field(name: str, spec: str, conversion: str | None) -> None:
    """Raise `InvalidTemplate` for attribute and index access: an untrusted template must not look into values."""
    if "." in name or "[" in name or "]" in name:
        raise InvalidTemplate(
            f"Invalid variable name {name!r} in f-string template."
            " Variable names cannot contain attribute access (.) or indexing ([])."
        )
    if not name or name.isdigit():
        raise InvalidTemplate(
            f"Invalid variable name {name!r} in f-string template."
            " Variable names cannot be empty or all digits, as they are interpreted as positional arguments"
            f" and values are passed by name. For literal braces write {{{{{name}}}}}."
        )
    if "{" in spec or "}" in spec:
        raise InvalidTemplate(
            f"Invalid format specifier in f-string template: {spec!r} of variable {name!r}."
            " Nested replacement fields are not allowed."
        )
    if conversion is not None and conversion not in _CONVERSIONS:
        raise InvalidTemplate(
            f"Invalid conversion `!{conversion}` of variable {name!r} in f-string template. Write `!r`, `!s` or `!a`."
        )

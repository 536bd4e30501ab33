"""Plain functions for templates: they fill in a template, list its variables, or check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, InvalidTemplate
from modelwire.prompts.prompt import StringPromptTemplate
from modelwire.prompts.template import (
    PromptTemplateFormat,
    compile_template,
    get_template_variables,
)
from modelwire.runnables.lazy_rooms import schemas

if TYPE_CHECKING:
    from pydantic import BaseModel

__all__ = [
    "PromptTemplateFormat",
    "StringPromptTemplate",
    "check_valid_template",
    "get_template_variables",
    "jinja2_formatter",
    "mustache_formatter",
    "mustache_schema",
    "mustache_template_vars",
    "validate_f_string_template",
    "validate_jinja2",
]


def check_valid_template(template: str, template_format: str, input_variables: list[str]) -> None:
    """Check that the template uses exactly `input_variables`; for jinja2, only warn.

    Raises: `InvalidTemplate` if it does not, `InvalidArgument` for another format.
    """
    if template_format == "jinja2":
        validate_jinja2(template, input_variables)
        return
    if template_format != "f-string":
        raise InvalidArgument(
            f"Invalid template format {template_format!r}: only templates in `f-string` and `jinja2` can be checked."
        )
    problem = f"Invalid prompt schema; check for mismatched or missing input parameters from {list(input_variables)}"
    try:
        used = get_template_variables(template, template_format)
    except InvalidTemplate as exc:
        raise InvalidTemplate(f"{problem}: {exc}") from exc
    if set(used) != set(input_variables):
        raise InvalidTemplate(f"{problem}: the template uses {used}.")


def validate_f_string_template(template: str) -> list[str]:
    """Return the variables of an f-string template.

    Raises: `InvalidTemplate` if it contains more than plain names.
    """
    return get_template_variables(template, "f-string")


def mustache_formatter(template: str, /, **kwargs: Any) -> str:
    """Return a mustache template with the values filled in."""
    return compile_template(template, "mustache").render(kwargs)


def mustache_template_vars(template: str) -> set[str]:
    """Return the first parts of the names in a mustache template."""
    return set(compile_template(template, "mustache").variables)


def mustache_schema(template: str) -> type[BaseModel]:
    """Return a pydantic model of the keys that a mustache template looks up; all of them are optional."""
    from modelwire.prompts import mustache

    tree: dict[str, Any] = {}
    for path in mustache.paths(mustache.MustacheTemplate(template)):
        below = tree
        for name in path:
            below = below.setdefault(name, {})

    def model(name: str, keys: dict[str, Any]) -> type[BaseModel]:
        fields = {key: (model(key, inner) if inner else str, None) for key, inner in keys.items()}
        return schemas.object_schema(name, fields)

    return model("PromptInput", tree)


def jinja2_formatter(template: str, /, **kwargs: Any) -> str:
    """Return a jinja2 template with the values filled in, in a sandbox."""
    return compile_template(template, "jinja2").render(kwargs)


def validate_jinja2(template: str, input_variables: list[str]) -> None:
    """Warn if `input_variables` and the variables of a jinja2 template differ."""
    import warnings

    used = set(get_template_variables(template, "jinja2"))
    declared = set(input_variables)
    texts = [
        f"{what} variables: {names}"
        for what, names in (("Missing", used - declared), ("Extra", declared - used))
        if names
    ]
    if texts:
        warnings.warn(" ".join(texts), stacklevel=2)

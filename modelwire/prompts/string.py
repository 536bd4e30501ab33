"""Templates as plain functions: fill in, list the variables, check them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.errors import InvalidArgument, InvalidTemplate
from modelwire.prompts.prompt import StringPromptTemplate
from modelwire.prompts.template import (
    PromptTemplateFormat,
    compile_template,
    get_template_variables,
)

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
    """Check that the template uses `input_variables` and no others; for jinja2, only warn.

    Raises: `InvalidTemplate` where it does not, `InvalidArgument` for another format.
    """
    if template_format == "jinja2":
        validate_jinja2(template, input_variables)
        return
    if template_format != "f-string":
        raise InvalidArgument(
            f"Invalid template format {template_format!r}: templates in `f-string` and `jinja2` can be checked."
        )
    problem = f"Invalid prompt schema; check for mismatched or missing input parameters from {list(input_variables)}"
    try:
        used = get_template_variables(template, template_format)
    except InvalidTemplate as exc:
        raise InvalidTemplate(f"{problem}: {exc}") from exc
    if set(used) != set(input_variables):
        raise InvalidTemplate(f"{problem}: the template uses {used}.")


def validate_f_string_template(template: str) -> list[str]:
    """List the variables of an f-string template. Raises: `InvalidTemplate` where it asks for more than names."""
    return get_template_variables(template, "f-string")


def mustache_formatter(template: str, /, **kwargs: Any) -> str:
    """Fill in a mustache template."""
    return compile_template(template, "mustache").render(kwargs)


def mustache_template_vars(template: str) -> set[str]:
    """List the names a mustache template begins with."""
    return set(compile_template(template, "mustache").variables)


def mustache_schema(template: str) -> type[BaseModel]:
    """Make a model of what a mustache template looks up, key by key; all of it may be missing."""
    from modelwire.prompts.mustache import MustacheTemplate, paths
    from modelwire.runnables.schema import object_schema

    tree: dict[str, Any] = {}
    for path in paths(MustacheTemplate(template)):
        below = tree
        for name in path:
            below = below.setdefault(name, {})

    def model(name: str, keys: dict[str, Any]) -> type[BaseModel]:
        fields = {key: (model(key, inner) if inner else str, None) for key, inner in keys.items()}
        return object_schema(name, fields)

    return model("PromptInput", tree)


def jinja2_formatter(template: str, /, **kwargs: Any) -> str:
    """Fill in a jinja2 template, in a sandbox."""
    return compile_template(template, "jinja2").render(kwargs)


def validate_jinja2(template: str, input_variables: list[str]) -> None:
    """Warn where `input_variables` and the variables of a jinja2 template are not the same."""
    import warnings

    used, declared = set(get_template_variables(template, "jinja2")), set(input_variables)
    texts = [
        f"{what} variables: {names}"
        for what, names in (("Missing", used - declared), ("Extra", declared - used))
        if names
    ]
    if texts:
        warnings.warn(" ".join(texts), stacklevel=2)

"""Prompts that are one text."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from modelwire.aliases import Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.prompt_values import PromptValue, StringPromptValue
from modelwire.prompts.base import BasePromptTemplate
from modelwire.prompts.compiled import Template
from modelwire.prompts.template import check_variables, compile_template
from modelwire.runnables.config import Config

__all__ = ["PromptTemplate", "StringPromptTemplate"]


class StringPromptTemplate(BasePromptTemplate[str], ABC):
    """A prompt that is one text; subclasses implement `format`."""

    def format_prompt(self, **kwargs: Any) -> PromptValue:
        return StringPromptValue(text=self.format(**kwargs))

    async def aformat_prompt(self, **kwargs: Any) -> PromptValue:
        return StringPromptValue(text=await self.aformat(**kwargs))

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - as LangChain has it
        """Return the prompt as text with its variables' names in braces."""
        return self.format(**{name: f"{{{name}}}" for name in self.input_variables})

    def pretty_print(self) -> None:
        """Print the prompt with its variables' names in braces."""
        print(self.pretty_repr())  # noqa: T201 - its purpose


class PromptTemplate(StringPromptTemplate):
    """A text with variables.

    Example:
        PromptTemplate.from_template("Say {what}.").format(what="hi")  # "Say hi."
    """

    LC_NAMESPACE: ClassVar = ("langchain", "prompts", "prompt")

    template: str
    template_format: str = "f-string"
    validate_template: bool = False

    def __init__(self, template: str, *, template_format: str = "f-string", **kwargs: Any) -> None:
        partials = kwargs.get("partial_variables") or {}
        if not isinstance(partials, Mapping):
            raise InvalidType(
                f"`partial_variables` must be a dict, not a `{type(partials).__name__}`."
            )
        if kwargs.get("validate_template"):
            _check_variables(template, template_format, kwargs.get("input_variables"), partials)
        read = compile_template(template, template_format)
        wanted = sorted(name for name in read.variables if name not in partials)
        values = {
            **kwargs,
            "template": template,
            "template_format": template_format,
            "input_variables": wanted,
            "partial_variables": dict(partials),
        }
        if type(self) is PromptTemplate:
            self._fill(values)
        else:
            self._check(values)
        vars(self)["_read"] = (template, template_format, read)

    @classmethod
    def from_template(
        cls,
        template: str,
        *,
        template_format: str = "f-string",
        partial_variables: Kwargs | None = None,
        **kwargs: Any,
    ) -> PromptTemplate:
        """Return a prompt; its variables are found in the text."""
        return cls(
            template,
            template_format=template_format,
            partial_variables=partial_variables or {},
            **kwargs,
        )

    @classmethod
    def from_file(
        cls, template_file: str | Path, encoding: str | None = None, **kwargs: Any
    ) -> PromptTemplate:
        """Return a prompt of the text in a file, UTF-8 unless `encoding` is set."""
        return cls.from_template(
            Path(template_file).read_text(encoding=encoding or "utf-8"), **kwargs
        )

    @classmethod
    def from_examples(
        cls,
        examples: list[str],
        suffix: str,
        input_variables: list[str],
        example_separator: str = "\n\n",
        prefix: str = "",
        **kwargs: Any,
    ) -> PromptTemplate:
        """Return a prompt of a prefix, zero or more examples and a suffix."""
        template = example_separator.join([prefix, *examples, suffix])
        return cls(template, input_variables=input_variables, **kwargs)

    @property
    def _prompt_type(self) -> str:
        return "prompt"

    def get_input_schema(self, config: Config = None) -> type[BaseModel]:
        """Return a pydantic model of the variables; for mustache also with the keys that are looked up in each."""
        if self.template_format != "mustache":
            return super().get_input_schema(config)
        from modelwire.prompts.string import mustache_schema

        return mustache_schema(self.template)

    def format(self, **kwargs: Any) -> str:
        return self.text_of(kwargs)

    def __add__(self, other: Any) -> PromptTemplate:
        """Return two prompts of one format joined, or a prompt and a text in that format."""
        if isinstance(other, str):
            other = PromptTemplate(other, template_format=self.template_format)
        if not isinstance(other, PromptTemplate):
            return NotImplemented
        if other.template_format != self.template_format:
            raise InvalidArgument(
                f"Cannot add templates of different formats: `{self.template_format}` and `{other.template_format}`."
            )
        shared = self.partial_variables.keys() & other.partial_variables.keys()
        twice = sorted(
            name for name in shared if self.partial_variables[name] != other.partial_variables[name]
        )
        if twice:
            raise InvalidArgument(
                f"Both templates have the partial variables {twice}, but with different values."
            )
        return PromptTemplate(
            self.template + other.template,
            template_format=self.template_format,
            partial_variables={**self.partial_variables, **other.partial_variables},
            validate_template=self.validate_template and other.validate_template,
        )

    def text_of(self, values: Values) -> str:
        try:
            return self._template().render(self._with_partials(values))
        except KeyError as exc:
            check_variables(self, self.input_variables, values, exc)
            raise  # No variable is missing, so a value itself has raised the error.

    def _prompt_of(self, values: Values) -> PromptValue:
        if type(self) is PromptTemplate:
            return StringPromptValue(text=self.text_of(values))
        return super()._prompt_of(values)

    async def _aprompt_of(self, values: Values) -> PromptValue:
        if type(self) is PromptTemplate:
            return StringPromptValue(text=self.text_of(values))
        return await super()._aprompt_of(values)

    def _template(self) -> Template:
        """Return the compiled template, compiled again after a field was changed."""
        text, template_format, read = self.__dict__["_read"]
        if text is not self.template or template_format is not self.template_format:
            read = compile_template(self.template, self.template_format)
            vars(self)["_read"] = (self.template, self.template_format, read)
        return read  # type: ignore[no-any-return]


def _check_variables(template: str, template_format: str, declared: Any, partials: Values) -> None:
    """Raise `InvalidTemplate` if the declared variables differ from those of the template."""
    from modelwire.prompts.string import check_valid_template

    if template_format == "mustache":
        raise InvalidArgument(
            "Mustache templates cannot be validated, because their variables may be missing."
        )
    if declared is None:
        raise InvalidArgument(
            "`validate_template=True` needs `input_variables` to compare the template with."
        )
    check_valid_template(template, template_format, [*declared, *partials])

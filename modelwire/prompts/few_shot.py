"""Prompts with examples: a fixed list, or those that a selector chooses for the input.

A selector is any object with `select_examples(variables)`, or `aselect_examples(variables)`, that
returns dicts.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field

from modelwire.aliases import JSON, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages import BaseMessage
from modelwire.prompts.chat import BaseChatPromptTemplate, ChatPromptTemplate
from modelwire.prompts.message import BaseMessagePromptTemplate
from modelwire.prompts.prompt import PromptTemplate, StringPromptTemplate
from modelwire.runnables.config import run_in_executor

__all__ = ["FewShotChatMessagePromptTemplate", "FewShotPromptTemplate"]


class FewShotPromptTemplate(StringPromptTemplate):
    """A prompt that is one text: a prefix, the examples and a suffix.

    Example:
        FewShotPromptTemplate(
            examples=[{"in": "2+2", "out": "4"}],
            example_prompt=PromptTemplate.from_template("{in} = {out}"),
            suffix="{question} =",
        )
    """

    examples: list[dict[str, Any]] | None = None
    example_selector: Any = None
    example_prompt: PromptTemplate
    suffix: str
    prefix: str = ""
    example_separator: str = "\n\n"
    template_format: str = "f-string"
    validate_template: bool = False

    def __init__(self, *, example_prompt: PromptTemplate, suffix: str, **kwargs: Any) -> None:
        declared = kwargs.pop("input_variables", None)
        self._check({"example_prompt": example_prompt, "suffix": suffix, **kwargs})
        _check_source(self)
        around = self.prefix + self.suffix
        if self.validate_template:
            self._template(around, input_variables=declared, validate_template=True)
        self.input_variables = self._template(around).input_variables

    def _template(self, text: str, **options: Any) -> PromptTemplate:
        return PromptTemplate(
            text,
            template_format=self.template_format,
            partial_variables=self.partial_variables,
            **options,
        )

    @property
    def _prompt_type(self) -> str:
        return "few_shot"

    def format(self, **kwargs: Any) -> str:
        return self._joined(_selected(self, kwargs), kwargs)

    async def aformat(self, **kwargs: Any) -> str:
        return self._joined(await _aselected(self, kwargs), kwargs)

    def _joined(self, examples: list[JSON], values: Kwargs) -> str:
        before, after = (
            self._template(text).text_of(values) for text in (self.prefix, self.suffix)
        )
        shown = [
            self.example_prompt.format(**_used(self.example_prompt, example))
            for example in examples
        ]
        return self.example_separator.join(text for text in (before, *shown, after) if text)


class FewShotChatMessagePromptTemplate(BaseChatPromptTemplate):
    """The messages of each example, for use inside a `ChatPromptTemplate`.

    `input_variables` are the variables that the selector needs; a fixed list of examples needs none.
    """

    examples: list[dict[str, Any]] | None = None
    example_selector: Any = None
    example_prompt: Any
    input_variables: list[str] = Field(default_factory=list)

    def __init__(
        self, *, example_prompt: BaseMessagePromptTemplate | BaseChatPromptTemplate, **kwargs: Any
    ) -> None:
        if not isinstance(example_prompt, (BaseMessagePromptTemplate, BaseChatPromptTemplate)):
            raise InvalidType(
                f"`example_prompt` must be a chat prompt or a template of messages,"
                f" not a `{type(example_prompt).__name__}`."
            )
        self._check({"example_prompt": example_prompt, **kwargs})
        _check_source(self)

    @property
    def _prompt_type(self) -> str:
        return "few_shot_chat"

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        return self._messages(_selected(self, kwargs))

    async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
        return self._messages(await _aselected(self, kwargs))

    def _messages(self, examples: list[JSON]) -> list[BaseMessage]:
        prompt = self.example_prompt
        return [
            message
            for example in examples
            for message in prompt.format_messages(**_used(prompt, example))
        ]

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - as LangChain has it
        """Return the messages of one example as text with their variables' names in braces."""
        shown: str = self.example_prompt.pretty_repr(html=html)
        return shown

    def __add__(self, other: Any) -> ChatPromptTemplate:
        """Return a chat prompt of these messages and those of `other`."""
        prompt: ChatPromptTemplate = ChatPromptTemplate([self]) + other
        return prompt


def _check_source(prompt: Any) -> None:
    if (prompt.examples is None) == (prompt.example_selector is None):
        raise InvalidArgument("Give one of `examples` and `example_selector`, and only one.")
    selector = prompt.example_selector
    if selector is not None and not (
        hasattr(selector, "select_examples") or hasattr(selector, "aselect_examples")
    ):
        raise InvalidType(
            f"`example_selector` has no `select_examples`: it is a `{type(selector).__name__}`."
        )


def _selected(prompt: Any, values: Kwargs) -> list[JSON]:
    if prompt.example_selector is None:
        return list(prompt.examples)
    return list(prompt.example_selector.select_examples(values))


async def _aselected(prompt: Any, values: Kwargs) -> list[JSON]:
    selector = prompt.example_selector
    if selector is None:
        return list(prompt.examples)
    if hasattr(selector, "aselect_examples"):
        return list(await selector.aselect_examples(values))
    return list(await run_in_executor(None, selector.select_examples, values))


def _used(prompt: Any, example: Values) -> JSON:
    """Return the values of an example that the prompt uses."""
    return {name: example[name] for name in prompt.input_variables if name in example}

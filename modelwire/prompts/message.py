"""The elements of a chat prompt: templates of one message, and placeholders for lists of messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from modelwire.aliases import JSON, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType
from modelwire.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    convert_to_messages,
)
from modelwire.prompts.prompt import PromptTemplate, StringPromptTemplate
from modelwire.prompts.template import BlockTemplate, check_variables

if TYPE_CHECKING:
    from typing import Self

    from modelwire.prompts.chat import ChatPromptTemplate

__all__ = [
    "AIMessagePromptTemplate",
    "BaseMessagePromptTemplate",
    "BaseStringMessagePromptTemplate",
    "ChatMessagePromptTemplate",
    "HumanMessagePromptTemplate",
    "MessagesPlaceholder",
    "SystemMessagePromptTemplate",
]


class BaseMessagePromptTemplate(ABC):
    """An element of a chat prompt, which becomes zero or more messages."""

    @property
    @abstractmethod
    def input_variables(self) -> list[str]:
        """The required variables."""

    @abstractmethod
    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the messages with the variables filled in."""

    async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the messages with the variables filled in."""
        return self.format_messages(**kwargs)

    def add_messages(self, messages: list[BaseMessage], values: Values) -> None:
        """Append the messages of this piece to `messages`.

        Raises: `KeyError` for a missing variable.
        """
        messages.extend(
            self.format_messages(**{name: values[name] for name in self.input_variables})
        )

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - as LangChain has it
        """Return the piece as text with its variables' names in braces."""
        return "\n\n".join(
            message.pretty_repr(html=html)
            for message in self.format_messages(
                **{name: f"{{{name}}}" for name in self.input_variables}
            )
        )

    def pretty_print(self) -> None:
        """Print the piece with its variables' names in braces."""
        print(self.pretty_repr())  # noqa: T201 - its purpose

    def __add__(self, other: Any) -> ChatPromptTemplate:
        """Return a chat prompt of this piece and `other`."""
        from modelwire.prompts.chat import ChatPromptTemplate

        prompt: ChatPromptTemplate = ChatPromptTemplate([self]) + other
        return prompt

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class MessagesPlaceholder(BaseMessagePromptTemplate):
    """A placeholder for a list of messages that is passed as one variable: its last `n_messages`, or all."""

    def __init__(
        self, variable_name: str, *, optional: bool = False, n_messages: int | None = None
    ) -> None:
        if not isinstance(variable_name, str):
            raise InvalidType(
                f"`variable_name` must be a `str`, not a `{type(variable_name).__name__}`."
            )
        if n_messages is not None and (
            isinstance(n_messages, bool) or not isinstance(n_messages, int)
        ):
            raise InvalidType(
                f"`n_messages` must be a whole number, not a `{type(n_messages).__name__}`."
            )
        if n_messages is not None and n_messages < 1:
            raise InvalidArgument(
                f"`n_messages` must be at least 1, not {n_messages}. Leave it out for all messages."
            )
        self.variable_name = variable_name
        self.optional = optional
        self.n_messages = n_messages

    @property
    def input_variables(self) -> list[str]:
        """The variable, unless it is optional."""
        return [] if self.optional else [self.variable_name]

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the messages in the variable. Raises: `MissingVariable` or `InvalidArgument`."""
        messages: list[BaseMessage] = []
        try:
            self.add_messages(messages, kwargs)
        except KeyError as exc:
            check_variables(self, self.input_variables, kwargs, exc)
            raise  # The error comes from a message itself.
        return messages

    def add_messages(self, messages: list[BaseMessage], values: Values) -> None:
        """Append the messages in the variable.

        Raises: `InvalidType` if it is not a list, `KeyError` if it is missing.
        """
        value = values.get(self.variable_name, ()) if self.optional else values[self.variable_name]
        if not isinstance(value, (list, tuple)):
            raise InvalidType(
                f"Variable `{self.variable_name}` should be a list of base messages, got a `{type(value).__name__}`."
            )
        if self.n_messages is not None:
            value = value[-self.n_messages :]
        if all(issubclass(kind, BaseMessage) for kind in set(map(type, value))):
            messages.extend(value)
        else:
            messages.extend(convert_to_messages(value))

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - as LangChain has it
        return f"{' Messages Placeholder '.center(80, '=')}\n\n{{{self.variable_name}}}"

    def __repr__(self) -> str:
        optional = ", optional=True" if self.optional else ""
        last = f", n_messages={self.n_messages}" if self.n_messages is not None else ""
        return f"{type(self).__name__}(variable_name={self.variable_name!r}{optional}{last})"


class BaseStringMessagePromptTemplate(BaseMessagePromptTemplate):
    """A template of one message whose content is a text, or a list of content blocks with variables inside.

    `prompt` is a text prompt, or for a list of blocks the list of their prompts: of texts, images
    or dicts.
    """

    message_class: ClassVar[type[BaseMessage]]

    def __init__(
        self,
        prompt: StringPromptTemplate | Sequence[Any],
        additional_kwargs: Kwargs | None = None,
    ) -> None:
        pieces: Any = [prompt] if isinstance(prompt, StringPromptTemplate) else prompt
        if isinstance(pieces, (str, Mapping)) or not isinstance(pieces, Sequence):
            raise InvalidType(
                f"`prompt` must be a prompt template, not a `{type(prompt).__name__}`."
                f" `{type(self).__name__}.from_template` takes texts."
            )
        wrong = next((piece for piece in pieces if not _is_piece(piece)), None)
        if wrong is not None:
            raise InvalidType(
                f"`prompt` must hold prompt templates, not a `{type(wrong).__name__}`."
            )
        self.prompt = prompt
        self.additional_kwargs = dict(additional_kwargs or {})

    @classmethod
    def from_template(
        cls,
        template: str | Sequence[str | JSON],
        template_format: str = "f-string",
        *,
        partial_variables: Kwargs | None = None,
        **kwargs: Any,
    ) -> Self:
        """Return the template of a message for a text, or for a list of texts and content blocks.

        The variables are found in the template; `input_variables`, which LangChain's scripts may
        pass, has no effect.

        Raises: `InvalidTemplate` for any other value, `InvalidArgument` for partial variables of
        blocks.
        """
        kwargs.pop("input_variables", None)
        if isinstance(template, str):
            prompt = PromptTemplate(
                template, template_format=template_format, partial_variables=partial_variables or {}
            )
            return cls(prompt=prompt, **kwargs)
        if isinstance(template, Mapping) or not isinstance(template, Sequence):
            raise InvalidTemplate(
                f"Invalid template: a message's template is a text or a list of content blocks,"
                f" not a `{type(template).__name__}`."
            )
        if partial_variables:
            raise InvalidArgument(
                "`partial_variables` are not supported for a list of content blocks."
            )
        return cls(prompt=[_block(block, template_format) for block in template], **kwargs)

    @classmethod
    def from_template_file(
        cls, template_file: str | Path, input_variables: list[str] | None = None, **kwargs: Any
    ) -> Self:
        """Return the template of a message for the text in a file; its variables are found there."""
        return cls(prompt=PromptTemplate.from_file(template_file), **kwargs)

    @property
    def input_variables(self) -> list[str]:
        if isinstance(self.prompt, StringPromptTemplate):
            return list(self.prompt.input_variables)
        names: dict[str, None] = {}
        for piece in self.prompt:
            names.update(
                dict.fromkeys(
                    piece.variables if isinstance(piece, BlockTemplate) else piece.input_variables
                )
            )
        return list(names)

    def format(self, **kwargs: Any) -> BaseMessage:
        """Return the message with the variables filled in. Raises: `MissingVariable`."""
        try:
            return self._with_content(self._content(kwargs))
        except KeyError as exc:
            check_variables(self, self.input_variables, kwargs, exc)
            raise  # No variable is missing, so a value itself has raised the error.

    async def aformat(self, **kwargs: Any) -> BaseMessage:
        """Return the message with the variables filled in. Raises: `MissingVariable`."""
        return self.format(**kwargs)

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        return [self.format(**kwargs)]

    def add_messages(self, messages: list[BaseMessage], values: Values) -> None:
        messages.append(self._with_content(self._content(values)))

    def _content(self, values: Values) -> str | list[Any]:
        prompt = self.prompt
        if isinstance(prompt, PromptTemplate):
            return prompt.text_of(values)
        if isinstance(prompt, StringPromptTemplate):
            return prompt.format(**{name: values[name] for name in prompt.input_variables})
        blocks = [_block_of(piece, values) for piece in prompt]
        return [block for block in blocks if block.get("type") != "text" or block.get("text") != ""]

    def _with_content(self, content: str | list[Any]) -> BaseMessage:
        if self.additional_kwargs:
            return self.message_class(
                content=content, additional_kwargs=dict(self.additional_kwargs)
            )
        return self.message_class.of(content)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(prompt={self.prompt!r}, additional_kwargs={self.additional_kwargs!r})"


class HumanMessagePromptTemplate(BaseStringMessagePromptTemplate):
    """The template of a human message."""

    message_class = HumanMessage


class AIMessagePromptTemplate(BaseStringMessagePromptTemplate):
    """The template of a model's message."""

    message_class = AIMessage


class SystemMessagePromptTemplate(BaseStringMessagePromptTemplate):
    """The template of a system message."""

    message_class = SystemMessage


class ChatMessagePromptTemplate(BaseStringMessagePromptTemplate):
    """The template of a message with any role."""

    message_class = ChatMessage

    def __init__(
        self,
        prompt: StringPromptTemplate | Sequence[Any],
        role: str,
        additional_kwargs: Kwargs | None = None,
    ) -> None:
        super().__init__(prompt, additional_kwargs)
        self.role = role

    def _with_content(self, content: str | list[Any]) -> BaseMessage:
        return ChatMessage(
            content=content, role=self.role, additional_kwargs=dict(self.additional_kwargs)
        )

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]}, role={self.role!r})"


def _block(block: Any, template_format: str) -> PromptTemplate | BlockTemplate:
    """Return the template for one element of a list of content blocks."""
    if isinstance(block, str):
        return PromptTemplate(block, template_format=template_format)
    if not isinstance(block, Mapping):
        raise InvalidTemplate(
            f"Invalid template: a content block is a text or a dict, not a `{type(block).__name__}`."
        )
    if (
        block.keys() <= {"type", "text"}
        and isinstance(block.get("text"), str)
        and block.get("type", "text") == "text"
    ):
        return PromptTemplate(block["text"], template_format=template_format)
    if block.get("type") == "image_url" and "image_url" in block:
        image = block["image_url"]
        if isinstance(image, str):
            block = {**block, "image_url": {"url": image}}
        elif not isinstance(image, Mapping) or not image.get("url"):
            # A `path` would make a prompt read a file of the machine on which it runs.
            raise InvalidTemplate(
                "Invalid template: `image_url` needs a `url` (https or data:); files are not read."
            )
    return BlockTemplate(dict(block), template_format)


def _is_piece(piece: Any) -> bool:
    """Return whether this is the template of a content block."""
    if isinstance(piece, (StringPromptTemplate, BlockTemplate)):
        return True
    from modelwire.prompts.dict import DictPromptTemplate
    from modelwire.prompts.image import ImagePromptTemplate

    return isinstance(piece, (DictPromptTemplate, ImagePromptTemplate))


def _block_of(piece: Any, values: Values) -> JSON:
    if isinstance(piece, PromptTemplate):
        return {"type": "text", "text": piece.text_of(values)}
    if isinstance(piece, BlockTemplate):
        return cast("dict[str, Any]", piece.fill(values))
    formatted = piece.format(**{name: values[name] for name in piece.input_variables})
    if isinstance(formatted, str):
        return {"type": "text", "text": formatted}
    if hasattr(piece, "format_prompt"):
        return {"type": "image_url", "image_url": formatted}
    return dict(formatted)

"""Prompts that are a list of messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, Union, overload

from modelwire.aliases import Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidTemplate, InvalidType, did_you_mean
from modelwire.messages import BaseMessage
from modelwire.messages.conversion import own_message
from modelwire.prompt_values import AsGiven, ChatPromptValue, PromptValue
from modelwire.prompts.base import BasePromptTemplate
from modelwire.prompts.message import (
    AIMessagePromptTemplate,
    BaseMessagePromptTemplate,
    BaseStringMessagePromptTemplate,
    ChatMessagePromptTemplate,
    HumanMessagePromptTemplate,
    MessagesPlaceholder,
    SystemMessagePromptTemplate,
)
from modelwire.prompts.prompt import PromptTemplate
from modelwire.prompts.template import check_variables

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "AIMessagePromptTemplate",
    "BaseChatPromptTemplate",
    "BaseMessagePromptTemplate",
    "ChatMessagePromptTemplate",
    "ChatPromptTemplate",
    "HumanMessagePromptTemplate",
    "MessageLikeRepresentation",
    "MessagesPlaceholder",
    "SystemMessagePromptTemplate",
]


class BaseChatPromptTemplate(BasePromptTemplate[str], ABC):
    """A prompt that is a list of messages; subclasses implement `format_messages`."""

    @abstractmethod
    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the messages with the variables filled in."""

    async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the messages with the variables filled in."""
        return self.format_messages(**kwargs)

    def format_prompt(self, **kwargs: Any) -> ChatPromptValue:
        return ChatPromptValue.of(self.format_messages(**kwargs))

    async def aformat_prompt(self, **kwargs: Any) -> ChatPromptValue:
        return ChatPromptValue.of(await self.aformat_messages(**kwargs))

    def format(self, **kwargs: Any) -> str:
        """Return the messages with the variables filled in as text, each line with its role."""
        return _transcript(self.format_messages(**kwargs))

    async def aformat(self, **kwargs: Any) -> str:
        return _transcript(await self.aformat_messages(**kwargs))

    @abstractmethod
    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - as LangChain has it
        """Return the prompt as text with its variables' names in braces."""

    def pretty_print(self) -> None:
        """Print the prompt with its variables' names in braces."""
        print(self.pretty_repr())  # noqa: T201 - its purpose


Piece: TypeAlias = Union[BaseMessage, BaseMessagePromptTemplate, BaseChatPromptTemplate]
MessageLike: TypeAlias = Piece
MessageLikeRepresentation: TypeAlias = Union[
    Piece, str, tuple[Union[str, type[BaseMessage]], Union[str, Sequence[Any]]], dict[str, Any]
]
"""The forms of an element: a message, a template or placeholder, another chat prompt, a text
(human), `(role, text)`, `(role, blocks)`, `(message class, text)`, `("placeholder", "{name}")`, or
a dict of `role` and `content`.
"""


class ChatPromptTemplate(BaseChatPromptTemplate):
    """A list of messages with variables.

    Example:
        prompt = ChatPromptTemplate([("system", "You speak {language}."), ("human", "{question}")])
        prompt.invoke({"language": "French", "question": "Who are you?"})
    """

    messages: list[Annotated[Piece, AsGiven()]]
    validate_template: bool = False

    def __init__(
        self,
        messages: Sequence[MessageLikeRepresentation],
        *,
        template_format: str = "f-string",
        **kwargs: Any,
    ) -> None:
        partials = kwargs.pop("partial_variables", None) or {}
        declared = kwargs.pop("input_variables", None)
        values = {
            "partial_variables": dict(partials),
            **kwargs,
            "messages": _pieces(messages, template_format),
        }
        if type(self) is ChatPromptTemplate:
            self._fill(values)
        else:
            self._check(values)
        self._find_variables()
        if (
            self.validate_template
            and declared is not None
            and set(declared) != set(self.input_variables)
        ):
            found = ", ".join(map(repr, self.input_variables))
            raise InvalidTemplate(
                f"Got mismatched input_variables. Expected: {{{found}}}. Got: {sorted(declared)}."
            )

    @classmethod
    def from_messages(
        cls, messages: Sequence[MessageLikeRepresentation], template_format: str = "f-string"
    ) -> ChatPromptTemplate:
        """Return a prompt of messages, templates, placeholders and their short forms."""
        return cls(messages, template_format=template_format)

    @classmethod
    def from_template(cls, template: str, **kwargs: Any) -> ChatPromptTemplate:
        """Return a prompt of one human message."""
        return cls(
            [HumanMessagePromptTemplate(prompt=PromptTemplate.from_template(template, **kwargs))]
        )

    @property
    def _prompt_type(self) -> str:
        return "chat"

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        return self.messages_of(kwargs)

    async def aformat_messages(self, **kwargs: Any) -> list[BaseMessage]:
        return await self._amessages_of(kwargs)

    def messages_of(self, values: Values) -> list[BaseMessage]:
        """Return the messages for `values`. Raises: `MissingVariable`."""
        messages: list[BaseMessage] = []
        try:
            full = self._with_partials(values)
            for piece in self.messages:
                _add(piece, messages, full)
        except KeyError as exc:
            check_variables(self, self.input_variables, values, exc)
            raise  # No variable is missing, so a value itself has raised the error.
        return messages

    async def _amessages_of(self, values: Values) -> list[BaseMessage]:
        messages: list[BaseMessage] = []
        try:
            full = self._with_partials(values)
            for piece in self.messages:
                if not isinstance(piece, BaseMessage) and _is_async(piece):
                    messages.extend(await piece.aformat_messages(**_chosen(piece, full)))
                else:
                    _add(piece, messages, full)
        except KeyError as exc:
            check_variables(self, self.input_variables, values, exc)
            raise  # No variable is missing, so a value itself has raised the error.
        return messages

    def _prompt_of(self, values: Values) -> PromptValue:
        if type(self) is ChatPromptTemplate:
            return ChatPromptValue.of(self.messages_of(values))
        return super()._prompt_of(values)

    async def _aprompt_of(self, values: Values) -> PromptValue:
        if type(self) is ChatPromptTemplate:
            return ChatPromptValue.of(await self._amessages_of(values))
        return await super()._aprompt_of(values)

    def append(self, message: MessageLikeRepresentation) -> None:
        """Add one message, in any of the forms, to this prompt."""
        self.messages.append(_piece(message, "f-string"))
        self._find_variables()

    def extend(self, messages: Sequence[MessageLikeRepresentation]) -> None:
        """Add messages, in any of the forms, to this prompt."""
        self.messages.extend(_pieces(messages, "f-string"))
        self._find_variables()

    def __add__(self, other: Any) -> ChatPromptTemplate:
        """Return a prompt with more messages: those of another prompt, a list, or one in any of the forms."""
        if isinstance(other, ChatPromptTemplate):
            partials = {**self.partial_variables, **other.partial_variables}
            return ChatPromptTemplate([*self.messages, *other.messages], partial_variables=partials)
        if isinstance(other, (list, tuple)) and not _is_pair(other):
            more = _pieces(other, "f-string")
        elif isinstance(
            other,
            (str, tuple, dict, BaseMessage, BaseMessagePromptTemplate, BaseChatPromptTemplate),
        ):
            more = [_piece(other, "f-string")]
        else:
            return NotImplemented
        return ChatPromptTemplate([*self.messages, *more], partial_variables=self.partial_variables)

    @overload
    def __getitem__(self, index: int) -> Piece: ...
    @overload
    def __getitem__(self, index: slice) -> ChatPromptTemplate: ...
    def __getitem__(self, index: int | slice) -> Piece | ChatPromptTemplate:
        """Return one element of `messages`, or for a slice a prompt of these elements."""
        if isinstance(index, slice):
            return ChatPromptTemplate(
                self.messages[index], partial_variables=self.partial_variables
            )
        return self.messages[index]

    def __len__(self) -> int:
        return len(self.messages)

    def __bool__(self) -> bool:
        # A prompt has a length, but is true even if it is empty.
        return True

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - as LangChain has it
        return "\n\n".join(piece.pretty_repr(html=html) for piece in self.messages)

    def partial(self, **kwargs: Any) -> Self:
        copied = super().partial(**kwargs)
        copied.messages = [*self.messages]
        return copied

    def _kinds(self) -> Kwargs:
        from modelwire.messages import AnyMessage

        kinds: Kwargs = {}
        for piece in self.messages:
            if isinstance(piece, MessagesPlaceholder):
                kinds[piece.variable_name] = list[AnyMessage]
            elif isinstance(piece, BaseChatPromptTemplate):
                kinds.update({**piece._kinds(), **piece.input_types})
        return kinds

    def _find_variables(self) -> None:
        """Set the names of the prompt's variables to those that its messages use."""
        needed: set[str] = set()
        optional: set[str] = set()
        for piece in self.messages:
            if isinstance(piece, (BaseMessagePromptTemplate, BaseChatPromptTemplate)):
                needed.update(piece.input_variables)
            if isinstance(piece, MessagesPlaceholder) and piece.optional:
                optional.add(piece.variable_name)
        self.input_variables = sorted(needed - self.partial_variables.keys())
        self.optional_variables = sorted(optional - needed)


def _transcript(messages: list[BaseMessage]) -> str:
    from modelwire.messages.transcript import get_buffer_string

    return get_buffer_string(messages)


def _add(piece: Piece, messages: list[BaseMessage], values: Values) -> None:
    """Append the messages of one piece."""
    _adder_for(piece.__class__)(piece, messages, values)


Adder: TypeAlias = Callable[[Any, list[BaseMessage], Values], None]


# The result is cached by class, because `isinstance` with a pydantic class is slow.
@lru_cache(maxsize=256)
def _adder_for(kind: type) -> Adder:
    if issubclass(kind, BaseMessagePromptTemplate):
        return kind.add_messages
    if issubclass(kind, BaseMessage):
        return lambda message, messages, _values: messages.append(message)
    if kind is ChatPromptTemplate:
        return lambda prompt, messages, values: messages.extend(prompt.messages_of(values))
    return lambda prompt, messages, values: messages.extend(
        prompt.format_messages(**_chosen(prompt, values))
    )


def _is_async(piece: Any) -> bool:
    """Return whether an element of a class that a user has defined overrides `aformat_messages`."""
    if isinstance(piece, ChatPromptTemplate):
        return any(_is_async(inner) for inner in piece.messages)
    own = getattr(type(piece), "aformat_messages", None)
    return own not in (
        None,
        BaseMessagePromptTemplate.aformat_messages,
        BaseChatPromptTemplate.aformat_messages,
    )


def _chosen(piece: Any, values: Values) -> Kwargs:
    """Return the values of the variables that a piece has."""
    optional = [name for name in getattr(piece, "optional_variables", ()) if name in values]
    return {name: values[name] for name in [*piece.input_variables, *optional]}


_ROLES: dict[str, type[BaseStringMessagePromptTemplate]] = {
    "human": HumanMessagePromptTemplate,
    "user": HumanMessagePromptTemplate,
    "ai": AIMessagePromptTemplate,
    "assistant": AIMessagePromptTemplate,
    "system": SystemMessagePromptTemplate,
}


def _pieces(messages: Any, template_format: str) -> list[Piece]:
    if isinstance(messages, str):
        messages = [messages]
    if isinstance(messages, (BaseMessage, Mapping)) or not isinstance(messages, Iterable):
        raise InvalidType(
            f"`messages` must be a list, not a `{type(messages).__name__}`. Put it in brackets."
        )
    if isinstance(messages, Iterator):
        messages = list(messages)
    return [_piece(message, template_format) for message in messages]


def _piece(message: Any, template_format: str) -> Piece:
    """Return the element of `ChatPromptTemplate.messages` for a message in any of the forms."""
    if isinstance(message, (BaseMessage, BaseMessagePromptTemplate, BaseChatPromptTemplate)):
        return message
    if isinstance(message, str):
        return HumanMessagePromptTemplate.from_template(message, template_format)
    if isinstance(message, dict):
        if message.keys() != {"role", "content"}:
            raise InvalidArgument(
                f"Expected a dict with exactly the keys `role` and `content`, got {sorted(map(str, message))}."
            )
        return _template_for(message["role"], message["content"], template_format)
    if isinstance(message, (tuple, list)):
        if len(message) != 2:
            raise InvalidArgument(
                f"Expected a 2-tuple of (role, template), got {len(message)} elements."
            )
        return _template_for(message[0], message[1], template_format)
    if (converted := own_message(message)) is not None:
        return converted
    if isinstance(message, PromptTemplate):
        hint = " Wrap it: `HumanMessagePromptTemplate(prompt=...)`."
    else:
        hint = ""
    raise InvalidType(f"Unsupported message type: `{type(message).__name__}`.{hint}")


def _template_for(role: Any, template: Any, template_format: str) -> Piece:
    if role == "placeholder":
        return _placeholder(template)
    if isinstance(role, type) and issubclass(role, BaseMessage):
        role = role.model_fields["type"].default
    kind = _ROLES.get(role) if isinstance(role, str) else None
    if kind is None:
        shown = f"`{role}`" if isinstance(role, str) else f"a `{type(role).__name__}`"
        raise InvalidArgument(
            f"Unexpected message type: {shown}. {did_you_mean(str(role), [*_ROLES, 'placeholder'])}"
        )
    return kind.from_template(template, template_format)


def _placeholder(template: Any) -> MessagesPlaceholder:
    """Return the placeholder for `"{name}"`, or `["{name}", optional]`."""
    optional = True
    if isinstance(template, (list, tuple)) and len(template) == 2 and isinstance(template[1], bool):
        template, optional = template
    if (
        not isinstance(template, str)
        or template[:1] != "{"
        or template[-1:] != "}"
        or not template[1:-1].strip("{}")
    ):
        raise InvalidTemplate(
            f"Invalid placeholder template: {template!r}."
            " Expected a variable name surrounded by curly braces: `{name}`."
        )
    return MessagesPlaceholder(template[1:-1], optional=optional)


def _is_pair(value: Sequence[Any]) -> bool:
    """Return whether a value is `(role, template)` and not a tuple of messages."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and (
            isinstance(value[0], type)
            or (isinstance(value[0], str) and value[0] in {*_ROLES, "placeholder"})
        )
    )

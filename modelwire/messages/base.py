"""The base class of all messages: content, sender, and the provider's additions. Pure values.

Users create messages with validation (`HumanMessage("hi")`). Our decoders and conversions have
valid values and use `BaseMessage.of` or `assemble`, which validate nothing, build no schema and
return an equal object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from modelwire._extensions import extension
from modelwire.aliases import JSON, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType
from modelwire.messages.merge import Content, add_contents, merge_content, merge_dicts
from modelwire.messages.serialised import LangChainForm
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from typing import Self

    from modelwire.messages.content import ContentBlock
    from modelwire.prompts import ChatPromptTemplate

    Blocks = Sequence[ContentBlock] | None

__all__ = [
    "LC_AUTO_PREFIX",
    "LC_ID_PREFIX",
    "BaseMessage",
    "BaseMessageChunk",
    "TextAccessor",
    "merge_chunks",
    "merge_content",
    "message_to_dict",
    "messages_to_dict",
]

LC_AUTO_PREFIX = "lc_"
"""The prefix of every generated id, of messages and of content blocks."""
LC_ID_PREFIX = "lc_run-"
"""The prefix of a message id made from the id of the run.

Any other id of a message takes precedence over it.
"""

# A message's title is centred in this many characters.
TITLE_WIDTH = 80

Given = str | Sequence[str | dict[Any, Any]] | None
"""The content of a message."""

_Message = TypeVar("_Message", bound="BaseMessage")

# These are the slots of a pydantic model. They are set without `BaseModel.__setattr__`, as in
# `BaseModel.model_construct`.
set_fields = BaseModel.__dict__["__dict__"].__set__
get_fields = BaseModel.__dict__["__dict__"].__get__
_set_fields_set = BaseModel.__dict__["__pydantic_fields_set__"].__set__
_set_extra = BaseModel.__dict__["__pydantic_extra__"].__set__
_set_private = BaseModel.__dict__["__pydantic_private__"].__set__
_new = object.__new__


def set_slots(
    model: BaseModel,
    fields: Kwargs,
    fields_set: set[str],
    extra: Kwargs | None = None,
) -> None:
    """Set all fields of a pydantic object without validation and without building its schema.

    `fields_set` names the fields that a user has set. `extra` has the extra fields; it is None for
    a class that allows none.
    """
    set_fields(model, fields)
    _set_fields_set(model, fields_set)
    _set_extra(model, extra)
    _set_private(model, None)


def assemble(cls: type[_Message], fields: Kwargs, fields_set: set[str]) -> _Message:
    """Return a message of class `cls` with these fields, which are neither checked nor copied.

    `fields` must have every field of the class, in its order and with a valid value; `fields_set`
    names the fields that a user has set.
    """
    message = _new(cls)
    set_fields(message, fields)
    _set_fields_set(message, fields_set)
    _set_extra(message, {})
    _set_private(message, None)
    return message


class TextAccessor(str):
    """A text that may also be called, because both `message.text` and `message.text()` are in use."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)


class BaseMessage(LangChainForm, BaseModel):
    """One message of a conversation.

    `content` is a text or a list of texts and content blocks (dicts).
    """

    model_config = ConfigDict(extra="allow", defer_build=True)
    LC_NAMESPACE: ClassVar = ("langchain", "schema", "messages")

    content: Content
    additional_kwargs: dict[Any, Any] = Field(default_factory=dict)
    """What the provider sends or receives beyond the fields."""
    response_metadata: dict[Any, Any] = Field(default_factory=dict)
    """Facts about the answer: model, finish reason, request id, log probabilities."""
    type: str
    name: str | None = None
    id: str | None = Field(default=None, coerce_numbers_to_str=True)

    # The subclasses repeat `__init__` for type checkers, which would otherwise derive one from the
    # fields.
    def __init__(self, content: Given = None, content_blocks: Blocks = None, **kwargs: Any) -> None:
        if content_blocks is not None:
            content = cast("Content", list(content_blocks))
        if type(content) is str and self._fill(content, kwargs):
            return
        kwargs["content"] = content
        try:
            super().__init__(**kwargs)
        except ValidationError as exc:
            raise InvalidArgument(_describe(type(self).__name__, exc)) from exc

    @classmethod
    def of(cls, content: Content, **fields: Any) -> Self:
        """Return a message with values known to be valid, without validation and without building a schema."""
        values: Kwargs = {"content": content, **fields}
        return assemble(cls, _filled(_blanks(cls).fields, values), set(values))

    def _fill(self, content: str, values: Kwargs) -> bool:
        """Set the content and other text fields without validation and without building a schema.

        Return False, and change nothing, if one of the values needs validation.
        """
        blanks = _blanks(type(self))
        for name, value in values.items():
            if type(value) is not str or name not in blanks.texts:
                return False
        if not blanks.quick or any(name not in values for name in blanks.required):
            return False
        values["content"] = content
        set_slots(self, _filled(blanks.fields, values), set(values), {})
        return True

    @property
    def text(self) -> TextAccessor:
        """The text of the content: its texts and text blocks, joined."""
        content = self.content
        if isinstance(content, str):
            return TextAccessor(content)
        return TextAccessor("".join(_texts(content)))

    @property
    def content_blocks(self) -> list[ContentBlock]:
        """The content as standard blocks, whatever the provider; `content` itself does not change."""
        from modelwire.messages.block_translators import translate

        return translate(self)

    @property
    def lc_attributes(self) -> JSON:
        """Fields that are serialised even if they have their defaults, as in LangChain."""
        named = ("type", "tool_calls", "invalid_tool_calls")
        return {key: self.__dict__[key] for key in named if key in self.__dict__}

    def __add__(self, other: Any) -> ChatPromptTemplate:
        """Return a prompt that begins with this message."""
        from modelwire.prompts import ChatPromptTemplate

        prompt: ChatPromptTemplate = ChatPromptTemplate(messages=[self]) + other
        return prompt

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        fields = type(self).__pydantic_fields__
        for name, value in self.__dict__.items():
            field = fields.get(name)
            if field is None or not field.repr:
                continue
            if field.default_factory is not None or field.is_required() or value != field.default:
                yield name, value
        yield from (self.__pydantic_extra__ or {}).items()

    def pretty_repr(self, html: bool = False) -> str:  # noqa: FBT001, FBT002 - the signature scripts know
        """Return the message as text under a title; `html` makes the title bold in a terminal."""
        title = get_msg_title_repr(f"{self.type.title()} Message", bold=html)
        name = f"\nName: {self.name}" if self.name is not None else ""
        return f"{title}{name}\n\n{self.content}"

    def _repr_html_(self) -> str:
        return str(extension("notebooks").show_message(self))

    def pretty_print(self) -> None:
        """Print the message under a title."""
        import sys

        print(self.pretty_repr(html=hasattr(sys, "ps2")))  # noqa: T201 - what the method is for


class _Blanks(NamedTuple):
    """The default values of a message class."""

    # For each field, in the class's order: its name, the factory of its default, and its default.
    fields: tuple[tuple[str, Callable[[], Any] | None, Any], ...]
    required: tuple[str, ...]  # The required fields besides the content.
    texts: frozenset[str]  # The fields for which every text is valid.
    quick: bool  # True for modelwire's own classes: no validator of a user has to run.


@lru_cache(maxsize=256)
def _blanks(cls: type[BaseMessage]) -> _Blanks:
    fields = cls.__pydantic_fields__
    return _Blanks(
        tuple(
            (name, cast("Any", field.default_factory), field.default)
            for name, field in fields.items()
        ),
        tuple(name for name, field in fields.items() if field.is_required() and name != "content"),
        frozenset({"name", "id", "tool_call_id", "role"} & fields.keys()),
        cls.__module__.startswith("modelwire.messages."),
    )


def _filled(fields: Iterable[tuple[str, Callable[[], Any] | None, Any]], values: Values) -> Kwargs:
    filled: Kwargs = {}
    # Every message is built here, so this is a loop: a comprehension would add a function call.
    for name, factory, default in fields:
        if name in values:
            filled[name] = values[name]
        elif factory is None:
            filled[name] = default
        else:
            filled[name] = factory()
    return filled


def _texts(content: Iterable[str | Mapping[Any, Any]]) -> Iterator[str]:
    for block in content:
        if isinstance(block, str):
            yield block
        elif block.get("type") == "text" and isinstance(block.get("text"), str):
            yield block["text"]


def _describe(class_name: str, exc: ValidationError) -> str:
    """Return an error text about a message's invalid fields: names and types, never values, which may be a prompt."""
    problems = []
    for error in exc.errors(include_url=False, include_context=False):
        place = ".".join(str(part) for part in error["loc"]) or "message"
        if error["type"] in {"missing", "value_error"}:
            seen = ""
        else:
            seen = f", not `{type(error['input']).__name__}`"
        problems.append(f"`{place}`: {error['msg']}{seen}")
    return f"`{class_name}` cannot be made of these values: {'; '.join(problems)}."


class BaseMessageChunk(BaseMessage):
    """A part of a message, as streams yield it: `chunk + chunk` is a longer part."""

    def __add__(self, other: Any) -> Self:  # type: ignore[override]  # a chunk adds up to a chunk, not to a prompt
        if isinstance(other, BaseMessageChunk):
            return self._sum((other,))
        if isinstance(other, list | tuple) and all(
            isinstance(chunk, BaseMessageChunk) for chunk in other
        ):
            return self._sum(other)
        raise InvalidType(
            f'unsupported operand type(s) for +: "{type(self).__name__}" and "{type(other).__name__}"; '
            "a chunk adds to chunks only."
        )

    def _sum(self, others: Sequence[BaseMessageChunk]) -> Self:
        """Return the sum of this chunk and `others`, in order. The sum has the class of this chunk."""
        fields = get_fields(self).copy()
        contents = []
        ids = [fields["id"]]
        kwargs = []
        metadata = []
        for other in others:
            part = get_fields(other)
            contents.append(part["content"])
            ids.append(part["id"])
            if part["additional_kwargs"]:
                kwargs.append(part["additional_kwargs"])
            if part["response_metadata"]:
                metadata.append(part["response_metadata"])
            if fields["name"] is None:
                fields["name"] = part["name"]
        fields["content"] = add_contents(fields["content"], *contents)
        fields["additional_kwargs"] = merge_dicts(fields["additional_kwargs"], *kwargs)
        fields["response_metadata"] = merge_dicts(fields["response_metadata"], *metadata)
        fields["id"] = merge_ids(ids)
        total = assemble(type(self), fields, self.__pydantic_fields_set__ | _SUMMED)
        if self.__pydantic_extra__:
            _set_extra(total, dict(self.__pydantic_extra__))
        if self.__pydantic_private__:
            _set_private(total, dict(self.__pydantic_private__))
        return total


_SUMMED = frozenset({"content", "additional_kwargs", "response_metadata", "id"})


def merge_ids(ids: Iterable[str | None]) -> str | None:
    """Return the id for a sum of chunks with these ids; None if no chunk has an id.

    The first id from a provider is chosen, else the first made from the id of a run, else the first
    generated one.
    """
    best, best_rank = None, 0
    for candidate in ids:
        if candidate:
            if not candidate.startswith(LC_AUTO_PREFIX):
                return candidate
            rank = 2 if candidate.startswith(LC_ID_PREFIX) else 1
            if rank > best_rank:
                best, best_rank = candidate, rank
    return best


_Chunk = TypeVar("_Chunk", bound=BaseMessageChunk)


def merge_chunks(chunks: Iterable[_Chunk]) -> _Chunk:
    """Return the sum of one or more chunks, in time linear in their size.

    Raises: `InvalidArgument` for no chunks.
    """
    parts = list(chunks)
    if not parts:
        raise InvalidArgument("No chunks to add up: give at least one.")
    if len(parts) > 1:
        return parts[0]._sum(parts[1:])
    return parts[0]


def message_to_dict(message: BaseMessage) -> JSON:
    """Return a message as a dict `{"type": ..., "data": ...}`."""
    return {"type": message.type, "data": message.model_dump()}


def messages_to_dict(messages: Sequence[BaseMessage]) -> list[JSON]:
    """Return messages as dicts; `messages_from_dict` converts them back."""
    return [message_to_dict(message) for message in messages]


def get_msg_title_repr(title: str, *, bold: bool = False) -> str:
    """Return a title centred in a line of `=`."""
    padded = f" {title} "
    left = (TITLE_WIDTH - len(padded)) // 2
    right = left + len(padded) % 2
    return "=" * left + (get_bolded_text(padded) if bold else padded) + "=" * right


def get_bolded_text(text: str) -> str:
    """Return a text between the codes that switch bold on and off in a terminal."""
    return f"\033[1m{text}\033[0m"

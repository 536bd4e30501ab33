"""Prompt values: prompts with their variables filled in, each a text or a list of messages. Pure values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypedDict

from modelwire.errors import InvalidType
from modelwire.messages.base import BaseMessage, set_slots
from modelwire.messages.human import HumanMessage

__all__ = [
    "ChatPromptValue",
    "ChatPromptValueConcrete",
    "ImagePromptValue",
    "ImageURL",
    "PromptValue",
    "StringPromptValue",
]


class AsGiven:
    """Marks a field that is dumped by the class of its value, as `SerializeAsAny` does, but without its slow import."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import SerializeAsAny

        return cast("Any", SerializeAsAny)().__get_pydantic_core_schema__(source, handler)


class PromptValue(BaseModel, ABC):
    """A prompt with its variables filled in, for models that take a text or messages."""

    model_config = ConfigDict(defer_build=True)

    @abstractmethod
    def to_string(self) -> str:
        """Return the prompt as one text."""

    @abstractmethod
    def to_messages(self) -> list[BaseMessage]:
        """Return the prompt as messages."""


class StringPromptValue(PromptValue):
    """A prompt that is one text."""

    text: str
    type: Literal["StringPromptValue"] = "StringPromptValue"

    def __init__(self, *, text: str, **more: Any) -> None:
        if not isinstance(text, str):
            raise InvalidType(f"`text` must be a `str`, not a `{text.__class__.__name__}`.")
        if type(self) is StringPromptValue:
            set_slots(self, {"text": text, "type": "StringPromptValue"}, {"text"})
        else:
            BaseModel.__init__(self, text=text, **more)

    def to_string(self) -> str:
        return self.text

    def to_messages(self) -> list[BaseMessage]:
        """Return the text as one human message."""
        return [HumanMessage(content=self.text)]


class ChatPromptValue(PromptValue):
    """A prompt that is a list of messages."""

    messages: Sequence[Annotated[BaseMessage, AsGiven()]]
    type: Literal["ChatPromptValue"] = "ChatPromptValue"

    def __init__(self, *, messages: Sequence[BaseMessage], **more: Any) -> None:
        items: Sequence[Any] = messages
        wrong = next(
            (message for message in items if not isinstance(message, (BaseMessage, dict))), None
        )
        if wrong is not None:
            raise InvalidType(
                f"`messages` must hold messages, not a `{wrong.__class__.__name__}`. Call `convert_to_messages` first."
            )
        BaseModel.__init__(self, messages=messages, **more)

    @classmethod
    def of(cls, messages: list[BaseMessage]) -> ChatPromptValue:
        """Return a prompt with this list of messages, which is neither checked nor copied."""
        value = cls.__new__(cls)
        set_slots(value, {"messages": messages, "type": "ChatPromptValue"}, {"messages"})
        return value

    def to_string(self) -> str:
        """Return the messages as text, each line with its role."""
        from modelwire.messages.transcript import get_buffer_string

        return get_buffer_string(self.messages)

    def to_messages(self) -> list[BaseMessage]:
        """Return the messages in a new list."""
        return list(self.messages)


ChatPromptValueConcrete = ChatPromptValue  # LangChain has a class of this name for schemas.


class ImageURL(TypedDict, total=False):
    """The URL of an image (https or data:), and the level of detail in which the model sees it."""

    url: str
    detail: Literal["auto", "low", "high"]


class ImagePromptValue(PromptValue):
    """A prompt that is one image."""

    image_url: ImageURL
    type: Literal["ImagePromptValue"] = "ImagePromptValue"

    def to_string(self) -> str:
        return self.image_url.get("url", "")

    def to_messages(self) -> list[BaseMessage]:
        return [HumanMessage(content=[{"type": "image_url", "image_url": dict(self.image_url)}])]

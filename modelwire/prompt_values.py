"""What a prompt becomes once its variables are filled in: a text, or a list of messages. Pure values."""

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
    """Marks a field that is dumped as the class of its value says: `SerializeAsAny`, which takes 1.5 ms to import."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic import SerializeAsAny

        return cast("Any", SerializeAsAny)().__get_pydantic_core_schema__(source, handler)


class PromptValue(BaseModel, ABC):
    """A prompt that is ready to be sent, to models of text or of messages."""

    model_config = ConfigDict(defer_build=True)

    @abstractmethod
    def to_string(self) -> str:
        """Return the prompt as one text."""

    @abstractmethod
    def to_messages(self) -> list[BaseMessage]:
        """Return the prompt as messages."""


class StringPromptValue(PromptValue):
    """A prompt of one text."""

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
    """A prompt of messages."""

    messages: Sequence[Annotated[BaseMessage, AsGiven()]]
    type: Literal["ChatPromptValue"] = "ChatPromptValue"

    def __init__(self, *, messages: Sequence[BaseMessage], **more: Any) -> None:
        items: Sequence[Any] = messages
        wrong = next(
            (message for message in items if not isinstance(message, (BaseMessage, dict))), None
        )
        if wrong is not None:
            raise InvalidType(
                f"`messages` must hold messages, not a `{wrong.__class__.__name__}`. `convert_to_messages` makes them."
            )
        BaseModel.__init__(self, messages=messages, **more)

    @classmethod
    def of(cls, messages: list[BaseMessage]) -> ChatPromptValue:
        """Wrap a list that is known to hold messages; the list is not copied."""
        value = cls.__new__(cls)
        set_slots(value, {"messages": messages, "type": "ChatPromptValue"}, {"messages"})
        return value

    def to_string(self) -> str:
        """Return the messages as text, each line with its role."""
        from modelwire.messages.transcript import get_buffer_string

        return get_buffer_string(self.messages)

    def to_messages(self) -> list[BaseMessage]:
        """Return the messages in a list of its own."""
        return list(self.messages)


ChatPromptValueConcrete = ChatPromptValue  # LangChain's name for it where its schema is made


class ImageURL(TypedDict, total=False):
    """Where an image is (https or data:), and in how much detail the model looks at it."""

    url: str
    detail: Literal["auto", "low", "high"]


class ImagePromptValue(PromptValue):
    """A prompt of one image."""

    image_url: ImageURL
    type: Literal["ImagePromptValue"] = "ImagePromptValue"

    def to_string(self) -> str:
        return self.image_url.get("url", "")

    def to_messages(self) -> list[BaseMessage]:
        return [HumanMessage(content=[{"type": "image_url", "image_url": dict(self.image_url)}])]

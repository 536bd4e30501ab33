"""The message that removes another one. Pure values."""

# pyright: reportIncompatibleVariableOverride=false
# (each class narrows the type of `type`, the field that identifies it)
from __future__ import annotations

from typing import Any, Literal

from modelwire.errors import InvalidArgument
from modelwire.messages.base import BaseMessage

__all__ = ["RemoveMessage"]


class RemoveMessage(BaseMessage):
    """A request to remove the message with this `id` from a stored history; it has no content."""

    type: Literal["remove"] = "remove"

    def __init__(self, id: str, **kwargs: Any) -> None:
        if kwargs.pop("content", None):
            raise InvalidArgument(
                "`RemoveMessage` does not support `content`: it only names a message by `id`."
            )
        super().__init__("", id=id, **kwargs)

"""What an agent does next, as values: for scripts that loop by themselves and for callbacks. No agent is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwire.messages import AIMessage, BaseMessage

__all__ = ["AgentAction", "AgentActionMessageLog", "AgentFinish", "AgentStep"]


class AgentAction(BaseModel):
    """A tool to call, with what, and the model's words that led there."""

    model_config = ConfigDict(defer_build=True)

    tool: str
    tool_input: str | dict[str, Any]
    log: str
    type: Literal["AgentAction", "AgentActionMessageLog"] = "AgentAction"

    def __init__(self, tool: str, tool_input: str | dict[str, Any], log: str, **more: Any) -> None:
        super().__init__(tool=tool, tool_input=tool_input, log=log, **more)

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """The words as messages."""
        return [AIMessage(self.log)]


class AgentActionMessageLog(AgentAction):
    """A tool to call, and the messages that led there."""

    message_log: Sequence[BaseMessage]
    type: Literal["AgentActionMessageLog"] = "AgentActionMessageLog"

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """The messages that led there."""
        return self.message_log


class AgentStep(BaseModel):
    """An action and its result."""

    model_config = ConfigDict(defer_build=True)

    action: AgentAction
    observation: Any


class AgentFinish(BaseModel):
    """The answer, and the model's words that led there."""

    model_config = ConfigDict(defer_build=True)

    return_values: dict[str, Any]
    log: str
    type: Literal["AgentFinish"] = "AgentFinish"

    def __init__(self, return_values: dict[str, Any], log: str, **more: Any) -> None:
        super().__init__(return_values=return_values, log=log, **more)

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """The words as messages."""
        return [AIMessage(self.log)]

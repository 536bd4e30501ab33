"""Values for the next action of an agent, for callbacks and for scripts with a loop of their own. No agent is here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from modelwire.messages import AIMessage, BaseMessage

__all__ = ["AgentAction", "AgentActionMessageLog", "AgentFinish", "AgentStep"]


class AgentAction(BaseModel):
    """A call of a tool: its name, its input, and in `log` the text in which the model decided on it."""

    model_config = ConfigDict(defer_build=True)

    tool: str
    tool_input: str | dict[str, Any]
    log: str
    type: Literal["AgentAction", "AgentActionMessageLog"] = "AgentAction"

    def __init__(self, tool: str, tool_input: str | dict[str, Any], log: str, **more: Any) -> None:
        super().__init__(tool=tool, tool_input=tool_input, log=log, **more)

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """The text in `log`, as a list of one message."""
        return [AIMessage(self.log)]


class AgentActionMessageLog(AgentAction):
    """A call of a tool, with the messages in which the model decided on it."""

    message_log: Sequence[BaseMessage]
    type: Literal["AgentActionMessageLog"] = "AgentActionMessageLog"

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """The messages in which the model decided on the call."""
        return self.message_log


class AgentStep(BaseModel):
    """An action and its result."""

    model_config = ConfigDict(defer_build=True)

    action: AgentAction
    observation: Any


class AgentFinish(BaseModel):
    """The final answer of an agent, and in `log` the text in which the model gave it."""

    model_config = ConfigDict(defer_build=True)

    return_values: dict[str, Any]
    log: str
    type: Literal["AgentFinish"] = "AgentFinish"

    def __init__(self, return_values: dict[str, Any], log: str, **more: Any) -> None:
        super().__init__(return_values=return_values, log=log, **more)

    @property
    def messages(self) -> Sequence[BaseMessage]:
        """The text in `log`, as a list of one message."""
        return [AIMessage(self.log)]

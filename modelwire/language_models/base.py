"""`BaseLanguageModel` under LangChain's path; in modelwire every language model is a chat model."""

from __future__ import annotations

from typing import Any, TypeAlias

from modelwire.adapters.model.base import BaseChatModel, LanguageModelInput
from modelwire.messages import AIMessage
from modelwire.runnables import Runnable

__all__ = ["BaseLanguageModel", "LanguageModelInput", "LanguageModelLike", "LanguageModelOutput"]

BaseLanguageModel = BaseChatModel
LanguageModelOutput: TypeAlias = AIMessage | str
LanguageModelLike: TypeAlias = Runnable[Any, Any]

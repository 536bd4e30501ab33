"""Room 3: how each provider says it. One folder a wire, one class a way of speaking."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.adapters.anthropic.chat_model import ChatAnthropic as ChatAnthropic
    from modelwire.adapters.azure import AzureChatOpenAI as AzureChatOpenAI
    from modelwire.adapters.chat_model import BaseChatModel as BaseChatModel
    from modelwire.adapters.openai.chat_model import ChatOpenAI as ChatOpenAI

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.adapters.anthropic.chat_model": ["ChatAnthropic"],
        "modelwire.adapters.azure": ["AzureChatOpenAI"],
        "modelwire.adapters.chat_model": ["BaseChatModel"],
        "modelwire.adapters.openai.chat_model": ["ChatOpenAI"],
    },
)

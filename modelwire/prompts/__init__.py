"""Prompts: what is said to a model, with variables left open. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.prompts.base import BasePromptTemplate as BasePromptTemplate
    from modelwire.prompts.chat import BaseChatPromptTemplate as BaseChatPromptTemplate
    from modelwire.prompts.chat import ChatPromptTemplate as ChatPromptTemplate
    from modelwire.prompts.chat import MessageLikeRepresentation as MessageLikeRepresentation
    from modelwire.prompts.message import AIMessagePromptTemplate as AIMessagePromptTemplate
    from modelwire.prompts.message import BaseMessagePromptTemplate as BaseMessagePromptTemplate
    from modelwire.prompts.message import BaseStringMessagePromptTemplate as BaseStringMessagePromptTemplate
    from modelwire.prompts.message import ChatMessagePromptTemplate as ChatMessagePromptTemplate
    from modelwire.prompts.message import HumanMessagePromptTemplate as HumanMessagePromptTemplate
    from modelwire.prompts.message import MessagesPlaceholder as MessagesPlaceholder
    from modelwire.prompts.message import SystemMessagePromptTemplate as SystemMessagePromptTemplate
    from modelwire.prompts.prompt import PromptTemplate as PromptTemplate
    from modelwire.prompts.prompt import StringPromptTemplate as StringPromptTemplate
    from modelwire.prompts.template import get_template_variables as get_template_variables

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.prompts.base": ["BasePromptTemplate"],
        "modelwire.prompts.chat": ["BaseChatPromptTemplate", "ChatPromptTemplate", "MessageLikeRepresentation"],
        "modelwire.prompts.message": [
            "AIMessagePromptTemplate",
            "BaseMessagePromptTemplate",
            "BaseStringMessagePromptTemplate",
            "ChatMessagePromptTemplate",
            "HumanMessagePromptTemplate",
            "MessagesPlaceholder",
            "SystemMessagePromptTemplate",
        ],
        "modelwire.prompts.prompt": ["PromptTemplate", "StringPromptTemplate"],
        "modelwire.prompts.template": ["get_template_variables"],
    },
)

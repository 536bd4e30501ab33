"""Prompts: what is said to a model, with variables left open. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.prompts.base import BasePromptTemplate as BasePromptTemplate
    from modelwire.prompts.chat import BaseChatPromptTemplate as BaseChatPromptTemplate
    from modelwire.prompts.chat import ChatPromptTemplate as ChatPromptTemplate
    from modelwire.prompts.chat import MessageLikeRepresentation as MessageLikeRepresentation
    from modelwire.prompts.dict import DictPromptTemplate as DictPromptTemplate
    from modelwire.prompts.document import aformat_document as aformat_document
    from modelwire.prompts.document import format_document as format_document
    from modelwire.prompts.few_shot import FewShotChatMessagePromptTemplate as FewShotChatMessagePromptTemplate
    from modelwire.prompts.few_shot import FewShotPromptTemplate as FewShotPromptTemplate
    from modelwire.prompts.image import ImagePromptTemplate as ImagePromptTemplate
    from modelwire.prompts.message import AIMessagePromptTemplate as AIMessagePromptTemplate
    from modelwire.prompts.message import BaseMessagePromptTemplate as BaseMessagePromptTemplate
    from modelwire.prompts.message import BaseStringMessagePromptTemplate as BaseStringMessagePromptTemplate
    from modelwire.prompts.message import ChatMessagePromptTemplate as ChatMessagePromptTemplate
    from modelwire.prompts.message import HumanMessagePromptTemplate as HumanMessagePromptTemplate
    from modelwire.prompts.message import MessagesPlaceholder as MessagesPlaceholder
    from modelwire.prompts.message import SystemMessagePromptTemplate as SystemMessagePromptTemplate
    from modelwire.prompts.prompt import PromptTemplate as PromptTemplate
    from modelwire.prompts.prompt import StringPromptTemplate as StringPromptTemplate
    from modelwire.prompts.string import check_valid_template as check_valid_template
    from modelwire.prompts.string import jinja2_formatter as jinja2_formatter
    from modelwire.prompts.string import mustache_formatter as mustache_formatter
    from modelwire.prompts.string import validate_jinja2 as validate_jinja2
    from modelwire.prompts.structured import StructuredPrompt as StructuredPrompt
    from modelwire.prompts.template import PromptTemplateFormat as PromptTemplateFormat
    from modelwire.prompts.template import get_template_variables as get_template_variables

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.prompts.base": "BasePromptTemplate",
        "modelwire.prompts.chat": "BaseChatPromptTemplate ChatPromptTemplate MessageLikeRepresentation",
        "modelwire.prompts.dict": "DictPromptTemplate",
        "modelwire.prompts.document": "aformat_document format_document",
        "modelwire.prompts.few_shot": "FewShotChatMessagePromptTemplate FewShotPromptTemplate",
        "modelwire.prompts.image": "ImagePromptTemplate",
        "modelwire.prompts.message": (
            "AIMessagePromptTemplate BaseMessagePromptTemplate BaseStringMessagePromptTemplate"
            " ChatMessagePromptTemplate HumanMessagePromptTemplate MessagesPlaceholder SystemMessagePromptTemplate"
        ),
        "modelwire.prompts.prompt": "PromptTemplate StringPromptTemplate",
        "modelwire.prompts.string": "check_valid_template jinja2_formatter mustache_formatter validate_jinja2",
        "modelwire.prompts.structured": "StructuredPrompt",
        "modelwire.prompts.template": "PromptTemplateFormat get_template_variables",
    },
)

"""Prompts: messages to a model with variables to fill in. Names load when first used."""
# ruff: noqa: F403 - type checkers read these imports; a test compares them with the table below

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.prompts.base import *
    from modelwire.prompts.chat import *
    from modelwire.prompts.dict import *
    from modelwire.prompts.few_shot import *
    from modelwire.prompts.image import ImagePromptTemplate as ImagePromptTemplate
    from modelwire.prompts.loading import load_prompt as load_prompt
    from modelwire.prompts.message import *
    from modelwire.prompts.prompt import *
    from modelwire.prompts.string import check_valid_template as check_valid_template
    from modelwire.prompts.string import jinja2_formatter as jinja2_formatter
    from modelwire.prompts.string import mustache_formatter as mustache_formatter
    from modelwire.prompts.string import validate_jinja2 as validate_jinja2
    from modelwire.prompts.structured import *
    from modelwire.prompts.template import *

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.prompts.base": "BasePromptTemplate aformat_document format_document",
        "modelwire.prompts.chat": "BaseChatPromptTemplate ChatPromptTemplate MessageLikeRepresentation",
        "modelwire.prompts.dict": "DictPromptTemplate",
        "modelwire.prompts.few_shot": "FewShotChatMessagePromptTemplate FewShotPromptTemplate",
        "modelwire.prompts.image": "ImagePromptTemplate",
        "modelwire.prompts.loading": "load_prompt",
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

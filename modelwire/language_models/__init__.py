"""Models under the paths LangChain scripts import them from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel as BaseChatModel
    from modelwire.adapters.model.base import LanguageModelInput as LanguageModelInput
    from modelwire.language_models.base import BaseLanguageModel as BaseLanguageModel
    from modelwire.language_models.base import LanguageModelLike as LanguageModelLike
    from modelwire.language_models.base import LanguageModelOutput as LanguageModelOutput
    from modelwire.language_models.simple_chat_model import SimpleChatModel as SimpleChatModel
    from modelwire.testing.fake_chat_models import FakeListChatModel as FakeListChatModel
    from modelwire.testing.fake_chat_models import (
        FakeMessagesListChatModel as FakeMessagesListChatModel,
    )
    from modelwire.testing.fake_chat_models import GenericFakeChatModel as GenericFakeChatModel
    from modelwire.testing.fake_chat_models import ParrotFakeChatModel as ParrotFakeChatModel

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.adapters.model.base": "BaseChatModel LanguageModelInput",
        "modelwire.language_models.base": "BaseLanguageModel LanguageModelLike LanguageModelOutput",
        "modelwire.language_models.simple_chat_model": "SimpleChatModel",
        "modelwire.testing.fake_chat_models": (
            "FakeListChatModel FakeMessagesListChatModel GenericFakeChatModel ParrotFakeChatModel"
        ),
    },
)

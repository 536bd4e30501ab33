"""Chat models under their old path."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.adapters.chat_model import BaseChatModel as BaseChatModel
    from modelwire.adapters.chat_model import LanguageModelInput as LanguageModelInput
    from modelwire.language_models.simple import SimpleChatModel as SimpleChatModel
    from modelwire.language_models.simple import agenerate_from_stream as agenerate_from_stream
    from modelwire.language_models.simple import generate_from_stream as generate_from_stream

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.adapters.chat_model": ["BaseChatModel", "LanguageModelInput"],
        "modelwire.language_models.simple": ["SimpleChatModel", "agenerate_from_stream", "generate_from_stream"],
    },
)

"""Chat models of all providers: `wires/` has one folder for each HTTP format, `providers/` the model classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel as BaseChatModel
    from modelwire.adapters.providers.anthropic import ChatAnthropic as ChatAnthropic
    from modelwire.adapters.providers.azure import AzureChatOpenAI as AzureChatOpenAI
    from modelwire.adapters.providers.bedrock import ChatBedrockConverse as ChatBedrockConverse
    from modelwire.adapters.providers.google import ChatAnthropicVertex as ChatAnthropicVertex
    from modelwire.adapters.providers.google import ChatGoogleGenerativeAI as ChatGoogleGenerativeAI
    from modelwire.adapters.providers.google import ChatVertexAI as ChatVertexAI
    from modelwire.adapters.providers.openai import ChatOpenAI as ChatOpenAI
    from modelwire.adapters.providers.rows import Names as Names
    from modelwire.adapters.providers.rows import Provider as Provider
    from modelwire.adapters.providers.services import Service as Service

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.adapters.providers.anthropic": ["ChatAnthropic"],
        "modelwire.adapters.providers.azure": ["AzureChatOpenAI"],
        "modelwire.adapters.providers.bedrock": ["ChatBedrockConverse"],
        "modelwire.adapters.model.base": ["BaseChatModel"],
        "modelwire.adapters.providers.google": [
            "ChatAnthropicVertex",
            "ChatGoogleGenerativeAI",
            "ChatVertexAI",
        ],
        "modelwire.adapters.providers.openai": ["ChatOpenAI"],
        "modelwire.adapters.providers.rows": ["Names", "Provider"],
        "modelwire.adapters.providers.services": ["Service"],
    },
)


def _new(name: str) -> Any:
    """Return an object of the class `name` of this package without calling its `__init__`, for unpickling.

    Pickles refer to this function instead of the class's module, so that a class may move.
    """
    if name == "ConfigurableModel":  # Only `init_chat_model` creates it, so it is not exported.
        from modelwire.adapters.model.configurable import ConfigurableModel

        return ConfigurableModel.__new__(ConfigurableModel)
    cls = __getattr__(name)
    return cls.__new__(cls)


def _reduced(model: Any, protocol: Any) -> Any:
    """Return what `object.__reduce_ex__` returns, but name a class of this package without its module.

    `_new` finds the class by its name, so that a pickle can be read after the class has moved.
    """
    made = object.__reduce_ex__(model, protocol)
    is_ours = type(model).__module__.startswith(f"{__name__}.") and isinstance(made, tuple)
    if is_ours:
        return (_new, (type(model).__name__,), *made[2:])
    return made

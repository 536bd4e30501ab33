"""Each provider with a class of its own has one row here, and every other table of providers is derived from it.

A compatible service is a row of `services.py`, and a plugin brings a row of either kind: `Provider`, or `Service`. The
fields that both have are `Names` and `model_class_at`. Importing this module loads no class, wire or service.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from modelwire._extensions import extension
from modelwire.adapters.wires.wire import loaded, wire_named
from modelwire.aliases import Kwargs
from modelwire.records import NamedTuple

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel


class Names(NamedTuple):
    """The provider's names in the lists of others. A list that has no name here knows the provider by our name."""

    traces: str = ""  # `gen_ai.provider.name` of OpenTelemetry
    prices: str = ""  # the id in genai-prices
    profiles: str = ""  # the id in models.dev
    langchain: str = ""  # LangChain's package that has its class
    also: tuple[str, ...] = ()  # names that gateways and traces use, but `init_chat_model` does not


class Provider(NamedTuple):
    """One row: the wire a provider speaks, the beginnings of its models' names, and what has to be done first."""

    wire: str
    models: tuple[str, ...] = ()  # `gpt-4o` alone is enough to know whose model it is
    wires: tuple[str, ...] = ()  # Other wires that it speaks as well, chosen by `wire=`.
    # `prepare(model, wire, kwargs)` returns the arguments of the model's class.
    prepare: Callable[..., dict[str, Any]] | None = None
    model_class_at: str | None = None  # `module:class`; None: the class of its wire
    plugin: type[BaseChatModel] | None = None  # the class that another package brings
    aliases: tuple[str, ...] = ()
    names: Names = Names()
    cloud: str | None = None  # `module:name` of a `Cloud`, whose library finds credentials
    is_free: bool = False  # It runs on the user's own machine, and its answers cost nothing.

    def model_class(self, wire: str | None = None) -> Any:
        """Return the class of its models, on one of its wires."""
        if self.plugin is not None:
            return self.plugin
        return loaded(self.model_class_at or wire_named(wire or self.wire).model_class)


def _on_this_machine(model: str, wire: str, kwargs: Kwargs) -> Kwargs:
    """Start the local server for `model`, a known name or the path of a GGUF file, and return its address."""
    options = {name: kwargs.pop(name) for name in ("n_ctx", "n_parallel") if name in kwargs}
    server = extension("local").ensure_server(model, **options)
    base_url = server.base_url + wire_named(wire).version_path
    return {"provider": "local", "base_url": base_url, "api_key": "local", **kwargs}


PROVIDERS: dict[str, Provider] = {
    "openai": Provider(
        "openai",
        models=("gpt-", "chatgpt-", "o1", "o3", "o4", "ft:gpt-"),
        wires=("responses",),
        model_class_at="modelwire.adapters:ChatOpenAI",
        names=Names(langchain="langchain_openai"),
    ),
    "anthropic": Provider(
        "anthropic",
        models=("claude-",),
        model_class_at="modelwire.adapters:ChatAnthropic",
        names=Names(langchain="langchain_anthropic"),
    ),
    "bedrock_converse": Provider(
        "bedrock",
        model_class_at="modelwire.adapters:ChatBedrockConverse",
        names=Names(
            traces="aws.bedrock",
            prices="aws",
            profiles="amazon-bedrock",
            langchain="langchain_aws",
            also=("amazon_bedrock", "bedrock"),
        ),
        cloud="modelwire.adapters.providers.credential_lookup:AWS",
    ),
    "google_genai": Provider(
        "gemini",
        models=("gemini-",),
        model_class_at="modelwire.adapters:ChatGoogleGenerativeAI",
        aliases=("google", "gemini"),
        names=Names(
            traces="gcp.gemini",
            prices="google",
            profiles="google",
            langchain="langchain_google_genai",
        ),
    ),
    "google_vertexai": Provider(
        "gemini",
        model_class_at="modelwire.adapters:ChatVertexAI",
        aliases=("vertexai",),
        names=Names(
            traces="gcp.vertex_ai",
            profiles="google-vertex",
            langchain="langchain_google_vertexai",
            also=("vertex_ai",),
        ),
        cloud="modelwire.adapters.providers.credential_lookup:GOOGLE",
    ),
    "google_anthropic_vertex": Provider(
        "anthropic",
        model_class_at="modelwire.adapters:ChatAnthropicVertex",
        names=Names(
            traces="gcp.vertex_ai",
            profiles="google-vertex-anthropic",
            langchain="langchain_google_vertexai",
        ),
        cloud="modelwire.adapters.providers.credential_lookup:GOOGLE",
    ),
    "local": Provider(
        "openai",
        models=("smollm2",),
        wires=("anthropic", "responses"),
        prepare=_on_this_machine,
        is_free=True,
    ),
}

"""The rows of the providers that have a class of their own. All other tables of providers are derived from them.

The rows of compatible services are in `services.py`. A plugin has a row of either type, `Provider` or `Service`, which
share the fields `names` and `model_class_at`. Importing this module loads no class, wire or service.
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
    """A provider's names in other systems. If a field is empty, that system uses the same name as modelwire."""

    traces: str = ""  # `gen_ai.provider.name` of OpenTelemetry
    prices: str = ""  # the id in genai-prices
    profiles: str = ""  # the id in models.dev
    langchain: str = ""  # LangChain's package that has its class
    # Names that gateways and traces use, and `init_chat_model` does not accept.
    also: tuple[str, ...] = ()


class Provider(NamedTuple):
    """A provider as the table `PROVIDERS` has it: its wires, its class of chat models, and its names."""

    # The name of its usual wire.
    wire: str
    # The beginnings of its models' names, by which `init_chat_model("gpt-4o")` finds the provider.
    models: tuple[str, ...] = ()
    # The names of its other wires, which `wire=` selects.
    wires: tuple[str, ...] = ()
    # `prepare(model, wire, kwargs)` returns the arguments for the class of the model.
    prepare: Callable[..., dict[str, Any]] | None = None
    # The class of its models as `module:class`. None: the class of its wire.
    model_class_at: str | None = None
    # The class of its models, if it is a plugin.
    plugin: type[BaseChatModel] | None = None
    aliases: tuple[str, ...] = ()
    names: Names = Names()
    # The `Cloud` whose library finds credentials, as `module:name`.
    cloud: str | None = None
    # The models run on the user's machine and cost nothing.
    is_free: bool = False

    def model_class(self, wire: str | None = None) -> Any:
        """Return the class of the provider's models on this wire, or on its usual one."""
        if self.plugin is not None:
            return self.plugin
        return loaded(self.model_class_at or wire_named(wire or self.wire).model_class)


def _on_this_machine(model: str, wire: str, kwargs: Kwargs) -> Kwargs:
    """Start the local server for `model`, a known name or the path of a GGUF file; return the arguments to call it."""
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

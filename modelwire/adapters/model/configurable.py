"""`ConfigurableModel`: a chat model that is created when it is called, from the config of the call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from modelwire.adapters import _reduced
from modelwire.adapters.model.arguments import names_a_key
from modelwire.adapters.model.secret import LostSecret
from modelwire.aliases import Values
from modelwire.errors import InvalidType
from modelwire.messages import AIMessage
from modelwire.runnables.configurable import DECLARATIVE, DynamicRunnable
from modelwire.runnables.fields import ConfigurableFieldSpec
from modelwire.transport.wire import shown_url

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.base import BaseChatModel, LanguageModelInput
    from modelwire.runnables import Runnable, RunnableConfig

# An argument whose name contains one of these words, or ends in one, may hold a secret or a socket and is not pickled.
# `token` counts only at the end: most other names with it are limits, such as `max_tokens`.
_KEPT_HERE = ("key", "header", "client", "proxy", "default_query")
_ENDS_KEPT_HERE = ("token", "token_provider", "credentials")
_ADDRESSES = ("url", "endpoint", "api_base")  # Such an argument may have a user and a password.
# Up to this many models are cached by their arguments. A model is small: its connections are shared.
_MODELS_KEPT = 64


class ConfigurableModel(DynamicRunnable["LanguageModelInput", AIMessage]):
    """A chat model that `make(**arguments)` creates for each call; the call's config may replace arguments.

    `init_chat_model(..., configurable_fields=...)` returns it. `bind_tools` and `with_structured_output` are applied
    when the model is created. Any other attribute is read from the model that the arguments create without a config.
    """

    _parts = ("fields", "make", "arguments", "prefix", "config")

    def __init__(
        self,
        make: Callable[..., BaseChatModel],
        arguments: Values,
        *,
        fields: Literal["any"] | Sequence[str],
        prefix: str = "",
    ) -> None:
        if fields != "any":
            if isinstance(fields, str) or not all(isinstance(name, str) for name in fields):
                raise InvalidType(
                    '`configurable_fields` must be "any" or names of arguments, such as `("model",)`.'
                )
            from modelwire.adapters.providers.registry import check_argument_names

            check_argument_names(fields, arguments.get("model"), arguments.get("model_provider"))
        self.make = make
        self.arguments = dict(arguments)
        self.fields = fields if fields == "any" else tuple(fields)
        self.prefix = prefix
        if prefix and not prefix.endswith("_"):
            self.prefix += "_"
        self._made: dict[Any, BaseChatModel] = {}

    def __repr__(self) -> str:
        shown = {
            name: value
            for name, value in self.arguments.items()
            if not (_stays_here(name) or _is_address(name))
        }
        return f"ConfigurableModel({shown!r}, fields={self.fields!r}, prefix={self.prefix!r})"

    def __getstate__(self) -> dict[str, Any]:
        """Return the state to pickle, without secrets and sockets.

        The copy reads its key from the environment of its process. If the arguments set a credential for an address
        that is not the provider's own, the copy has none.
        """
        plain = {name: value for name, value in self.arguments.items() if not _stays_here(name)}
        for name, value in plain.items():
            if _is_address(name) and isinstance(value, str):
                plain[name] = shown_url(value)
        # The name of the class is kept, so that the copy does not make its calls without that client.
        for name in ("client", "async_client"):
            if (client := self.arguments.get(name)) is not None:
                plain[name] = type(client).__name__
        is_set = any(_says_who(name, value) for name, value in self.arguments.items())
        return {**self.__dict__, "arguments": plain, "_made": {}, "_lost": is_set}

    def __copy__(self) -> ConfigurableModel:
        """Return a copy for this process: unlike a pickle it keeps the credentials and clients."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other.arguments = dict(self.arguments)
        other._made = {}
        return other

    def __deepcopy__(self, memo: dict[int, Any]) -> ConfigurableModel:
        return self.__copy__()

    def __setstate__(self, state: dict[str, Any]) -> None:
        is_lost = state.pop("_lost", False)
        self.__dict__.update(state)
        if is_lost:
            self.arguments["api_key"] = LostSecret()

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _reduced(self, protocol)

    def __getattr__(self, name: str) -> Any:
        if (
            name.startswith("_")
            or name == "default"
            or name in DECLARATIVE
            or "arguments" not in self.__dict__
        ):
            return super().__getattr__(name)
        return getattr(self.prepare()[0], name)

    def _loop_native(self) -> bool:
        return True

    def _may_block(self) -> bool:
        return True

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The configurable fields, empty if any argument is configurable."""
        specs: list[ConfigurableFieldSpec] = []
        for name in () if self.fields == "any" else self.fields:
            default = self.arguments.get(name)
            specs.append(ConfigurableFieldSpec(self.prefix + name, Any, default=default))
        return specs

    def _chosen(
        self, config: RunnableConfig
    ) -> tuple[Runnable[LanguageModelInput, AIMessage], RunnableConfig]:
        configurable = config.get("configurable") or {}
        values = {}
        for key, value in configurable.items():
            name = key.removeprefix(self.prefix)
            is_field = self.fields == "any" or name in self.fields
            is_langgraphs = name.startswith("__")  # LangGraph adds such keys to the user's config.
            if is_field and key.startswith(self.prefix) and not is_langgraphs:
                values[name] = value
        if "model" in values and _names_its_provider(str(values["model"])):
            values.setdefault("model_provider", None)
        return self._model(values), config

    def _model(self, values: Arguments) -> BaseChatModel:
        arguments = self.arguments | values
        try:
            key = frozenset(values.items())
            found = self._made.get(key)
        except TypeError:  # A value cannot be hashed, so the model is not cached.
            return self.make(**arguments)
        if found is None:
            if len(self._made) >= _MODELS_KEPT:
                self._made.clear()
            found = self._made[key] = self.make(**arguments)
        return found


def _stays_here(name: str) -> bool:
    """Return whether an argument of this name may hold a secret or a socket."""
    return name.endswith(_ENDS_KEPT_HERE) or any(word in name for word in _KEPT_HERE)


def _is_address(name: str) -> bool:
    return any(word in name for word in _ADDRESSES)


def _says_who(name: str, value: Any) -> bool:
    """Return whether an argument authenticates calls: a credential, a header with one, or a URL with a password."""
    if value is None:
        return False
    if isinstance(value, dict):
        return "header" in name and names_a_key(value)
    if name in ("http_client", "http_async_client"):
        return names_a_key(getattr(value, "headers", None))
    if _is_address(name):
        url = str(value)
        return shown_url(url).partition("?")[0] != url.partition("?")[0]
    return name.endswith(("api_key", "access_key_id", "access_key", *_ENDS_KEPT_HERE))


def _names_its_provider(model: str) -> bool:
    """Return whether `model` is `provider:model`, and not a name with a colon, such as `llama3:8b`."""
    prefix, colon, _ = model.partition(":")
    if not colon:
        return False
    from modelwire.adapters.providers.registry import row_of

    return row_of(prefix) is not None

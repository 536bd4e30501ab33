"""Choose the model outside the program: with a string, a file, or the environment.

    # modelwire.toml
    default = "quick"

    [models.quick]
    provider = "openai"
    model = "gpt-4o-mini"
    temperature = 0

    [models.house]
    provider = "anthropic"
    model = "claude-sonnet-4-5"     # or both in one: model = "anthropic:claude-sonnet-4-5"
    base_url = "https://llm.example.org"
    api_key_env = "HOUSE_KEY"      # the variable that holds the key; never write a key into the file

    [models.everywhere]
    pool = ["house", "openai:gpt-5-mini"]      # one model made of several: see `modelwire.pool`
    prefer = "first"

    [shared]
    url = "redis://localhost"      # share limits, budgets and cached answers: see `modelwire.shared`

Then `init_chat_model("house")`, or `MODELWIRE_MODEL=house` and `init_chat_model()`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from modelwire import config_trust, lazy
from modelwire.aliases import JSON, Fields, Kwargs, Values
from modelwire.errors import (
    InvalidArgument,
    InvalidConfig,
    InvalidType,
    MissingKey,
    UnknownModel,
    did_you_mean,
)
from modelwire.user_paths import (
    MODEL_FILE_NAME,
    MODEL_FILE_VARIABLE,
    model_file_places,
    user_folder,
)

if TYPE_CHECKING:
    from modelwire.adapters.model.base import BaseChatModel
    from modelwire.adapters.model.configurable import ConfigurableModel
    from modelwire.adapters.providers import registry
    from modelwire.pools import make as pools
else:
    registry = lazy.module("modelwire.adapters.providers.registry")
    pools = lazy.module("modelwire.pools.make")

__all__ = ["ModelFile", "ModelRow", "find_model_file", "init_chat_model", "read_model_file"]

FILE_NAME = MODEL_FILE_NAME
# The key that makes a row of the file a pool of models; it is also the `provider` of such a row.
POOL = "pool"
_POOL_OPTIONS = ("weights", "prefer", "hedge", "sticky", "max_wait")
# The environment variable that names the model if the program does not.
MODEL_VARIABLE = "MODELWIRE_MODEL"
# An error for a misspelt name offers these names. A name that is not among them works as well.
MODEL_NAMES = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "claude-sonnet-4-5",
    "claude-opus-4-1",
    "claude-haiku-4-5",
    "smollm2",
)
# The names of the best known models of https://ollama.com/library begin with these words (read 2026-11).
_OLLAMA_MODELS = ("llama", "qwen", "gemma", "phi", "mistral", "gpt-oss", "deepseek-r1")
FILE_VARIABLE = MODEL_FILE_VARIABLE


@overload
def init_chat_model(
    model: str | None = None,
    *,
    model_provider: str | None = None,
    configurable_fields: None = None,
    config_prefix: str | None = None,
    config_file: str | Path | None = None,
    **kwargs: Any,
) -> BaseChatModel: ...
@overload
def init_chat_model(
    model: str | None = None,
    *,
    model_provider: str | None = None,
    configurable_fields: Literal["any"] | Sequence[str],
    config_prefix: str | None = None,
    config_file: str | Path | None = None,
    **kwargs: Any,
) -> ConfigurableModel: ...
def init_chat_model(
    model: str | None = None,
    *,
    model_provider: str | None = None,
    configurable_fields: Literal["any"] | Sequence[str] | None = None,
    config_prefix: str | None = None,
    config_file: str | Path | None = None,
    **kwargs: Any,
) -> BaseChatModel | ConfigurableModel:
    """Return the chat model that `model` names.

    `model` is `"provider:model"`, a model name that implies its provider (`gpt-4o-mini`, `claude-...`), or a row of
    `modelwire.toml`: the file `config_file`, else `$MODELWIRE_CONFIG`, else the file in the working directory, else the
    file in the user's configuration folder. A file in the working directory cannot send keys to an address of its own
    until the user trusts it (`modelwire config trust`). Without `model` it is `$MODELWIRE_MODEL`, else the file's
    `default`, else the config of each call names it, as with `configurable_fields=("model", "model_provider")`.
    `kwargs` are the model's arguments, and override those of the row.

    With `configurable_fields` (names of arguments such as `("model", "temperature")`, or "any") each call creates the
    model, from these arguments and those in `config["configurable"]`; with `config_prefix`, the keys there begin with
    the prefix and an underscore. "any" lets the writer of the config set `base_url` and `api_key` too.

    Raises: `UnknownModel`, `InvalidConfig`, `MissingKey`, `InvalidArgument`, all before any request.
    """
    if model is not None and not isinstance(model, str):
        raise InvalidType(
            f'`model` must be a string such as "openai:gpt-4o-mini", not a `{type(model).__name__}`.'
        )
    arguments = {
        "model": model,
        "model_provider": model_provider,
        "config_file": config_file,
        **kwargs,
    }
    if configurable_fields is None:
        if config_prefix is not None:
            raise InvalidArgument(
                "`config_prefix` is the prefix of `configurable_fields` in a config; pass those too."
            )
        if model or kwargs.get("model_name") or _default_name(_model_file(config_file)) is not None:
            return make_named_model(**arguments)
        configurable_fields = ("model", "model_provider")
    from modelwire.adapters.model.configurable import ConfigurableModel

    arguments = {name: value for name, value in arguments.items() if value is not None}
    return ConfigurableModel(
        make_named_model, arguments, fields=configurable_fields, prefix=config_prefix or ""
    )


def make_named_model(
    model: str | None = None,
    *,
    model_provider: str | None = None,
    config_file: str | Path | None = None,
    config_is_found: bool = False,
    **kwargs: Any,
) -> BaseChatModel:
    """Return the model that the arguments, the environment or the file names. Raises as `init_chat_model` does.

    With `config_is_found`, `config_file` was found in a working directory and not named by the user.
    """
    file = _model_file(config_file, is_found=config_is_found)
    name = model or kwargs.pop("model_name", None) or _default_name(file)
    if name is None:
        raise UnknownModel(
            f'No model is named: pass one, such as `init_chat_model("openai:gpt-4o-mini")`, set `{MODEL_VARIABLE}`, '
            f"give `{FILE_NAME}` a `default`, or name it in the config of the call: "
            '`config={"configurable": {"model": "openai:gpt-4o-mini"}}`.'
        )
    row = _row_of(name, model_provider, file)
    if row.provider == POOL:
        return _pool_of(name, row, kwargs, config_file, config_is_found=config_is_found)
    if row.path is not None and file.is_found and not config_trust.is_trusted(file):
        config_trust.check_row(name, row, kwargs)
    arguments = row.arguments(beside=kwargs) | kwargs
    try:
        return registry.make_model(row.provider, row.model, **arguments)
    except InvalidArgument as exc:
        text = str(exc)
        at = next((key for key in row.lines if f"`{key}`" in text and key not in kwargs), None)
        if at is None or isinstance(exc, UnknownModel):
            raise
        raise _error_at(row.path, row.lines[at], text) from None


def _error_at(path: Any, line: int, what: str) -> InvalidConfig:
    return InvalidConfig(f"`{path}`, line {line}: {what}", path=str(path), line=line)


def _pool_of(
    name: str, row: ModelRow, kwargs: Kwargs, config_file: Any, *, config_is_found: bool
) -> BaseChatModel:
    """Return the pool of models that a row describes; `kwargs` are arguments of each of its models."""
    check_pool(row)
    options = dict(row.parameters)
    names = options.pop(POOL)
    weights = options.pop("weights", None)
    try:
        members: dict[str, Any] = {
            member: make_named_model(
                member, config_file=config_file, config_is_found=config_is_found, **kwargs
            )
            for member in names
        }
    except UnknownModel as exc:
        raise _error_at(row.path, row.lines[POOL], f"`pool` of `models.{name}`: {exc}") from exc
    if weights is not None:
        members = dict(zip(members, zip(members.values(), weights, strict=True), strict=True))
    return pools.pool(members, **options)


def check_pool(row: ModelRow) -> None:
    """Raise `InvalidConfig` if the row of a pool has an option that cannot be used, or no members. No model is made."""
    options = dict(row.parameters)
    try:
        pools.check_options(options.pop(POOL), **options)
    except InvalidArgument as exc:
        raise _error_at(row.path, row.lines[POOL], str(exc)) from None


def _row_of(name: str, provider: str | None, file: ModelFile) -> ModelRow:
    """Return the file's row with this name, or else a new row that has only a provider and a model."""
    row = None
    if provider is None and not _is_full_name(name):
        row = file.models.get(name)
    return row or named_row(name, provider, file)


def _is_full_name(name: str) -> bool:
    """Return whether `name` is `provider:model`, which always names this model, even if a row has the same name."""
    prefix, colon, _ = name.partition(":")
    return bool(colon) and registry.row_of(prefix) is not None


def _model_file(named: str | Path | None, *, is_found: bool = False) -> ModelFile:
    if (path := find_model_file(named)) is None:
        return ModelFile()
    return replace(
        read_model_file(path), is_found=is_found or (named is None and is_found_here(path))
    )


def is_found_here(path: Path) -> bool:
    """Return whether this file is that of the working directory, not named by a variable and not the user's own."""
    own = user_folder("config") / FILE_NAME
    is_own = os.path.exists(own) and os.path.samefile(own, path)
    return path == Path(FILE_NAME) and not os.environ.get(FILE_VARIABLE) and not is_own


def _default_name(file: ModelFile) -> str | None:
    return os.environ.get(MODEL_VARIABLE) or file.default


def default_name() -> str | None:
    """Return the name of the model for a program that names none: that of the environment or the file, or None."""
    return _default_name(_model_file(None))


def provider_of_name(name: str | None, config_file: str | Path | None = None) -> str | None:
    """Return the provider of the model that `name` names; None if its row is a pool or has an `api_key_env`."""
    file = _model_file(config_file)
    row = _row_of(name or _default_name(file) or "", None, file)
    if row.api_key_env is None and row.provider != POOL:
        return row.provider
    return None


def keeps_transcripts() -> bool:
    """Return whether `modelwire ask` and `chat` keep transcripts: the setting `log` of the file, true by default."""
    return _model_file(None).log


def named_row(name: str, provider: str | None = None, file: ModelFile | None = None) -> ModelRow:
    """Return a row for `provider:model`, or for a model's name that implies its provider.

    Raises: `UnknownModel` if the provider is unknown.
    """
    from difflib import get_close_matches

    prefix, colon, rest = name.partition(":")
    if provider is not None:
        return ModelRow(provider, rest if colon and prefix == provider else name)
    if colon and registry.row_of(prefix) is not None:
        if not rest:
            raise UnknownModel(f"`{name}` names no model after the colon.")
        return ModelRow(prefix, rest)
    if (guessed := registry.provider_of(name)) is not None:
        return ModelRow(guessed, name)
    if not colon and registry.row_of(name) is not None:
        raise UnknownModel(f"`{name}` is a provider, and names no model: write `{name}:MODEL`.")
    rows = [] if file is None else [*file.models]
    known = [*registry.provider_names(), *rows]
    if not colon:  # The name is most likely that of a model.
        known = get_close_matches(name, [*MODEL_NAMES, *rows], n=2, cutoff=0.7) or known
    hint = did_you_mean(prefix, known)
    if (guess := _with_its_provider(name)) is not None:
        hint = f"Did you mean `{guess}`?"
    raise UnknownModel(
        f"`{name}` is neither a row of `{FILE_NAME}` nor `PROVIDER:MODEL`. Write `PROVIDER:MODEL`, such as "
        f"`openai:gpt-4o-mini`. {hint}"
    )


def _with_its_provider(name: str) -> str | None:
    """Return the `PROVIDER:MODEL` that a name most likely means (`openai/gpt-4o`, or a model that Ollama serves)."""
    if ":" in name:
        return None
    provider, slash, model = name.partition("/")
    if slash and model and registry.row_of(provider) is not None:
        return f"{provider}:{model}"
    if not slash and name.startswith(_OLLAMA_MODELS):
        return f"ollama:{name}"
    return None


# Arguments that authenticate a call. If the program sets one of them, the row's `api_key_env` is not read.
_CREDENTIALS = (
    "api_key",
    "openai_api_key",
    "anthropic_api_key",
    "auth_token",
    "azure_ad_token",
    "azure_ad_token_provider",
    "client",
    "async_client",
    "root_client",
    "root_async_client",
)


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A `[models.NAME]` table of `modelwire.toml`."""

    provider: str
    model: str
    api_key_env: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    path: str | None = None  # The file with this table.
    # The line of each parameter in the file, from 1.
    lines: dict[str, int] = field(default_factory=dict)

    def arguments(self, *, beside: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments of the model, with the key from `api_key_env` unless `beside` authenticates the call.

        `beside` are the arguments that the program sets. Raises: `MissingKey` if that variable is not set.
        """
        if self.api_key_env is None or any(beside.get(name) is not None for name in _CREDENTIALS):
            return dict(self.parameters)
        key = os.environ.get(self.api_key_env)
        if not key:
            raise MissingKey(
                f"`{self.api_key_env}` is not set; `{FILE_NAME}` names it as the key of `{self.model}`."
            )
        return {"api_key": key, **self.parameters}


@dataclass(frozen=True, slots=True)
class ModelFile:
    """The checked content of a `modelwire.toml`."""

    models: dict[str, ModelRow] = field(default_factory=dict)
    default: str | None = None
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: bool = True  # True if `modelwire ask` and `chat` keep transcripts.
    shared: dict[str, str] = field(default_factory=dict, repr=False)  # Its URL may have a password.
    path: Path | None = None
    text: str = field(default="", repr=False)
    # True for a file found in the working directory, which another person may have written.
    is_found: bool = False


# The settings that the file may have. Only the command `modelwire` reads `templates`.
_SETTINGS = ["default", "models", "budgets", "log", "shared", "templates"]
_SHARED_SETTINGS = ["url", "prefix"]
_BUDGET_SETTINGS = ["usd", "tokens", "calls", "seconds", "per", "zone", "unpriced", "when_away"]


def budget_row(name: str, config_file: str | Path | None = None, *, or_empty: bool = False) -> JSON:
    """Return the settings of `[budgets.NAME]`; {} if there are none and `or_empty`.

    Raises: `InvalidArgument` if there are none otherwise, `InvalidConfig` for a file that cannot be used.
    """
    budgets = _model_file(config_file).budgets
    if name in budgets or or_empty:
        return budgets.get(name, {})
    known = f"Write `[budgets.{name}]` into `{FILE_NAME}`."
    if budgets:
        known = did_you_mean(name, list(budgets))
    raise InvalidArgument(
        f"There is no budget `{name}`. {known} Or give it a limit: `budget({name!r}, usd=5)`."
    )


def shared_settings() -> dict[str, str]:
    """Return the settings of `[shared]` of the file, or {} without this table.

    Raises: `InvalidConfig` for a file of the working directory that the user has not trusted, because this process
    would send data to the server that the file names.
    """
    file = _model_file(None)
    if file.shared and file.is_found and not config_trust.is_trusted(file):
        raise InvalidConfig(
            f"`{file.path}` names a server in `[shared]`, and you have not trusted this file. If you know who wrote "
            "it, read it and run `modelwire config trust`.",
            path=str(file.path),
        )
    return file.shared


def find_model_file(named: str | Path | None = None) -> Path | None:
    """Return the file that `named` or the environment names, else the first default file that exists, else None.

    Raises: `InvalidConfig` if the named file does not exist.
    """
    places = model_file_places()
    if named is not None:
        places = (Path(os.path.expanduser(named)),)
    # `Path.is_file` raises an error for a folder that this user may not read.
    found = next(filter(os.path.isfile, places), None)
    if found is None and len(places) == 1:
        raise InvalidConfig(f"There is no file `{places[0]}`.", path=str(places[0]))
    return found


def read_model_file(path: Path) -> ModelFile:
    """Read and check a `modelwire.toml`. Raises: `InvalidConfig` with the file, and with the line if it is known."""
    try:
        # Editors on Windows begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise InvalidConfig(f"`{path}` cannot be read: {exc.strerror}.", path=str(path)) from exc
    except UnicodeDecodeError as exc:
        raise InvalidConfig(f"`{path}` is not UTF-8 text.", path=str(path)) from exc
    return parse_model_file(path, text)


def parse_model_file(path: Path, text: str) -> ModelFile:
    """Return the checked content of `text`, a `modelwire.toml` that may not have been written to `path` yet.

    Raises: `InvalidConfig`, as `read_model_file` does.
    """
    import tomllib

    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        at = re.search(r"line (\d+)", str(exc))
        # Without a number, tomllib reports the error "at end of document".
        line = int(at.group(1)) if at else text.count("\n") + 1
        raise _error_at(path, line, f"not valid TOML: {exc}.") from exc
    except RecursionError:
        # `from None` drops a traceback of a thousand equal frames.
        raise InvalidConfig(f"`{path}` has values nested too deep.", path=str(path)) from None
    return replace(_Reader(path, text).file(data), path=path, text=text)


class _Reader:
    """Checks the tables of one file, and names the line of each error."""

    KEYS = ("provider", "model", "api_key_env")

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()

    def file(self, data: JSON) -> ModelFile:
        self.check_keys("there is no setting", data, _SETTINGS)
        tables = data.get("models", {})
        if not isinstance(tables, dict):
            raise self.error("`models` must hold tables: write `[models.NAME]`", "models")
        models = {name: self.row(name, table, tables) for name, table in tables.items()}
        default = data.get("default")
        if default is not None and not isinstance(default, str):
            raise self.error("`default` must be the name of a model, in quotes", "default")
        budgets = data.get("budgets", {})
        if not isinstance(budgets, dict) or not all(
            isinstance(row, dict) for row in budgets.values()
        ):
            raise self.error("`budgets` must hold tables: write `[budgets.NAME]`", "budgets")
        for row in budgets.values():
            self.check_keys("a budget has no", row, _BUDGET_SETTINGS)
        log = data.get("log", True)
        if not isinstance(log, bool):
            raise self.error("`log` must be true or false", "log")
        return ModelFile(models, default, budgets, log, self.shared(data.get("shared", {})))

    def shared(self, table: Any) -> dict[str, str]:
        if not isinstance(table, dict):
            raise self.error("`shared` must be a table: write `[shared]` and `url` below", "shared")
        self.check_keys("`shared` has no", table, _SHARED_SETTINGS)
        for key, value in table.items():
            if not isinstance(value, str):
                raise self.error(f"`{key}` of `shared` must be a string", key)
        if table and "url" not in table:
            raise self.error("`shared` has no `url`", "shared")
        return table

    def row(self, name: str, table: Any, tables: Values) -> ModelRow:
        if not isinstance(table, dict):
            raise self.error(
                f"`models.{name}` must be a table: write `[models.{name}]` and its keys below", name
            )
        row = dict(table)
        if POOL in row:
            return self.pool_row(name, row, tables)
        if "api_key" in row:
            raise self.error(
                "do not write a key into a file; name its variable with `api_key_env`",
                "api_key",
                name,
            )
        for key in self.KEYS:
            if key in row and not isinstance(row[key], str):
                raise self.error(f"`{key}` of `models.{name}` must be a string", key, name)
        if "provider" not in row and "model" in row:
            try:  # `model = "openai:gpt-4o-mini"` sets both.
                named = named_row(row["model"])
                row |= {"provider": named.provider, "model": named.model}
            except UnknownModel as exc:
                if ":" in row["model"]:
                    raise self.error(f"`model` of `models.{name}`: {exc}", "model", name) from exc
        # `model` is checked first, because it may have set the provider.
        for key in ("model", "provider"):
            if key not in row:
                raise self.missing(key, name, row)
        provider = row.pop("provider")
        model = row.pop("model")
        key_variable = row.pop("api_key_env", None)
        keys = row if key_variable is None else (*row, "api_key_env")
        lines = {key: self.line_of(key, name) for key in keys}
        return ModelRow(provider, model, key_variable, row, path=str(self.path), lines=lines)

    def pool_row(self, name: str, row: JSON, tables: Values) -> ModelRow:
        """Return the row of a pool. The names in its list are rows of this file, or models such as `provider:model`."""
        members = row[POOL]
        weights = row.get("weights")
        if not isinstance(members, list) or not all(isinstance(one, str) for one in members):
            raise self.error(f"`pool` of `models.{name}` must be a list of names", POOL, name)
        for member in members:
            if isinstance(inner := tables.get(member), dict) and POOL in inner:
                raise self.error(
                    f"`models.{member}` is a pool, too: a pool cannot contain a pool", POOL, name
                )
        if len(set(members)) < len(members):
            raise self.error(f"`pool` of `models.{name}` names a model twice", POOL, name)
        options = [key for key in row if key != POOL]
        self.check_keys("a pool has no", options, _POOL_OPTIONS, name)
        if weights is not None and (not isinstance(weights, list) or len(weights) != len(members)):
            raise self.error(
                f"`weights` of `models.{name}` must be a list with one number for each model",
                "weights",
                name,
            )
        lines = {key: self.line_of(key, name) for key in row}
        return ModelRow(POOL, ", ".join(members), None, row, path=str(self.path), lines=lines)

    def check_keys(
        self, lacks: str, keys: Iterable[str], known: Sequence[str], row: str | None = None
    ) -> None:
        """Raise an error for the first key that is not `known`; the text of the error begins with `lacks`."""
        for key in keys:
            if key not in known:
                raise self.error(f"{lacks} `{key}`. {did_you_mean(key, known)}", key, row)

    def missing(self, key: str, name: str, row: Fields) -> InvalidConfig:
        """Return the error for a row without its `model` or `provider`; it names a key that may be a misspelling."""
        slip = next((other for other in row if other not in self.KEYS and _alike(other, key)), None)
        hint = ""
        if slip:
            hint = f" Is `{slip}` a misspelling of it?"
        elif key == "provider":
            hint = ' Write both in one: `model = "PROVIDER:MODEL"`.'
        return self.error(f"`models.{name}` has no `{key}`.{hint}", slip or f"models.{name}", name)

    def error(self, what: str, key: str, row: str | None = None) -> InvalidConfig:
        return _error_at(self.path, self.line_of(key, row), f"{what.rstrip('.')}.")

    def line_of(self, key: str, row: str | None) -> int:
        """Return the number, from 1, of the line that sets `key`, in the table of `row` if a row is named.

        The line is searched for, because `tomllib` does not report it.
        """
        start = 0
        if row is not None:
            header = re.compile(rf"\s*\[\s*models\s*\.\s*[\"']?{re.escape(row)}[\"']?\s*\]")
            start = next((i for i, line in enumerate(self.lines) if header.match(line)), 0)
        setting = re.compile(rf"\s*\[?\s*[\"']?{re.escape(key)}\b")
        return (
            next((i for i in range(start, len(self.lines)) if setting.match(self.lines[i])), start)
            + 1
        )


def _alike(word: str, other: str) -> bool:
    from difflib import SequenceMatcher

    return SequenceMatcher(None, word, other).ratio() > 0.7

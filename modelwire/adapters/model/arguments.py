"""Reads and checks the arguments of models and calls before any request; errors name the wrong one. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

from pydantic_core import PydanticSerializationError, ValidationError, to_json

from modelwire.adapters.providers.rows import PROVIDERS
from modelwire.aliases import Fields, HeaderFields, Kwargs, Values
from modelwire.errors import InvalidArgument, InvalidType, did_you_mean, warn_caller
from modelwire.transport.wire import SECRET_HEADERS

if TYPE_CHECKING:
    from modelwire.adapters.model.settings import WireSettings
    from modelwire.adapters.providers.services import Service

# Arguments of a model or a call by their names.
Arguments: TypeAlias = dict[str, Any]
# The texts at which an answer ends.
Stop: TypeAlias = list[str] | None


def fill(model: WireSettings, values: Arguments) -> bool:
    """Set the fields without pydantic if no value needs its validation; return whether that was possible.

    Building the schema of a model takes 10 ms of a script's start, and most scripts pass a few strings and numbers.
    """
    cls = type(model)
    validators = cls.__pydantic_decorators__
    if validators.field_validators or validators.model_validators or cls.__private_attributes__:
        return False
    fields = cls.model_fields
    if not all(_is_plain(value, fields[name].annotation) for name, value in values.items()):
        return False
    if any(name not in values and field.is_required() for name, field in fields.items()):
        return False
    put = object.__setattr__
    filled = {name: field.get_default(call_default_factory=True) for name, field in fields.items()}
    put(model, "__dict__", filled | values)
    put(model, "__pydantic_fields_set__", set(values))
    put(model, "__pydantic_extra__", None)
    put(model, "__pydantic_private__", None)
    model.model_post_init(None)
    return True


RETRY_SETTINGS = (
    "timeout",
    "max_retries",
    "max_wait",
    "max_retry_after",
    "stream_idle_timeout",
    "stream_restart",
    "max_continuations",
    "on_refusal",
    "stream_resume",
)
# The allowed values of settings that have few, and their description in an error.
_CHOICES: dict[str, tuple[tuple[object, ...], str]] = {
    "stream_restart": ((None, "marker"), '"marker" or None'),
    "stream_resume": ((False, "lossless", "anchored"), '"lossless", "anchored" or False'),
    "on_refusal": (("raise", "message"), '"raise" or "message"'),
}
# A call with one of these keywords raises an error: they belong into its config, and would be sent as parameters.
_CONFIG_KEYS = (
    "callbacks",
    "max_concurrency",
    "recursion_limit",
    "run_name",
    "run_id",
    "configurable",
)


@lru_cache(maxsize=1024)
def parameter_of(cls: type[WireSettings], name: str, provider: str | None = None) -> str:
    """Return the common name of a keyword of a call. Raises `InvalidArgument` for a typo, or if it is not a parameter.

    `provider` is the name of the model's service, whose own parameters are returned unchanged.
    """
    from difflib import get_close_matches

    service = service_for(cls, {"provider": provider})
    if service is not None and name in service.own.split():
        return name
    name = cls.ALIASES.get(name, name)
    if name in cls.PARAMETERS or name in cls.SENDABLE:
        return name
    if name in _CONFIG_KEYS:
        raise InvalidArgument(
            f'`{name}` belongs into the config of a call: `config={{"{name}": ...}}`.'
        )
    if name in cls.model_fields and name not in ("metadata", "tags", "name"):
        raise InvalidArgument(f"`{name}` is set when `{cls.__name__}` is made, not for one call.")
    if get_close_matches(name, [*cls.PARAMETERS, *RETRY_SETTINGS, *cls.ALIASES], n=1, cutoff=0.85):
        raise InvalidArgument(
            f"There is no parameter `{name}`. {did_you_mean(name, [*cls.PARAMETERS, *RETRY_SETTINGS])} "
            f'To send `{name}` as it is, write `extra_body={{"{name}": ...}}`.'
        )
    return name


def without_headers(options: Arguments) -> Kwargs:
    if "extra_headers" not in options:
        return options
    return {name: value for name, value in options.items() if name != "extra_headers"}


def seconds_of(timeout: Any) -> Any:
    """Return a timeout in seconds; of httpx's forms, a `Timeout` or a tuple, the read timeout is returned."""
    if isinstance(timeout, tuple):
        if len(timeout) > 1:
            return timeout[1]
        return timeout[0]
    return getattr(timeout, "read", timeout)


def timeouts_of(client: Any) -> tuple[float | None, float | None]:
    """Return the connect and read timeouts of the user's own client, None for those that it does not set.

    httpx's default of 5 s is ignored, as in the SDKs: the user did not choose it, and it is too short for a model.
    """
    timeout = getattr(client, "timeout", None)
    if isinstance(timeout, (int, float)):
        return None, timeout
    connect_s = getattr(timeout, "connect", None)
    read_s = getattr(timeout, "read", None)
    if connect_s == read_s == 5.0:
        return (None, None)
    return (connect_s, read_s)


def check_retry_settings(settings: Values) -> None:
    retries = settings["max_retries"]
    if not isinstance(retries, int) or retries < 0:
        raise InvalidArgument(f"`max_retries` must be a whole number, 0 or more, not {retries!r}.")
    continuations = settings["max_continuations"]
    if type(continuations) is not int or continuations < 0:
        raise InvalidArgument(
            f"`max_continuations` must be a whole number, 0 or more, not {continuations!r}."
        )
    for name in ("timeout", "max_wait", "max_retry_after", "stream_idle_timeout"):
        value = settings[name]
        if value is not None and not (isinstance(value, (int, float)) and 0 < value < float("inf")):
            raise InvalidArgument(
                f"`{name}` must be more than 0 seconds and finite, not {value!r}."
            )
    for name, (choices, words) in _CHOICES.items():
        if settings[name] not in choices:
            raise InvalidArgument(f"`{name}` must be {words}, not {settings[name]!r}.")


# The largest values of `tcp_keepalive`: MAX_TCP_KEEPIDLE, _KEEPINTVL and _KEEPCNT of Linux's net/tcp.h.
_MOST_OF_PROBING = (32767, 32767, 127)


def _is_probing(value: int, most: int) -> bool:
    return 1 <= value <= most


def check_limits(model: WireSettings) -> None:
    for name in ("rpm", "tpm"):
        value = getattr(model, name)
        if value is not None and not 0 < value < float("inf"):
            raise InvalidArgument(
                f"`{name}` must be more than 0 a minute and finite, not {value!r}."
            )
    if type(model.max_response_bytes) is not int or model.max_response_bytes < 1:
        raise InvalidArgument(
            f"`max_response_bytes` must be a whole number above 0, not {model.max_response_bytes!r}."
        )
    keepalive = model.tcp_keepalive
    if not isinstance(keepalive, bool) and not all(map(_is_probing, keepalive, _MOST_OF_PROBING)):
        raise InvalidArgument(
            "`tcp_keepalive` must be True, False or three whole numbers: seconds before the first probe and between "
            f"two (1 to 32767), and how many (1 to 127), not {keepalive!r}."
        )
    if (profile := model.__dict__["profile"]) is not None:
        from modelwire.profiles import check_profile

        check_profile(profile)


def check_client(name: str, client: Any, *, is_async: bool) -> None:
    """Raise an error for an object that is not an HTTP client, or is a sync one for async calls or the reverse."""
    if client is None:
        return
    kind = type(client).__name__
    if not (hasattr(client, "send") and hasattr(client, "build_request")):
        raise InvalidArgument(
            f"`{name}` must be an HTTP client of httpx2 or httpx, not a `{kind}`."
        )
    if hasattr(client, "aclose") != is_async and hasattr(client, "close") == is_async:
        other = "http_client" if is_async else "http_async_client"
        raise InvalidArgument(f"`{name}` was given a `{kind}`, which belongs into `{other}`.")


def _is_plain(value: Any, annotation: Any) -> bool:
    """Return whether `value` has exactly a type that `annotation` names, and needs no conversion."""
    if annotation is Any:
        return True
    kinds = get_args(annotation) or (annotation,)
    kind = type(value)
    return kind in _PLAIN and (kind in kinds or (kind is int and float in kinds))


_PLAIN = frozenset({str, int, float, bool, type(None)})


def complaint(cls: type[WireSettings], exc: ValidationError) -> Exception:
    """Return the error for arguments that pydantic rejects, without their values."""
    problems = []
    for error in exc.errors(include_url=False, include_input=False):
        ours = error.get("ctx", {}).get("error")
        if isinstance(ours, InvalidArgument):
            return ours
        problems.append(f"`{'.'.join(str(part) for part in error['loc'])}`: {error['msg']}")
    return InvalidArgument(f"`{cls.__name__}` cannot be made: {'; '.join(problems)}.")


def service_for(cls: type[WireSettings], values: Values) -> Service | None:
    """Return the row of the compatible service that a model with these values calls; None for any other provider."""
    provider = values.get("provider")
    if provider is None and "provider" in cls.model_fields:
        provider = cls.model_fields["provider"].default
    if provider is None or provider in PROVIDERS:
        return None
    from modelwire.adapters.providers.services import service_of

    return service_of(str(provider))


def name_service(cls: type[WireSettings], values: Arguments) -> None:
    """Set `provider` to the service's own name. Raises `InvalidArgument` for an unknown service without an address."""
    service = service_for(cls, values)
    if service is not None:
        values["provider"] = service.name
        return
    named = values.get("provider")
    if values.get("base_url") is not None or named == cls.model_fields["provider"].default:
        return
    row = PROVIDERS.get(str(named))
    if row is not None and row.model_class_at is not None:
        # The address and the key would be another company's.
        other = row.model_class_at.partition(":")[2]
        raise InvalidArgument(
            f"`{named}` is called with `{other}`, or give `{cls.__name__}` its `base_url`."
        )
    if named is not None and row is None:
        from modelwire.adapters.providers.services import unknown_service

        raise unknown_service(str(values["provider"]))


def warn_of_what_stays(cls: type[WireSettings], left: Sequence[str]) -> None:
    """Warn, once for each place, that a pickle does not contain these fields."""
    names = ", ".join(f"`{name}`" for name in left)
    warn_caller(
        f"A pickled `{cls.__name__}` does not contain what may be secret in {names}: set it again after unpickling."
    )


def names_a_key(headers: HeaderFields | None) -> bool:
    return not SECRET_HEADERS.isdisjoint(map(str.lower, headers or ()))


def checked_key(key: str, owner: str) -> str:
    if not isinstance(key, str):
        raise InvalidType(f"The API key of `{owner}` must be a text or a function that gives one.")
    if not key.isascii() or not key.isprintable() or key != key.strip():
        raise InvalidArgument(
            f"The API key of `{owner}` has a line break, a space at its end, or another character no key has. "
            "It was not sent; look for a stray newline where it is read."
        )
    return key


def checked_headers(headers: Mapping[Any, Any] | None) -> dict[str, str]:
    """Return the headers if all of them can be sent; otherwise raise an error, which never shows a value."""
    for name, value in (headers or {}).items():
        if not isinstance(name, str) or not _TOKEN.issuperset(name) or not name:
            raise InvalidArgument(
                "The name of a header must be letters, digits and dashes; one of yours is not."
            )
        if not isinstance(value, str):
            raise InvalidArgument(
                f"The header `{name}` must be a text, not a `{type(value).__name__}`; leave it out to send none."
            )
        if (
            not value.isascii()
            or not value.replace("\t", " ").isprintable()
            or value != value.strip()
        ):
            raise InvalidArgument(
                f"The header `{name}` must be one line of printable ASCII; its value cannot be sent."
            )
    return dict(headers or {})


# The name of a header consists of these characters: RFC 9110, 5.6.2.
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def json_bytes(body: Fields) -> bytes:
    """Return the body of a request as it is sent. Raises `InvalidArgument` for a value that JSON cannot express."""
    try:
        return to_json(body)
    except (PydanticSerializationError, UnicodeEncodeError, ValueError) as exc:
        field = next((name for name, value in body.items() if not _is_json(value)), None)
        what = f"`{field}`" if field else "The request"
        raise InvalidArgument(f"{what} cannot be written as JSON: {type(exc).__name__}.") from exc


def _is_json(value: Any) -> bool:
    try:
        to_json(value)
    except (PydanticSerializationError, UnicodeEncodeError, ValueError):
        return False
    return True

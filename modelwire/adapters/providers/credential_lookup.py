"""Finds the credentials and the address of a provider on this machine, for `modelwire models` and `doctor`.

Reads the environment and files; sends no request and loads no cloud's SDK. Credentials that only a request would
find, such as the role of a machine, are not found.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from configparser import ConfigParser, Error
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from modelwire.adapters.environment import from_environment
from modelwire.adapters.providers.registry import provider_row
from modelwire.adapters.providers.rows import PROVIDERS
from modelwire.adapters.providers.services import Service, service_of
from modelwire.adapters.wires.wire import loaded


class FoundCredentials(NamedTuple):
    """The credentials of a provider that can be set on this machine, and those that were found."""

    # The environment variables that may contain a key or a token, the best one first.
    variables: tuple[str, ...]
    # How to set credentials, as a sentence without its end.
    how: str
    # Where other credentials than keys were found; None: nowhere.
    elsewhere: str | None = None
    # What is missing to use these, such as a library; None: nothing.
    lacks: str | None = None
    # The environment variable that sets the provider's address; None: no variable does.
    address_from: str | None = None


class Cloud(NamedTuple):
    """Credentials that a library of a cloud provider finds."""

    found: Callable[[], str | None]  # returns where credentials are, None if there are none
    how: str  # how to set them, as a sentence without its end
    library: str
    extra: str  # the extra of modelwire that installs the library


def _variables_of(name: str) -> tuple[Any, Service | None, Mapping[str, tuple[str, ...]]]:
    """Return the class of a provider, its row if it is a service, and the variables that fill the class's fields.

    Raises: `InvalidArgument` for a plugin that cannot be loaded, `UnknownModel` for an unknown provider.
    """
    row = provider_row(name)
    service = None if row in PROVIDERS.values() else service_of(name)
    made = row.model_class()
    values = {} if service is None else {"provider": service.name}
    takes_variables = hasattr(made, "_environment_fields")  # A plugin's class may lack this method.
    return made, service, made._environment_fields(values) if takes_variables else {}


def provider_address(name: str) -> str:
    """Return the address of a provider; "" if it has none.

    Raises: `InvalidArgument` for a plugin that cannot be loaded, or if the address needs an account that is not set;
        `UnknownModel` for an unknown provider.
    """
    made, service, variables = _variables_of(name)
    usual: str = getattr(made, "DEFAULT_URL", "")
    return from_environment(variables.get("base_url", ())) or (
        usual if service is None else service.address()
    )


def credentials_of(name: str) -> FoundCredentials:
    """Return the credentials that a provider, service or plugin accepts, and those that are on this machine.

    Raises: `InvalidArgument` for a plugin that cannot be loaded, `UnknownModel` for an unknown provider.
    """
    made, _, fields = _variables_of(name)
    variables = tuple(
        variable for secret in getattr(made, "SECRETS", ()) for variable in fields.get(secret, ())
    )
    where = next(filter(os.environ.get, fields.get("base_url", ())), None)
    reference = provider_row(name).cloud
    if reference is None:
        return FoundCredentials(
            variables, f"set `{variables[0]}`" if variables else "", address_from=where
        )
    cloud: Cloud = loaded(reference)
    found = cloud.found()
    how = " or ".join((f"set `{variables[0]}`", cloud.how)) if variables else cloud.how
    needs = f"needs `pip install 'modelwire[{cloud.extra}]'`"
    lacks = needs if found and find_spec(cloud.library) is None else None
    return FoundCredentials(variables, how, found, lacks, where)


def _of_google() -> str | None:
    """Return the file with Google's default credentials, or None.

    Source: https://cloud.google.com/docs/authentication/application-default-credentials, read 2026-11.
    """
    if named := os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
        if os.path.isfile(named):
            return f"`GOOGLE_APPLICATION_CREDENTIALS`, {named}"
        return None
    if os.name == "nt":
        base = Path(os.environ["APPDATA"]) / "gcloud"
    else:
        base = Path(os.path.expanduser("~/.config/gcloud"))
    place = Path(os.environ.get("CLOUDSDK_CONFIG") or base) / "application_default_credentials.json"
    return str(place) if os.path.isfile(place) else None


def _of_aws() -> str | None:
    """Return the variables or the profile with AWS credentials, or None.

    Source: https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html, read 2026-11.
    """
    for together in _AWS_VARIABLES:
        if all(map(os.environ.get, together)):
            return " and ".join(f"`{name}`" for name in together)
    profile = os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"
    for variable, usual, section in (
        ("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials", profile),
        (
            "AWS_CONFIG_FILE",
            "~/.aws/config",
            profile if profile == "default" else f"profile {profile}",
        ),
    ):
        place = os.path.expanduser(os.environ.get(variable) or usual)
        parser = ConfigParser(interpolation=None, strict=False)
        try:
            parser.read(place, encoding="utf-8")
        except (Error, OSError, UnicodeDecodeError):
            continue
        if parser.has_section(section) and not _AWS_SETTINGS.isdisjoint(parser.options(section)):
            return f"profile `{profile}` of {place}"
    return None


# The groups of variables that are credentials if all of a group are set.
_AWS_VARIABLES = (
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI",),
)
# A profile with one of these settings has credentials.
_AWS_SETTINGS = frozenset(
    (
        "aws_access_key_id",
        "role_arn",
        "sso_session",
        "sso_start_url",
        "credential_process",
        "web_identity_token_file",
        "login_session",
    )
)
GOOGLE = Cloud(
    _of_google,
    "`gcloud auth application-default login`, or set `GOOGLE_APPLICATION_CREDENTIALS` to an existing file",
    "google.auth",
    "google",
)
AWS = Cloud(
    _of_aws,
    "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or `aws configure`",
    "botocore",
    "bedrock",
)

"""Signs requests to Bedrock, with AWS credentials that the caller sets or that botocore finds and renews.

Signature Version 4: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html, read 2026-11. botocore's own
signer takes 0.1 ms, a third of a call, so the signature is computed here, and the tests compare it with botocore's.
botocore (extra `bedrock`) is imported only if it has to find credentials.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import SplitResult, quote, urlsplit

from modelwire.aliases import HeaderFields
from modelwire.errors import AuthenticationError, InvalidArgument, MissingDependency, MissingKey
from modelwire.runnables.config import run_in_executor
from modelwire.transport.connections.closed_network import fetching_credentials

if TYPE_CHECKING:
    from modelwire.transport.steps import Exchange

# The environment variables that decide which credentials botocore finds.
_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
)
_MOST_CHAINS = 100
# botocore's credential objects by profile and variables. All calls share them; they renew themselves under a lock.
_chains: dict[tuple[str | None, ...], Any] = {}


class Keys(NamedTuple):
    """The keys that sign a request, under botocore's names."""

    access_key: str
    secret_key: str
    token: str | None = None


def signed_headers(
    keys: Keys, region: str, url: str, headers: HeaderFields, content: bytes, now: datetime
) -> dict[str, str]:
    """Return the headers with a signature, which is valid for this URL and this content only.

    Only headers that no proxy changes are signed. For the signature, the path is quoted once more than it is sent.
    """
    address = urlsplit(url)
    time = now.strftime("%Y%m%dT%H%M%SZ")
    ours = {"x-amz-date": time}
    if keys.token is not None:
        ours["x-amz-security-token"] = keys.token
    own_names = ("content-type", "x-amz-")
    named = {name: value for name, value in headers.items() if name.startswith(own_names)}
    named |= {"host": _host_of(address), **ours}
    names = sorted(named)
    query = sorted(pair.partition("=")[::2] for pair in address.query.split("&") if pair)
    canonical = "\n".join(
        (
            "POST",
            quote(address.path, safe="/~"),
            "&".join(map("=".join, query)),
            *[f"{name}:{' '.join(named[name].split())}" for name in names],
            "",
            ";".join(names),
            sha256(content).hexdigest(),
        )
    )
    scope = f"{time[:8]}/{region}/bedrock/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{time}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
    key = _signature(keys.secret_key, scope, text)
    who = f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(names)}"
    return {**headers, **ours, "authorization": f"{who}, Signature={key.hex()}"}


def _host_of(address: SplitResult) -> str:
    """Return the value of the `host` header: without a user, and without the default port."""
    usual_port = {"https": ":443", "http": ":80"}.get(address.scheme, "")
    return address.netloc.rpartition("@")[2].lower().removesuffix(usual_port)


def _signature(secret_key: str, scope: str, text: str) -> bytes:
    """Return the signature of a text, with the key that is derived from the secret key for this scope."""
    key = f"AWS4{secret_key}".encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


class SignedCall:
    """Signs each attempt of one call with `keys`, with botocore's object `credentials`, or with what botocore finds.

    `renew` looks for other credentials after a rejection, unless the caller has set `keys`.
    """

    def __init__(
        self,
        exchange: Exchange[Any, Any],
        region: str,
        keys: Keys | None,
        credentials: Any,
        profile: str | None,
        *,
        is_async: bool,
    ) -> None:
        self._what = exchange.url, exchange.headers, exchange.content
        self._region = region
        self._keys = keys
        self._credentials = credentials
        self._profile = profile
        self._is_async = is_async
        self._used: Any = None  # the keys of the latest attempt

    def sign(self) -> Any:
        """Return the signed headers of an attempt; for an async call an awaitable if botocore may do I/O.

        Raises `MissingDependency` without botocore, `MissingKey` without credentials, `AuthenticationError` if they
        cannot be renewed.
        """
        if self._keys is not None:
            return self._sign()
        chain = self._credentials or _chains.get(self._place())
        if chain is None or getattr(chain, "refresh_needed", bool)():
            return self._in_thread(self._sign)
        return self._sign()

    def renew(self) -> Any:
        """Look for new credentials after a rejection. Return headers (or an awaitable) if there are any, else None."""
        return self._in_thread(self._renew)

    def _in_thread(self, function: Callable[[], Any]) -> Any:
        """Return the result of the function; for an async call, an awaitable that runs it in a thread."""
        if self._is_async:
            return run_in_executor(None, function)
        return function()

    def _sign(self) -> dict[str, str]:
        self._used = self._found()
        return signed_headers(self._used, self._region, *self._what, datetime.now(UTC))

    def _renew(self) -> Mapping[str, str] | None:
        if self._keys is None and self._found() == self._used:
            _chains.pop(self._place(), None)
        if self._found() != self._used:
            return {"authorization": "is replaced by `sign`"}
        return None

    def _place(self) -> tuple[str | None, ...]:
        """Return the key of `_chains`: the profile and the variables that decide which credentials are found."""
        return (self._profile, *map(os.environ.get, _VARIABLES))

    def _found(self) -> Any:
        """Return the current keys, renewed if they are about to expire."""
        if self._keys is not None:
            return self._keys
        with fetching_credentials():
            return self._fetched()

    def _fetched(self) -> Any:
        place = self._place()
        if (chain := self._credentials or _chains.get(place)) is None:
            if (chain := _session(self._profile).get_credentials()) is None:
                raise MissingKey(
                    "No credentials for AWS were found: set `AWS_BEARER_TOKEN_BEDROCK`, or `AWS_ACCESS_KEY_ID` and "
                    "`AWS_SECRET_ACCESS_KEY`, in the environment, name a profile in `credentials_profile_name=`, or "
                    "pass `api_key=` or `aws_access_key_id=` and `aws_secret_access_key=`."
                )
            if len(_chains) >= _MOST_CHAINS:  # The environment has changed often.
                _chains.clear()
            _chains[place] = chain
        try:
            return chain.get_frozen_credentials()
        except (_botocore("exceptions").BotoCoreError, _botocore("exceptions").ClientError) as exc:
            raise AuthenticationError(
                f"The credentials for AWS could not be renewed: {exc}"
            ) from exc


def region_of_profile(profile: str | None) -> str | None:
    """Return the region in AWS's configuration; None if it has no region, or if botocore is not installed."""
    with suppress(MissingDependency):
        return cast("str | None", _session(profile).get_config_variable("region"))
    return None


def _session(profile: str | None) -> Any:
    session = _botocore("session").Session(profile=profile)
    try:
        session.get_scoped_config()
    except _botocore("exceptions").ProfileNotFound as exc:
        known = ", ".join(f"`{name}`" for name in session.available_profiles[:20]) or "none"
        raise InvalidArgument(f"No AWS profile is called `{profile}`. Known: {known}.") from exc
    return session


def _botocore(module: str) -> Any:
    try:
        return import_module(f"botocore.{module}")
    except ModuleNotFoundError as exc:
        raise MissingDependency(
            "Finding credentials for AWS needs botocore: `pip install 'modelwire[bedrock]'`. A Bedrock API key "
            "(`api_key=`, `AWS_BEARER_TOKEN_BEDROCK`) and `aws_access_key_id=` work without it."
        ) from exc

"""Gets the access tokens for Google Cloud from google-auth, and refreshes a token that expires or is rejected.

google-auth is imported for the first token. Its HTTP requests are sent by httpx2.
"""

from __future__ import annotations

from threading import Lock
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from modelwire.adapters.model.secret import Secret
from modelwire.errors import AuthenticationError, ConnectFailed, MissingDependency, MissingKey
from modelwire.transport.connections.closed_network import fetching_credentials
from modelwire.transport.connections.pools import trust_store

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_TIMEOUT_S = 30.0


class GoogleToken:
    """Returns a valid access token when it is called. `credentials` are google-auth's; None: google-auth finds them.

    google-auth looks at `GOOGLE_APPLICATION_CREDENTIALS`, `gcloud auth application-default login`, and the account of
    the machine: https://cloud.google.com/docs/authentication/application-default-credentials, read 2026-11.
    """

    def __init__(self, credentials: Any = None) -> None:
        self._credentials = credentials
        self.is_found = credentials is None  # True: google-auth finds the credentials.
        self._project: str | None = None
        self._is_refused = False
        self._lock = Lock()

    def __call__(self) -> Secret:
        """Return a valid token, refreshed if needed.

        Raises `MissingDependency` without google-auth, `MissingKey` without credentials, `AuthenticationError` and
        `ConnectFailed` if no token can be fetched.
        """
        with self._lock:
            credentials = self._load()
            if self._is_refused or not credentials.valid:
                self._refresh(credentials)
            return Secret(credentials.token or "")

    def expire(self) -> None:
        """Make the next call fetch a new token, because the service has rejected this one."""
        self._is_refused = True

    @property
    def quota_project(self) -> str | None:
        """The project that is billed, if the credentials name one; else None."""
        return getattr(self._credentials, "quota_project_id", None)

    def project(self) -> str | None:
        """Return the project of the credentials, or None. Raises `MissingDependency`, `MissingKey`."""
        with self._lock:
            self._load()
            return self._project or getattr(self._credentials, "project_id", None)

    def _load(self) -> Any:
        if self._credentials is None:
            auth = _google_auth()
            try:
                self._credentials, self._project = auth.default(scopes=_SCOPES, request=_request)
            except auth.exceptions.DefaultCredentialsError as exc:
                raise MissingKey(
                    "Vertex AI needs Google's credentials, and none were found: run `gcloud auth application-default "
                    "login`, set `GOOGLE_APPLICATION_CREDENTIALS`, or pass `credentials=` or `api_key=`."
                ) from exc
        return self._credentials

    def _refresh(self, credentials: Any) -> None:
        exceptions = _google_auth().exceptions
        try:
            credentials.refresh(_request)
        except exceptions.TransportError as exc:
            raise ConnectFailed(
                f"Google's token service cannot be reached: {exc}", provider="google_vertexai"
            ) from exc
        except exceptions.GoogleAuthError as exc:
            raise AuthenticationError(
                f"Google's credentials gave no token: {exc.args[0] if exc.args else type(exc).__name__}",
                provider="google_vertexai",
            ) from exc
        self._is_refused = False

    def __deepcopy__(self, memo: object) -> GoogleToken:
        return self

    def __repr__(self) -> str:
        return "GoogleToken()"


def _google_auth() -> Any:
    try:
        import google.auth
        import google.auth.exceptions
    except ImportError as exc:
        raise MissingDependency(
            'Vertex AI needs google-auth: `pip install "modelwire[google]"`.'
        ) from exc
    return google.auth


def _request(
    url: str,
    method: str = "GET",
    body: Any = None,
    headers: Any = None,
    timeout: Any = None,
    **_: Any,
) -> Any:
    """Send a request of google-auth through httpx2; implements `google.auth.transport.Request`."""
    import httpx2
    from google.auth.exceptions import TransportError

    try:
        with (
            fetching_credentials(urlsplit(url).hostname),
            httpx2.Client(timeout=timeout or _TIMEOUT_S, verify=trust_store()) as client,
        ):
            response = client.request(method, url, content=body, headers=headers)
            return SimpleNamespace(
                status=response.status_code, headers=response.headers, data=response.content
            )
    except httpx2.HTTPError as exc:
        raise TransportError(exc) from exc  # type: ignore[no-untyped-call]

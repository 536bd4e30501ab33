"""Logins to servers with a URL, by the OAuth 2.1 of the official package; the tokens are in the user's folder.

Source: https://modelcontextprotocol.io/specification/2025-11-25/basic/authorization, read 2026-11.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from modelwire.aliases import HeaderFields
from modelwire.errors import ConnectFailed
from modelwire.tools.mcp.loopback import LoopbackPage
from modelwire.tools.mcp.package import package
from modelwire.tools.mcp.servers import plain_url
from modelwire.tools.mcp.token_store import TokenStore
from modelwire.tools.mcp.user_thread import in_thread

# The user has this many seconds to log in.
_LOGIN_S = 300.0
Pause = Callable[[], AbstractContextManager[None]]


@dataclass(frozen=True)
class OAuthLogin:
    """Logs the user in with a browser if the server requires it, and stores the tokens in the user's folder.

    `open_url` is called with the URL of the login page; by default it opens the browser. `client_id` and
    `client_secret` are those of a program that is registered with the authorization server. Without them this program
    is registered there, or uses `client_metadata_url` as its client id. The browser returns to a `port` of this
    machine, by default any free one. The user has `login_s` seconds to log in.

    With `is_fresh` stored tokens are not used, so that another user can log in.
    """

    open_url: Callable[[str], object] | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    client_metadata_url: str | None = None
    port: int = 0
    login_s: float = _LOGIN_S
    is_fresh: bool = False


@asynccontextmanager
async def http_auth(url: str, headers: HeaderFields, auth: Any, pause: Pause) -> AsyncIterator[Any]:
    """Yield the `httpx2.Auth` that signs the requests of the HTTP client, or None.

    Without `auth`, it uses the login that was stored for this URL, unless a header authenticates already. `pause`
    suspends the timeouts of calls while the user logs in.
    """
    if isinstance(auth, OAuthLogin):
        store = TokenStore(url)
        page = _page(store, auth)
        try:
            async with page.serve():
                yield _provider(url, store, auth, page, pause)
        finally:
            page.close()
        return
    is_signed = any(name.lower() == "authorization" for name in headers)
    store = TokenStore(url)
    if auth is None and not is_signed and store.has_tokens():
        auth = _provider(url, store, OAuthLogin(), None, pause)
    yield auth


def _page(store: TokenStore, login: OAuthLogin) -> LoopbackPage:
    """Return the page to which the browser returns, on the port that is registered at the authorization server.

    If that port is in use, the page has another port, and the program must be registered again.
    """
    client = store.stored_client() or {}
    known = [urlsplit(uri).port for uri in client.get("redirect_uris") or ()]
    if login.port or not known or login.client_id:
        return LoopbackPage(login.port)
    try:
        return LoopbackPage(known[0] or 0)
    except OSError:
        store.forget()
        return LoopbackPage()


def _provider(
    url: str, store: TokenStore, login: OAuthLogin, page: LoopbackPage | None, pause: Pause
) -> Any:
    """Return the package's provider of tokens. Without a `page` it uses and refreshes stored tokens only."""
    auth = package("mcp.client.auth")
    shared = package("mcp.shared.auth")

    async def redirect(authorization_url: str) -> None:
        if page is None:
            raise ConnectFailed(
                f"The login has expired. Run `modelwire mcp login {plain_url(url)}` again"
            )
        page.expect(authorization_url)
        open_url = login.open_url or _open_browser
        with pause():
            await in_thread(lambda: open_url(authorization_url))

    async def returned() -> Any:
        assert page is not None  # noqa: S101 - `redirect` has raised
        try:
            with pause():
                answer = await page.answer(login.login_s)
        except TimeoutError:
            raise ConnectFailed(f"The login was not finished within {login.login_s:g} s") from None
        if "code" not in answer:
            text = answer.get("error_description") or answer.get("error") or "no code"
            raise ConnectFailed(f"The authorization server refused the login: {text}")
        known = {name: answer.get(name) for name in ("code", "state", "iss")}
        return auth.AuthorizationCodeResult(**known)

    address = "http://127.0.0.1/callback" if page is None else page.url
    metadata = shared.OAuthClientMetadata(client_name="modelwire", redirect_uris=[address])
    if login.client_id is not None:
        store.client = _named_client(login, metadata)
    store.is_fresh = login.is_fresh
    provider = auth.OAuthClientProvider(
        server_url=url,
        client_metadata=metadata,
        storage=store,
        redirect_handler=redirect,
        callback_handler=returned,
        client_metadata_url=login.client_metadata_url,
    )
    store.context = provider.context
    return provider


def _named_client(login: OAuthLogin, metadata: Any) -> Any:
    """Return the client of the `client_id` that the login names, which is registered already."""
    method = "none" if login.client_secret is None else "client_secret_basic"
    return package("mcp.shared.auth").OAuthClientInformationFull(
        client_id=login.client_id,
        client_secret=login.client_secret,
        redirect_uris=metadata.redirect_uris,
        token_endpoint_auth_method=method,
    )


def _open_browser(url: str) -> None:
    import webbrowser

    if not webbrowser.open(url):
        raise ConnectFailed(f"No browser can be opened. Open this page: {url}")

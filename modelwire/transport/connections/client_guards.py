"""Prevents clients of httpx's kind from keeping cookies of our calls, and from reusing connections with unread bytes.

A client is shared by models, keys and tenants. A cookie that one provider's answer has set would be sent with another
key, and bytes that follow an answer would be read as the answer of the next call.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from modelwire.transport.connections.httpcore_internals import (
    closing_where_bytes_follow,
    cookie_policy_of,
)

__all__ = ["RefusingCookies", "guard_sdk", "refusing_jar"]

_in_our_call: ContextVar[bool] = ContextVar("modelwire_refuses_cookies", default=False)
_GUARDED = "_modelwire_refuses"


def refusing_jar() -> Any:
    """Return a cookie jar that neither stores nor sends a cookie, for our own clients."""
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    return CookieJar(DefaultCookiePolicy(allowed_domains=[]))


class RefusingCookies:
    """A `with` block in which a user's client stores no received cookie; cookies that the user has set are sent.

    It is a class because every call enters it: a generator with `contextmanager` costs several times as much.
    """

    __slots__ = ("_token",)

    def __init__(self, client: Any) -> None:
        policy = cookie_policy_of(getattr(getattr(client, "cookies", None), "jar", None))
        if policy is not None and not hasattr(policy, _GUARDED):
            _guard(policy)

    def __enter__(self) -> None:
        self._token = _in_our_call.set(True)

    def __exit__(self, *_: object) -> None:
        _in_our_call.reset(self._token)


def _guard(policy: Any) -> None:
    users_own = policy.set_ok

    def set_ok(cookie: Any, request: Any) -> bool:
        return not _in_our_call.get() and bool(users_own(cookie, request))

    policy.set_ok = set_ok
    setattr(policy, _GUARDED, True)


async def _aclosing_where_bytes_follow(response: Any) -> None:
    closing_where_bytes_follow(response)


def guard_sdk(client: Any, *, is_async: bool) -> Any:
    """Return the HTTP client of an SDK's client, which then closes a connection if bytes follow an answer.

    The SDK itself reads the answer of an error, before other code sees it, so an event hook of the HTTP client checks
    each answer.
    """
    http_client = getattr(client, "_client", None)
    hooks = getattr(http_client, "event_hooks", None)
    hook = _aclosing_where_bytes_follow if is_async else closing_where_bytes_follow
    if hooks is not None and hook not in hooks["response"]:
        hooks["response"].insert(0, hook)
    return http_client

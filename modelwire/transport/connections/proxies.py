"""Finds the proxy that the environment names for an address. Every call reads the environment again. No I/O here.

All engines use this module, so that `NO_PROXY` has the same meaning for all of them: that of httpx2.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from modelwire.transport.connections.address import Address

__all__ = ["proxy_of", "unreachable_proxy"]

_HAS_SYSTEM_PROXIES = sys.platform in ("darwin", "win32")
_DEFAULT_PORTS = {"http": 80, "https": 443}


def _may_have_proxy(address: Address) -> bool:
    """Return whether the environment names a proxy for the scheme of `address`; `NO_PROXY` is not read."""
    if _HAS_SYSTEM_PROXIES:
        return True
    return any(map(os.environ.get, _HTTPS_PROXY if address.secure else _HTTP_PROXY))


# Every call looks these variables up; one that is not set costs a microsecond.
_HTTPS_PROXY = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_HTTP_PROXY = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")


def proxy_of(address: Address) -> str | None:
    """Return the URL of the proxy that the environment names for `address`; None for a direct connection.

    On macOS and Windows the settings of the system are used if the environment has none.
    """
    if address.is_loopback or not _may_have_proxy(address):
        return None
    from urllib.request import getproxies, getproxies_environment, proxy_bypass

    named = getproxies()
    proxy = named.get("https" if address.secure else "http") or named.get("all")
    if not proxy or _is_excluded(address.url, named.get("no", "")):
        return None
    if _HAS_SYSTEM_PROXIES and not getproxies_environment() and proxy_bypass(address.authority):
        return None
    if "://" in proxy:
        return proxy
    return f"http://{proxy}"


@lru_cache(maxsize=1000)
def _is_excluded(url: str, no_proxy: str) -> bool:
    """Return whether `no_proxy` lists the host of `url`.

    `a.test` stands for this host and those below it, `.a.test` and `*.a.test` for those below it, `a.test:81` for one
    port, `10.0.0.0/8` for a network, `https://a.test` for one scheme, `*` for every host.
    """
    parts = urlsplit(url)
    host = str(parts.hostname)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    labels = host.split(".")
    above = [".".join(labels[position:]) for position in range(1, len(labels))]
    names = {"*", host, f"[{host}]", *(dots + name for name in above for dots in ("", ".", "*."))}
    names |= {f"{name}:{port}" for name in names}
    names |= {f"{scheme}://{name}" for name in names for scheme in ("all", parts.scheme)}
    entries = {entry.strip() for entry in no_proxy.lower().split(",")}
    return not names.isdisjoint(entries) or any(_is_in_network(host, entry) for entry in entries)


def _is_in_network(host: str, network: str) -> bool:
    from ipaddress import ip_address, ip_network

    try:
        return ip_address(host) in ip_network(
            network.replace("[", "").replace("]", ""), strict=False
        )
    except ValueError:  # The host is a name, or the entry is not a network.
        return False


def unreachable_proxy(proxy: str, target: str, error: Exception) -> str:
    """Return the text of the error for a call to `target` that could not connect to its proxy.

    It shows only the host and the port of the proxy's URL, which may also have a user and a password.
    """
    url = proxy if "//" in proxy else f"//{proxy}"
    host = urlsplit(url).netloc.rpartition("@")[2]
    return (
        f"The proxy {host} cannot be reached ({error}), through which the call goes to {target}. Is it up, and is "
        "`proxy=`, or the variable `HTTPS_PROXY`, `HTTP_PROXY` or `ALL_PROXY`, right?"
    )

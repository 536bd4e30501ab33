"""Where a URL leads."""

import pytest

from modelwire.errors import InvalidArgument
from modelwire.transport.connections.address import address_of


@pytest.mark.parametrize(
    ("url", "authority", "loopback"),
    [
        ("http://127.0.0.1:80/v1", "127.0.0.1:80", True),
        ("http://127.9.9.9/v1", "127.9.9.9", True),
        ("http://LOCALHOST:1", "LOCALHOST:1", True),
        ("http://[::1]:8080/v1", "[::1]:8080", True),
        ("https://localhost.corp.example/v1", "localhost.corp.example", False),
        ("https://127.0.0.1.example.org", "127.0.0.1.example.org", False),
        ("https://api.openai.com/v1", "api.openai.com", False),
        ("https://api.openai.com./v1", "api.openai.com.", False),
        (f"https://{'a' * 63}.b/v1", f"{'a' * 63}.b", False),
        ("https://größe.example/v1", "größe.example", False),
        ("https://[fd00::1%25eth0]/v1", "[fd00::1%25eth0]", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, authority: str, loopback: bool) -> None:
    address = address_of(url)
    assert (address.authority, address.is_loopback, address.secure) == (
        authority,
        loopback,
        url.startswith("https"),
    )


def test_user_and_password_leave_the_url_and_become_a_header() -> None:
    address = address_of("https://user:p%40ss@host:8/v1?a=1")
    assert address.url == "https://host:8/v1?a=1"
    assert address.basic == "Basic dXNlcjpwQHNz"


@pytest.mark.parametrize(
    "url",
    [
        "http://host:abc/v1",
        "http://h:99999",
        "http://[::1/v1",
        "http://",
        "ftp://h",
        "h:80",
        "http://u:se#cret@h",
        " http://h/v1",
        "http://h/v1 ",
        "http://h/v1\u3000",
        "http://h /v1",
        "http://h/a b/v1",
        "http://h/v1#cret",
        "http://h/v1?x=1#",
        "http://.cret/v1",
        "http://cret..h/v1",
        "http://./v1",
        f"http://{'a' * 64}.cret/v1",
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        address_of(url)
    assert "cret" not in str(caught.value)

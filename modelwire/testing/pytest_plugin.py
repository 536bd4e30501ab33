"""The pytest plugin: its fixtures, and the blocked network. Calls reach only loopback, except in tests marked `live`.

pytest loads this module in every session where modelwire is installed, so nothing heavy is imported
at the top.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from modelwire import testing

if TYPE_CHECKING:
    from modelwire.testing import ProviderServer
    from modelwire.testing.cassettes.fixture import Cassette

_RECORD_MODES = ["once", "none", "all"]
_BLOCK = pytest.StashKey[Any]()
_CASSETTE = pytest.StashKey["Cassette"]()
_PASSED = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    text = 'whether calls of modelwire may leave this machine: "block" or "allow"'
    parser.addini("modelwire_network", text, default="block")
    parser.getgroup("modelwire").addoption(
        "--modelwire-record",
        choices=_RECORD_MODES,
        help="let tests with the fixture `cassette` call the provider: `once` records missing files, `all` "
        "records every file again, `none` records nothing, which is the default if the variable CI is set (default: "
        "$MODELWIRE_RECORD; without it, calls to loopback are recorded once)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "live: calls of modelwire may leave this machine")
    if (network := config.getini("modelwire_network")) not in ("block", "allow"):
        raise pytest.UsageError(f'modelwire_network must be "block" or "allow", not "{network}"')


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Block the network during a test, its setup and its teardown."""
    is_allowed = item.config.getini("modelwire_network") == "allow"
    if is_allowed or item.get_closest_marker("live") is not None:
        return (yield)
    with testing.block_network() as block:
        item.stash[_BLOCK] = block
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Fail a test whose code has swallowed the error of a blocked call."""
    result = yield
    if (block := item.stash.get(_BLOCK, None)) is not None and block.refused:
        hosts = ", ".join(dict.fromkeys(block.refused))
        pytest.fail(
            f"The test tried to call {hosts}, and something swallowed the `NetworkBlocked`.",
            pytrace=False,
        )
    if (cassette := item.stash.get(_CASSETTE, None)) is not None and cassette.missing:
        requests = ", ".join(dict.fromkeys(cassette.missing))
        pytest.fail(
            f"`{cassette.path}` lacks {requests}, and something swallowed the `CassetteError`.",
            pytrace=False,
        )
    item.stash[_PASSED] = True
    return result


@pytest.fixture(autouse=True)
def modelwire_limits_forgotten() -> None:
    """Reset the learned rate limits, so that one test's `Retry-After` does not delay the next test."""
    if (registry := sys.modules.get("modelwire.transport.ratelimit.registry")) is not None:
        registry.forget()


@pytest.fixture
def provider_server() -> Iterator[ProviderServer]:
    """Return a `ProviderServer` that runs during this test.

    Prepare answers with its method `say`, and read the requests from its `requests`.
    """
    with testing.ProviderServer() as server:
        yield server


@pytest.fixture
def cassette(request: pytest.FixtureRequest) -> Iterator[Cassette]:
    """Answer the test's calls from `cassettes/<module>/<test>.jsonl` beside it; record that file if it is missing.

    `--modelwire-record=once`, or the variable `MODELWIRE_RECORD=1`, opens the network for a test that records. Without
    them only calls to loopback, and those of tests marked `live`, are recorded.
    """
    from modelwire.testing.cassettes import fixture

    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    default = "once"
    if in_ci:
        default = "none"
    chosen = request.config.getoption("--modelwire-record") or _record_mode_of_environment()
    path = fixture.cassette_path(request.node)
    found = fixture.Cassette(path, chosen or default)
    stash = request.node.stash
    stash[_CASSETTE] = found
    block = stash.get(_BLOCK, None)
    if chosen and found.recording and block is not None:
        block.lift()
    found.begin()
    try:
        yield found
    finally:
        found.end(passed=stash.get(_PASSED, False))


def _record_mode_of_environment() -> str | None:
    """Return the mode in `MODELWIRE_RECORD`; 1 means "once". Return None if it is unset, empty or 0."""
    value = os.environ.get("MODELWIRE_RECORD", "").lower()
    if value in ("", "0", "false"):
        return None
    if value in ("1", "true"):
        return "once"
    if value not in _RECORD_MODES:
        choices = ", ".join(_RECORD_MODES)
        raise pytest.UsageError(f"MODELWIRE_RECORD must be 1 or one of {choices}, not {value!r}.")
    return value

"""What every test stands on: both colours, a closed network, a clean environment, the real local model."""

from __future__ import annotations

import gc
import ipaddress
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import certifi
import hypothesis
import pytest
import pytest_timeout
from _pytest.runner import runtestprotocol
from support.colours import AsyncColour, SyncColour
from support.raw_server import RawServer
from support.thinned import thin

from modelwire.transport import retry
from modelwire.transport.ratelimit import congestion, registry

T = TypeVar("T")

pytest_plugins = ["pytester"]

# A shell that starts the tests in the background lets them ignore Ctrl-C, and so the programs that they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A property gets a few examples in `make test`; `make test-long` runs each again with `--hypothesis-profile=long`.
# Where `CI` is set they are the same in every run: a change is not refused for an example that found an older fault.
CI = bool(os.environ.get("CI"))
for name, examples in {"short": 15, "long": 200}.items():
    hypothesis.settings.register_profile(
        name,
        deadline=None,  # no test fails because the machine was busy
        max_examples=examples,
        print_blob=True,
        derandomize=CI,
        **({"database": None} if CI else {}),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
hypothesis.settings.load_profile("short")


# ---------------------------------------------------------------- both colours


@pytest.fixture(params=[SyncColour(), AsyncColour()], ids=lambda colour: colour.name)
def colour(request: pytest.FixtureRequest) -> SyncColour | AsyncColour:
    """Drive the same test through the sync and the async methods.

    For a fixture of the session, pytest would run the tests of all files in one colour first: each file twice, each
    fixture of a module twice.
    """
    return request.param


# ---------------------------------------------------------------- the network is closed


class StrayConnection(RuntimeError):
    """A test tried to leave the machine."""


_strays: list[str] = []  # what was tried since the last look, by any thread


def _refuse(what: str) -> None:
    _strays.append(what)
    raise StrayConnection(
        f"{what}: no test may leave this machine. Use a respx route or a loopback server."
    )


def _is_local_name(host: str) -> bool:
    name = host.rstrip(".").lower()
    return name in {"localhost", "localhost.localdomain", "ip6-localhost"} or name.endswith(
        ".localhost"
    )


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return _is_local_name(host)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def _is_literal(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _check_address(sock: socket.socket, address: Any, verb: str) -> None:
    if sock.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(_text(address[0])):
        _refuse(f"{verb} {_text(address[0])} port {address[1]}")


def _check_name(host: Any) -> None:
    # A literal address asks no name server; connecting to it is judged where it happens.
    name = _text(host) if host else ""
    if name and not _is_literal(name) and not _is_local_name(name):
        _refuse(f"look-up of {name}")


def _text(host: str | bytes) -> str:
    return host.decode("ascii", "replace") if isinstance(host, bytes) else host


_Socket = socket.socket
_open = {
    "connect": _Socket.connect,
    "connect_ex": _Socket.connect_ex,
    "sendto": _Socket.sendto,
    "getaddrinfo": socket.getaddrinfo,
    "gethostbyname": socket.gethostbyname,
    "gethostbyname_ex": socket.gethostbyname_ex,
}


def _connect(self: socket.socket, address: Any) -> None:
    _check_address(self, address, "connection to")
    return _open["connect"](self, address)


def _connect_ex(self: socket.socket, address: Any) -> int:
    _check_address(self, address, "connection to")
    return _open["connect_ex"](self, address)


def _sendto(self: socket.socket, data: Any, *rest: Any) -> int:
    _check_address(self, rest[-1], "datagram to")
    return _open["sendto"](self, data, *rest)


def _getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
    _check_name(host)
    return _open["getaddrinfo"](host, *args, **kwargs)


def _gethostbyname(host: Any) -> Any:
    _check_name(host)
    return _open["gethostbyname"](host)


def _gethostbyname_ex(host: Any) -> Any:
    _check_name(host)
    return _open["gethostbyname_ex"](host)


# Twelve thousand collected tests are never garbage. To look for some while they are made takes a fifth of the time that
# all else takes, in each worker, and a look through them all a quarter of a second.
gc.disable()


@pytest.hookimpl(tryfirst=True)  # before cases are chosen by their marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    thin(items)


def pytest_collection_finish() -> None:
    gc.enable()
    gc.freeze()
    gc.set_threshold(50_000)  # Python has 700: a tenth of all CPU time went into it


def pytest_configure() -> None:
    # asyncio's and anyio's own ways end in these: `loop.sock_connect` calls `connect`, `loop.getaddrinfo` calls ours.
    _Socket.connect, _Socket.connect_ex, _Socket.sendto = _connect, _connect_ex, _sendto
    socket.getaddrinfo = _getaddrinfo
    socket.gethostbyname, socket.gethostbyname_ex = _gethostbyname, _gethostbyname_ex


def pytest_unconfigure() -> None:
    _Socket.connect, _Socket.connect_ex, _Socket.sendto = (
        _open["connect"],
        _open["connect_ex"],
        _open["sendto"],
    )
    socket.getaddrinfo = _open["getaddrinfo"]
    socket.gethostbyname, socket.gethostbyname_ex = (
        _open["gethostbyname"],
        _open["gethostbyname_ex"],
    )


def _guarded() -> Iterator[None]:
    """Fail the phase of the test that tried to leave, also when the code under test swallowed the error."""
    result = yield
    if _strays:
        seen, _strays[:] = "; ".join(_strays), []
        pytest.fail(f"The test tried to leave this machine: {seen}.", pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Iterator[None]:
    registry.forget()  # what another test's provider allowed
    return (yield from _guarded())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    return (yield from _guarded())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    return (yield from _guarded())


# ---------------------------------------------------------------- nobody's environment

_FOREIGN = ("OPENAI_", "ANTHROPIC_", "AZURE_OPENAI_", "MODELWIRE_")
_KEPT = {
    "MODELWIRE_CACHE",
    "MODELWIRE_REQUIRE_LOCAL",
}  # where the local model lies, and that it must


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Take the developer's keys, models, proxies and configuration away, and all certificates but one.

    Each HTTP client reads the certificates, the usual ones in 40 ms.
    """
    authority = tmp_path_factory.mktemp("trust") / "authority.pem"
    first, end, _ = certifi.contents().partition("-----END CERTIFICATE-----\n")
    authority.write_text(first + end)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(authority))
        for name in list(os.environ):
            if name in _KEPT:
                continue
            if name.startswith(_FOREIGN) or name.upper().endswith("_PROXY"):
                patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "no-config"))
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.getbasetemp() / "no-data"))
        yield


# ---------------------------------------------------------------- nobody waits


# The waits of the package, and how long they are in tests.
SHORT_WAITS = (
    (retry, "_TRANSIENT_FIRST_S", 0.01),
    (retry, "_REFUSED_FIRST_S", 0.01),
    (retry, "_REFUSED_LEAST_S", 0.01),
    (congestion, "_PAUSE_FIRST_S", 0.02),
    (congestion, "_PROBE_FIRST_S", 0.02),
)
REAL_WAITS = [(owner, name, getattr(owner, name)) for owner, name, _ in SHORT_WAITS]


@pytest.fixture(scope="session", autouse=True)
def short_waits() -> Iterator[None]:
    """Try again at once. The tests that are about these waits use `real_waits`."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, seconds in SHORT_WAITS:
            patch.setattr(owner, name, seconds)
        yield


@pytest.fixture
def real_waits() -> Iterator[None]:
    """Wait as the product does."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name, seconds in REAL_WAITS:
            patch.setattr(owner, name, seconds)
        yield


# ---------------------------------------------------------------- few reports


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Send the other process no report of a setup or teardown that went well.

    A worker sends each report to the process that prints them: a fiftieth of all CPU time went into these.
    """
    option = item.config.option
    is_wanted = option.durations is not None or option.xmlpath is not None
    if is_wanted or not hasattr(item.config, "workerinput"):
        return None
    where = {"nodeid": item.nodeid, "location": item.location}
    item.ihook.pytest_runtest_logstart(**where)
    for report in runtestprotocol(item, log=False, nextitem=nextitem):
        if report.when == "call" or not report.passed:
            item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(**where)
    return True


# ---------------------------------------------------------------- nobody hangs


class Watch:
    """Ends the process when a test takes too long, as `pytest-timeout` does, which starts a thread for each test."""

    def __init__(self) -> None:
        self._now = time.monotonic  # tests replace clocks
        self._ends_at_s = math.inf
        self._expire: Callable[[], object] = lambda: None
        self._thread: threading.Thread | None = None

    def begin(self, seconds: float, expire: Callable[[], object]) -> None:
        """Call `expire` after some seconds."""
        self._expire, self._ends_at_s = expire, self._now() + seconds
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="watch of tests", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """Forget what was to be called."""
        self._ends_at_s = math.inf

    def _run(self) -> None:
        tick = threading.Event()
        while not tick.wait(5):
            if self._now() > self._ends_at_s:
                self._expire()


_watch = Watch()


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> bool | None:
    if settings.method != "thread":
        return None
    _watch.begin(settings.timeout, lambda: pytest_timeout.timeout_timer(item, settings))
    return True


@pytest.hookimpl(optionalhook=True)
def pytest_timeout_cancel_timer() -> None:
    _watch.end()


# ---------------------------------------------------------------- the real model


@pytest.fixture(scope="session")
def local_model() -> Path:
    """Give the path of the local model's weights; fetch them when they are not there."""
    from modelwire import local
    from modelwire.errors import ModelwireError

    try:
        local.require_runtime()
        return local.pull()
    except ModelwireError as exc:
        if os.environ.get("MODELWIRE_REQUIRE_LOCAL"):
            raise
        pytest.skip(f"no local model here: {exc}")


@pytest.fixture(scope="session")
def local_server(local_model: Path) -> Iterator[str]:
    """Give the origin (`http://127.0.0.1:PORT`) of the running local model, one server for the whole session."""
    from modelwire import local

    with local.LocalServer("smollm2") as server:
        yield server.base_url


# ---------------------------------------------------------------- a server of raw bytes


@pytest.fixture
def refusing_port() -> Iterator[int]:
    """A port of 127.0.0.1 that refuses connections. It is bound during the test, so no other program can take it."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.fixture
def raw_server() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(script: Sequence[Sequence[Any]], *, repeat: bool = False) -> RawServer:
        servers.append(RawServer(script, repeat=repeat))
        return servers[-1]

    yield start
    for server in servers:
        server.close()

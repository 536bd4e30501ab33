"""Whatever is remembered by what a user passes has a size: a service with a million tenants does not grow for ever."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.parsed import MODULES, PACKAGE, nodes, parsed

import modelwire
from modelwire.adapters.model import call_parts, http
from modelwire.adapters.providers import aws, plugins, services
from modelwire.adapters.providers import openai as openai_module
from modelwire.adapters.wires.openai_chat import WIRE
from modelwire.messages import HumanMessage
from modelwire.messages import base as messages
from modelwire.transport.connections import pools
from modelwire.transport.ratelimit import registry

LARGEST = 100_000

# Functions that remember each of their arguments, of which there are few, and why.
FEW_ARGUMENTS = {
    "transport/connections/shared_transport.py:_transport_class": "two names of httpx2's classes",
    "adapters/wires/wire.py:wire_named": "the names of the registry; any other is an error",
    "testing/server/request_rules.py:table": "two files of the package",
}

# Containers of modules that functions fill, and what bounds them.
BOUNDED = {
    "adapters/wires/wire.py:_BATCH_APIS": "the wires that have a Batch API",
    "adapters/model/coalescing.py:_pending": "calls under way; each is removed when it ends",
    "adapters/model/handlers.py:_telling": "tasks under way; each is removed when it ends",
    "caches.py:_abandoned": "connections that were open at a fork",
    "local/server.py:_shared": "running servers of local models",
    "adapters/providers/aws.py:_chains": "a hundred; tested below",
    "adapters/model/stored_prompts.py:_heads": "`MOST_HEADS`, the least used one goes first",
    "transport/ratelimit/registry.py:_numbers": "weak: an entry goes with its credential",
    "callbacks/delivery.py:_unfinished": "tasks under way; each is removed when it ends",
    "messages/block_translators/__init__.py:PROVIDER_TRANSLATORS": "what a program registers",
    "runnables/configurable.py:_declared": "names of fields that a program declares",
    "testing/cassettes/recording.py:_recorded_here": "files that this process has recorded",
    "transport/observer.py:OBSERVERS_EVERYWHERE": "open `with` blocks",
    "transport/connections/closed_network.py:network_blocks": "open `with` blocks",
    "transport/connections/closed_network.py:_guarded": "classes of clients",
    "transport/connections/pools.py:_left_to_the_parent": "one for each fork",
    "transport/connections/pools.py:_sync_pools": "one for each proxy, trust store and engine",
    "transport/connections/pools.py:_loop_pools": "weak: as long as the event loop lives",
    "transport/ratelimit/registry.py:_limiters": "tested below",
    "tools/injected.py:_signatures": "weak: as long as the function lives",
}


def cached_functions() -> Iterator[tuple[str, ast.FunctionDef, int | None]]:
    """Yield each function that `functools` remembers the results of: its place, itself and the size, None for none."""
    for path in MODULES:
        for node in nodes(path):
            if not isinstance(node, ast.FunctionDef):
                continue
            for decorator in node.decorator_list:
                name = ast.unparse(decorator).removeprefix("functools.")
                if name == "cache":
                    yield f"{path.relative_to(PACKAGE)}:{node.name}", node, None
                elif name == "lru_cache":
                    yield f"{path.relative_to(PACKAGE)}:{node.name}", node, 128
                elif name.startswith("lru_cache("):
                    size = eval(name, {"lru_cache": lambda maxsize=128, typed=False: maxsize})
                    yield f"{path.relative_to(PACKAGE)}:{node.name}", node, size


def test_a_function_that_remembers_its_arguments_remembers_so_many() -> None:
    found = list(cached_functions())
    assert len(found) > 30
    endless = {
        place
        for place, function, size in found
        if (function.args.args or function.args.kwonlyargs or function.args.vararg)
        and (size is None or size > LARGEST)
    }
    assert endless == set(FEW_ARGUMENTS)


EMPTY = ("{}", "[]", "set()", "dict()", "list()", "OrderedDict()", "WeakKeyDictionary()", "deque()")
FILLING = {"add", "append", "extend", "setdefault", "update", "appendleft", "insert"}


def filled_containers() -> Iterator[str]:
    """Yield the containers of modules that are empty at first, and that a function of the module fills."""
    for path in MODULES:
        tree = parsed(path)
        empty = set[str]()
        for node in tree.body:
            if isinstance(node, ast.AnnAssign) and node.value is not None:
                if ast.unparse(node.value) in EMPTY:
                    empty.add(ast.unparse(node.target))
            elif isinstance(node, ast.Assign) and ast.unparse(node.value) in EMPTY:
                empty.update(ast.unparse(target) for target in node.targets)
        filled = set[str]()
        for node in nodes(path) if empty else ():
            is_set = isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
            if is_set or (isinstance(node, ast.Attribute) and node.attr in FILLING):
                filled.add(ast.unparse(node.value))
        yield from (f"{path.relative_to(PACKAGE)}:{name}" for name in empty & filled)


def test_a_container_of_a_module_is_bounded_by_something() -> None:
    assert set(filled_containers()) == set(BOUNDED)


MANY = 3000


def name_providers() -> int:
    for n in range(300):
        openai_module._codec(f"house-{n}", stream_usage=True)
        WIRE.codec(f"house-{n}")
        services.service_of(f"house-{n}")
    sizes = [
        one.cache_info().currsize
        for one in (openai_module._codec, WIRE.codec, services.service_of, plugins.plugin_of)
    ]
    assert min(sizes) > 0
    return max(sizes)


def replace_keys_of_aws() -> int:
    class Session:
        def get_credentials(self) -> Any:
            return self

        def get_frozen_credentials(self) -> Any:
            return aws.Keys("id", "secret", None)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(aws, "_session", lambda profile: Session())
        patched.setattr(aws, "_chains", {})
        exchange = cast("Any", SimpleNamespace(url="", headers={}, content=b""))
        call = aws.SignedCall(exchange, "us-east-1", None, None, None, is_async=False)
        for n in range(MANY):
            patched.setenv("AWS_SESSION_TOKEN", f"token-{n}")
            call._found()
        return len(aws._chains)


def make_classes_of_messages() -> int:
    for _ in range(300):
        messages._blanks(type("Own", (HumanMessage,), {}))
    return messages._blanks.cache_info().currsize


def set_timeouts_of_calls() -> int:
    for n in range(MANY):
        http._policy(n, n + 1.0, 120.0, 10.0)
        call_parts._timeouts(n + 1.0, None, (None, None), tcp_keepalive=True)
    return max(one.cache_info().currsize for one in (http._policy, call_parts._timeouts))


@pytest.mark.long
@pytest.mark.parametrize(
    "fill", [name_providers, make_classes_of_messages, set_timeouts_of_calls, replace_keys_of_aws]
)
def test_names_and_classes_of_the_user_are_remembered_up_to_a_size(fill: Callable[[], int]) -> None:
    assert 0 < fill() <= 256


def test_models_made_of_configurable_values_are_kept_up_to_a_size() -> None:
    made: Any = modelwire.init_chat_model(
        "openai:m", configurable_fields=("model",), api_key="k", base_url="http://api.test/v1"
    )
    for n in range(MANY // 10):
        made.prepare({"configurable": {"model": f"openai:m{n}"}})
    assert 0 < len(made._made) <= 256


def test_idle_limiters_are_kept_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within ten minutes, too: a key each of a hundred thousand tenants."""
    monkeypatch.setattr(registry, "_MOST_LIMITERS", 100)
    busy = registry.limiter_of("http://x/v1", {}, "busy", now=0.0, rng=Random(1))
    busy.in_flight = 1
    for n in range(MANY):
        registry.limiter_of("http://x/v1", {"api-key": str(n)}, "m", now=1.0, rng=Random(1))
        assert len(registry._limiters) <= 105
    assert registry.limiter_of("http://x/v1", {}, "busy", now=1.0, rng=Random(1)) is busy


def test_addresses_without_a_connection_are_forgotten() -> None:
    """One origin for each tenant: what stays is the connections that are open."""
    pool = pools.SyncPool(pools.ClientSettings(secure=False))
    for n in range(300):
        lease = pool.lease(f"tenant-{n}.localhost:1")  # a connection that is never made
        assert lease is not None
        lease.release()
    assert pool.in_flight == 0
    assert len(pool._roomy) <= 10
    pool.close()

"""An exchange over the wire of words, with each setting by its name."""

import time
from random import Random
from typing import Any

from support.word_wire import WordWire

from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import CallPolicy, Exchange, Hooks, Request, Timeouts

POLICY = {"retry": RetryPolicy(max_retries=2), "timeouts": Timeouts(), "clock": time.monotonic}


def word_exchange(url: str = "http://x/v1", *, wire: Any = None, **settings: Any) -> Exchange:
    """Return an exchange; `settings` are fields of its request, policy and hooks, and its own."""

    def fields_of(kind: Any, **usual: Any) -> dict[str, Any]:
        named = {name: settings.pop(name) for name in kind._fields if name in settings}
        return usual | named

    request = Request(url, **fields_of(Request, headers={}, content=b"{}"))
    policy = CallPolicy(**fields_of(CallPolicy, **POLICY, rng=Random(1)))
    hooks: Hooks[str, str] = Hooks(**fields_of(Hooks, merge="".join, as_chunk=str))
    return Exchange(request, wire or WordWire(), policy, hooks, **settings)

"""Modules that a first call does not need: each is loaded when one of its names is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire import outputs, prompts, tools
    from modelwire.runnables import batch as batching
    from modelwire.runnables import events, fields, function_source, invoke_function, log, streams
    from modelwire.runnables import graph as graphs
    from modelwire.runnables import run as runs
    from modelwire.runnables import schema as schemas
    from modelwire.tracers import root_listeners
else:
    batching = _lazy.module("modelwire.runnables.batch")
    invoke_function = _lazy.module("modelwire.runnables.invoke_function")
    events = _lazy.module("modelwire.runnables.events")
    fields = _lazy.module("modelwire.runnables.fields")
    function_source = _lazy.module("modelwire.runnables.function_source")
    graphs = _lazy.module("modelwire.runnables.graph")
    log = _lazy.module("modelwire.runnables.log")
    outputs = _lazy.module("modelwire.outputs")
    prompts = _lazy.module("modelwire.prompts")
    root_listeners = _lazy.module("modelwire.tracers.root_listeners")
    runs = _lazy.module("modelwire.runnables.run")
    schemas = _lazy.module("modelwire.runnables.schema")
    streams = _lazy.module("modelwire.runnables.streams")
    tools = _lazy.module("modelwire.tools")

__all__ = [
    "batching",
    "events",
    "fields",
    "function_source",
    "graphs",
    "invoke_function",
    "log",
    "outputs",
    "prompts",
    "root_listeners",
    "runs",
    "schemas",
    "streams",
    "tools",
]

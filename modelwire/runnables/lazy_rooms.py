"""Modules that a first call does not need: each is loaded when one of its names is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire import outputs, prompts, tools
    from modelwire.runnables import batch as batching
    from modelwire.runnables import events, fields, function_source, invoke_function, log, streams
    from modelwire.runnables import graph as graphs
    from modelwire.runnables import run as runs
    from modelwire.runnables import schema as schemas
    from modelwire.tracers import root_listeners
else:
    batching = lazy.module("modelwire.runnables.batch")
    invoke_function = lazy.module("modelwire.runnables.invoke_function")
    events = lazy.module("modelwire.runnables.events")
    fields = lazy.module("modelwire.runnables.fields")
    function_source = lazy.module("modelwire.runnables.function_source")
    graphs = lazy.module("modelwire.runnables.graph")
    log = lazy.module("modelwire.runnables.log")
    outputs = lazy.module("modelwire.outputs")
    prompts = lazy.module("modelwire.prompts")
    root_listeners = lazy.module("modelwire.tracers.root_listeners")
    runs = lazy.module("modelwire.runnables.run")
    schemas = lazy.module("modelwire.runnables.schema")
    streams = lazy.module("modelwire.runnables.streams")
    tools = lazy.module("modelwire.tools")

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

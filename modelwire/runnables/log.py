"""`astream_log`: the events inside a running runnable, as JSON patches (RFC 6902) that build up a `RunLog`."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypedDict, cast
from uuid import UUID

from modelwire.aliases import JSON, Callback, Kwargs
from modelwire.errors import InvalidType
from modelwire.runnables.addable import collected
from modelwire.runnables.channel import Channel
from modelwire.runnables.closing import aclose
from modelwire.runnables.config import Config, hidden
from modelwire.runnables.json_patch import pointer
from modelwire.runnables.listener import ABSENT, RunFilter, RunListener, attach, dict_from_result

if TYPE_CHECKING:
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.config import Config


class LogEntry(TypedDict):
    """A run nested in the root run."""

    id: str
    name: str
    type: str  # "chain", "prompt", "parser", "llm" (any model), "tool" or "retriever".
    tags: list[str]
    metadata: JSON
    start_time: str  # ISO 8601, UTC.
    streamed_output_str: list[str]  # The texts of a model's chunks.
    streamed_output: list[Any]
    final_output: Any | None
    end_time: str | None


class RunState(TypedDict):
    """The root run, and in `logs` each nested run under its name.

    A second run of the same name is under `name:2`, a third under `name:3`.
    """

    id: str
    streamed_output: list[Any]
    final_output: Any | None  # The sum of the chunks so far.
    name: str
    type: str
    logs: dict[str, LogEntry]


class RunLogPatch:
    """A JSON Patch: a list `ops` of dicts with `op`, `path` and `value`. The sum of patches is a `RunLog`."""

    def __init__(self, *ops: JSON) -> None:
        self.ops: list[JSON] = list(ops)

    def __add__(self, other: RunLogPatch) -> RunLog:
        if not isinstance(other, RunLogPatch):
            raise InvalidType(
                f"Only a `RunLogPatch` can be added to a `RunLogPatch`, not a `{type(other).__name__}`."
            )
        ops = [*self.ops, *other.ops]
        return RunLog(*ops, state=_applied(None, ops))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunLogPatch) and self.ops == other.ops

    __hash__ = None  # type: ignore[assignment]  # its ops may change

    def __repr__(self) -> str:
        from pprint import pformat

        return f"RunLogPatch({pformat(self.ops)[1:-1]})"


class RunLog(RunLogPatch):
    """The sum of patches: all their `ops`, and the `state` of the runs that they describe."""

    def __init__(self, *ops: JSON, state: RunState | None) -> None:
        super().__init__(*ops)
        self.state = state

    def __add__(self, other: RunLogPatch) -> RunLog:
        if not isinstance(other, RunLogPatch):
            raise InvalidType(
                f"Only a `RunLogPatch` can be added to a `RunLog`, not a `{type(other).__name__}`."
            )
        return RunLog(*self.ops, *other.ops, state=_applied(self.state, other.ops))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunLog) and self.state == other.state and super().__eq__(other)

    __hash__ = None

    def __repr__(self) -> str:
        from pprint import pformat

        return f"RunLog({pformat(self.state)})"


def _applied(state: RunState | None, ops: list[JSON]) -> RunState | None:
    """Return `state` after `ops`.

    Changed parts are copied, so neither `state` nor a value in `ops` is modified.
    """
    for op in ops:
        _, *parts = op["path"].split("/")
        keys = [part.replace("~1", "/").replace("~0", "~") for part in parts]
        state = _put(state, keys, op["value"])
    return state


def _put(held: Any, keys: list[str], value: Any) -> Any:
    """Return a copy of `held` with `value` at the path `keys`; the key `-` is the end of a list."""
    if not keys:
        return value
    first, *rest = keys
    if isinstance(held, list):
        if first == "-":
            return [*held, value]
        place = int(first)
        return [*held[:place], _put(held[place], rest, value), *held[place + 1 :]]
    inner: Any = cast("Mapping[str, Any]", held).get(first)
    return {**held, first: _put(inner, rest, value)}


class _LogListener(RunListener):
    """Puts patches about every run below one root into a channel."""

    def __init__(
        self,
        root_id: UUID,
        name: str,
        chosen: RunFilter,
        channel: Channel[RunLogPatch],
        *,
        listed: bool,
    ) -> None:
        self.root_id = root_id
        self.name = name
        self.chosen = chosen
        self.put = channel.put
        # True if the root's chunks are also reported one by one.
        self.listed = listed
        self.total: Any = ABSENT
        self.named: Counter[str] = Counter()
        # For each run, the path of its entry in the log, and its kind.
        self.places: dict[UUID, tuple[str, str]] = {}

    def begun(self, kind: str, name: str, input: Any, run_id: UUID, about: Kwargs) -> None:
        kind = "llm" if kind == "chat_model" else kind
        if run_id == self.root_id:
            state: JSON = {
                "id": str(run_id),
                "streamed_output": [],
                "final_output": None,
                "logs": {},
                "name": self.name,
                "type": kind,
            }
            self.put(RunLogPatch({"op": "replace", "path": "", "value": state}))
            return
        tags = about.get("tags") or []
        if not self.chosen.wants(name, kind, tags):
            return
        self.named[name] += 1
        count = self.named[name]
        key = name if count == 1 else f"{name}:{count}"
        place = f"/logs/{pointer(key)}"
        self.places[run_id] = place, kind
        entry = {
            "id": str(run_id),
            "name": name,
            "type": kind,
            "tags": [*tags],
            "metadata": {**(about.get("metadata") or {})},
            "start_time": _time(),
            "streamed_output": [],
            "streamed_output_str": [],
            "final_output": None,
            "end_time": None,
        }
        self.put(RunLogPatch({"op": "add", "path": place, "value": entry}))

    def listen(self, run_id: UUID) -> Callback | None:
        if run_id not in self.places:
            return None
        place, kind = self.places[run_id]

        def hear(chunk: Any) -> None:
            ops = [{"op": "add", "path": f"{place}/streamed_output/-", "value": chunk}]
            if kind == "llm":
                text = str(getattr(chunk, "text", chunk))
                ops.insert(
                    0, {"op": "add", "path": f"{place}/streamed_output_str/-", "value": text}
                )
            self.put(RunLogPatch(*ops))

        return hear

    def ended(self, run_id: UUID, output: Any, input: Any = ABSENT) -> None:
        if run_id not in self.places:
            return
        place, kind = self.places.pop(run_id)
        value = _final(kind, output)
        self.put(
            RunLogPatch(
                {"op": "add", "path": f"{place}/final_output", "value": value},
                {"op": "add", "path": f"{place}/end_time", "value": _time()},
            )
        )

    def failed(self, run_id: UUID, error: BaseException, input: Any = ABSENT) -> None:
        """Called when a run has failed. Report its end without an output."""
        self.ended(run_id, ABSENT, input)

    def root_chunk(self, chunk: Any) -> None:
        """Called with each chunk of the root. Report the chunk, and the sum of the chunks so far."""
        before = self.total
        if before is ABSENT:
            self.total = chunk
        else:
            self.total = collected([before, chunk])
        ops = _growth(before, self.total)
        if self.listed:
            ops.insert(0, {"op": "add", "path": "/streamed_output/-", "value": chunk})
        self.put(RunLogPatch(*ops))


def _growth(before: Any, after: Any) -> list[JSON]:
    """Return the operations that turn the sum `before` into the sum `after` a chunk: one for each new
    or changed key of a dict; any other value is replaced as a whole.
    """
    if isinstance(before, dict) and isinstance(after, dict) and before.keys() <= after.keys():
        return [
            {
                "op": "replace" if key in before else "add",
                "path": f"/final_output/{pointer(key)}",
                "value": value,
            }
            for key, value in after.items()
            if key not in before or value is not before[key]
        ]
    return [{"op": "replace", "path": "/final_output", "value": after}]


def _final(kind: str, output: Any) -> Any:
    """Return the `final_output` of a run: a dict, or the output of a prompt, unchanged; any other output
    as `{"output": output}`, or `{"documents": output}` for a retriever.
    """
    if output is ABSENT:
        return {}
    if kind == "llm":
        return dict_from_result(output)
    if kind == "retriever":
        return {"documents": output}
    if kind == "prompt" or isinstance(output, dict):
        return output
    return {"output": output}


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


async def astream_log(
    runnable: Runnable,
    input: Any,
    config: Config,
    *,
    diff: bool = True,
    with_streamed_output_list: bool = True,
    **kwargs: Any,
) -> AsyncIterator[RunLogPatch]:
    """Stream `runnable` and yield patches, or without `diff` the whole `RunLog` so far."""
    channel: Channel[RunLogPatch] = Channel()
    name = (config or {}).get("run_name") or runnable.get_name()
    chosen = RunFilter(hidden(kwargs))
    listed = with_streamed_output_list
    ready, listener = attach(
        config, lambda root_id: _LogListener(root_id, name, chosen, channel, listed=listed)
    )
    log = cast("_LogListener", listener)

    so_far = RunLog(state=None)
    patches = channel.read(
        lambda: channel.forward(lambda: runnable.astream(input, ready, **kwargs), log.root_chunk)
    )
    try:
        async for patch in patches:
            if diff:
                yield patch
            else:
                so_far = so_far + patch
                yield so_far
    finally:
        await aclose(patches)

"""`astream_events`: the events inside a running runnable, as a stream of small dicts.

Use version "v2". "v1" differs as in LangChain: no `parent_ids`, the output of a model as the whole
result, an end with output None for a failed run, and no custom events.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from modelwire.aliases import Callback, Kwargs
from modelwire.errors import CallerError
from modelwire.runnables.addable import collected
from modelwire.runnables.channel import Channel
from modelwire.runnables.config import Config, hidden
from modelwire.runnables.listener import (
    ABSENT,
    RunFilter,
    RunListener,
    attach,
    dict_from_result,
    message_of,
)
from modelwire.runnables.reading_context import abound

if TYPE_CHECKING:
    from modelwire.runnables.base import Runnable
    from modelwire.runnables.config import Config
    from modelwire.runnables.schema import StreamEvent


class UnknownVersion(CallerError, NotImplementedError):
    """Raised for an unknown `version` of `astream_events`, and by `stream_events`, which is not supported."""


def unknown_version(method: str, version: Any) -> UnknownVersion:
    """Return the error for a version of events that modelwire does not have."""
    text = f'`version` of `astream_events` must be "v2" or "v1", not {version!r}.'
    if method != "astream_events":
        text = f'`{method}` is not supported: use `astream_events`, with "v2" or "v1".'
    if version == "v3":
        text += (
            f" LangChain's `{method}` supports it for chat models: "
            f'`modelwire.langchain.as_langchain(model).{method}(..., version="v3")`.'
        )
    return UnknownVersion(text)


@dataclass(slots=True)
class _Heard:
    """A run in progress: the content that all its events share, and whether the caller wants its events."""

    kind: str
    input: Any
    about: Kwargs
    lineage: list[str]  # The ids of the enclosing runs, the root first, and of this run.
    wanted: bool
    tool_call_id: str | None
    tapped: bool = False  # True if its chunks are already reported by an observer.
    twins: int = 0  # How many nested runs have the same id and are still running.

    def event(self, step: str, data: Any) -> Kwargs:
        """Return the event of one step of the run."""
        return {"event": f"on_{self.kind}_{step}", "data": data, **self.about}


class _EventsV2(RunListener):
    """Puts the events of every run below one root into a channel."""

    def __init__(
        self, root_id: UUID, root_input: Any, chosen: RunFilter, channel: Channel[StreamEvent]
    ) -> None:
        self.root_id = root_id
        self.root_input = root_input
        self.chosen = chosen
        self.put = cast("Callable[[Any], None]", channel.put)
        self.runs: dict[UUID, _Heard] = {}
        self.hear_root: Callback | None = None
        self.root_seen = False

    def begun(self, kind: str, name: str, input: Any, run_id: UUID, about: Kwargs) -> None:
        if run_id in self.runs:  # A run with the id of an enclosing run is left out.
            self.runs[run_id].twins += 1
            return
        if run_id == self.root_id:
            name = self.root_name(name)
            input = self.root_input
        parent = self.runs.get(about.get("parent_run_id"))  # type: ignore[arg-type]  # None is no key
        parents = parent.lineage if parent is not None else []
        tags = about.get("tags") or []
        named = str(run_id)
        about_run = {
            "name": name,
            "run_id": named,
            "tags": tags,
            "metadata": about.get("metadata") or {},
            "parent_ids": self.parents(parents),
        }
        wanted = self.chosen.wants(name, kind, tags)
        lineage = [*parents, named]
        run = _Heard(kind, input, about_run, lineage, wanted, about.get("tool_call_id"))
        self.runs[run_id] = run
        if wanted:
            self.put(run.event("start", {} if input is ABSENT else {"input": input}))

    def listen(self, run_id: UUID) -> Callback | None:
        """Return the function that reports the chunks of a run; None if its events are not selected."""
        run = self.runs.get(run_id)
        if run is None or run.twins or not run.wanted:
            return None
        run.tapped = True
        put = self.put
        blank = run.event("stream", None)

        def hear(chunk: Any) -> None:
            # Copying is the fastest way to create a dict of seven keys.
            event = blank.copy()
            event["data"] = {"chunk": chunk}
            put(event)

        return hear

    def ended(self, run_id: UUID, output: Any, input: Any = ABSENT) -> None:
        run = self._over(run_id)
        if run is None:
            return
        data = {"output": self.output(run.kind, output)}
        known = input if input is not ABSENT else run.input
        if run_id != self.root_id and known is not ABSENT:
            data["input"] = known
        self.put(run.event("end", data))

    def failed(self, run_id: UUID, error: BaseException, input: Any = ABSENT) -> None:
        """Called when a run has failed.

        Only tools get an event; the reader gets any other error as an exception.
        """
        run = self._over(run_id)
        if run is not None and run.kind == "tool":
            data = {"error": error, "input": run.input, "tool_call_id": run.tool_call_id}
            self.put(run.event("error", data))

    def _over(self, run_id: UUID) -> _Heard | None:
        """Remove a run that has ended; return it if its end must be reported, else None."""
        run = self.runs.get(run_id)
        if run is not None and run.twins:
            run.twins -= 1
            return None
        self.runs.pop(run_id, None)
        if run is not None and run.wanted:
            return run
        return None

    def root_chunk(self, chunk: Any) -> None:
        """Called with each chunk that `astream` yields. Report it, unless the root's run reports its chunks."""
        if not self.root_seen:
            self.root_seen = True
            root = self.runs.get(self.root_id)
            if root is not None and not root.tapped:
                self.hear_root = self.listen(self.root_id)
        if self.hear_root is not None:
            self.hear_root(chunk)

    def root_ended(self) -> None:
        """Called at the end of the stream."""

    if not TYPE_CHECKING:
        # Type checkers see the signature of the base class.

        def on_custom_event(self, name, data, *, run_id, tags=None, metadata=None, **about):
            if not self.chosen.wants(name, "custom", tags or ()):
                return
            around = self.runs.get(run_id)
            self.put(
                {
                    "event": "on_custom_event",
                    "name": name,
                    "run_id": str(run_id),
                    "data": data,
                    "tags": tags or [],
                    "metadata": metadata or {},
                    "parent_ids": around.lineage[:-1] if around else [],
                }
            )

    def root_name(self, name: str) -> str:
        """Return the name of the root run."""
        return name

    def parents(self, ids: list[str]) -> list[str]:
        """Return the `parent_ids` of an event, from the ids of the enclosing runs."""
        return ids

    def output(self, kind: str, output: Any) -> Any:
        """Return the output of a run in the form of its events: for a chat model, the message."""
        if kind == "chat_model":
            return message_of(output)
        if kind == "llm":
            return dict_from_result(output)
        return output


class _EventsV1(_EventsV2):
    """The events of version "v1".

    The root's chunks are those that `astream` yields, so the root is always reported as a stream.
    """

    def __init__(self, *args: Any, name: str) -> None:
        super().__init__(*args)
        self.name = name
        self.chunks: list[Any] = []
        self.root: _Heard | None = None

    def begun(self, kind: str, name: str, input: Any, run_id: UUID, about: Kwargs) -> None:
        super().begun(kind, name, input, run_id, about)
        if run_id == self.root_id and self.root is None:
            self.root = self.runs[run_id]

    def listen(self, run_id: UUID) -> Callback | None:
        if run_id == self.root_id:
            return None
        return super().listen(run_id)

    def ended(self, run_id: UUID, output: Any, input: Any = ABSENT) -> None:
        if run_id != self.root_id:
            super().ended(run_id, output, input)

    def failed(self, run_id: UUID, error: BaseException, input: Any = ABSENT) -> None:
        """Called when a run has failed.

        Report the end of a run below the root, with output None.
        """
        self.ended(run_id, None, input)

    if not TYPE_CHECKING:

        def on_custom_event(self, name, data, **about):
            """Do nothing: version "v1" has no custom events."""

    def root_name(self, name: str) -> str:
        """Return the name of the runnable that was called."""
        return self.name

    def parents(self, ids: list[str]) -> list[str]:
        """Return an empty list: version "v1" has no `parent_ids`."""
        return []

    def output(self, kind: str, output: Any) -> Any:
        """Return the output of a run: for a model the whole result, for a retriever a dict with `documents`."""
        if kind == "retriever":
            return {"documents": output}
        if kind in ("chat_model", "llm") and output is not None:
            return dict_from_result(output)
        return output

    def root_chunk(self, chunk: Any) -> None:
        self.chunks.append(chunk)
        if self.root is not None and self.root.wanted:
            self.put(self.root.event("stream", {"chunk": chunk}))

    def root_ended(self) -> None:
        if self.root is not None and self.root.wanted:
            output = collected(self.chunks)
            self.put(self.root.event("end", {"output": output}))


def astream_events(
    runnable: Runnable,
    input: Any,
    config: Config,
    *,
    version: str,
    **kwargs: Any,
) -> AsyncIterator[StreamEvent]:
    """Stream `runnable` and yield the events of its runs.

    A slow reader makes the runnable wait; closing the iterator cancels the runnable.
    """
    if version not in ("v1", "v2"):
        raise unknown_version("astream_events", version)
    channel: Channel[StreamEvent] = Channel()
    chosen = RunFilter(hidden(kwargs))

    def make(root_id: UUID) -> RunListener:
        if version == "v2":
            return _EventsV2(root_id, input, chosen, channel)
        return _EventsV1(
            root_id,
            input,
            chosen,
            channel,
            name=(config or {}).get("run_name") or runnable.get_name(),
        )

    ready, listener = attach(config, make)
    events = cast("_EventsV2", listener)

    async def produce() -> None:
        await channel.forward(lambda: runnable.astream(input, ready, **kwargs), events.root_chunk)
        events.root_ended()

    return abound(channel.read(produce))

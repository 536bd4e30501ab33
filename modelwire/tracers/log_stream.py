"""The log of a run, under the path where scripts look for it; see `runnables/log.py`."""

from modelwire.runnables.log import LogEntry, RunLog, RunLogPatch, RunState

__all__ = ["LogEntry", "RunLog", "RunLogPatch", "RunState"]

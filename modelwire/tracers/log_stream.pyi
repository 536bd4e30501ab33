from modelwire.runnables.log import LogEntry as LogEntry
from modelwire.runnables.log import RunLog as RunLog
from modelwire.runnables.log import RunLogPatch as RunLogPatch
from modelwire.runnables.log import RunState as RunState

"""Runs a job with an hour, and kills itself before or after something is written down.

Arguments: base_url, output, hour ("" for none), then none or `before|after` and a kind of entry.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from modelwire.adapters import ChatOpenAI
from modelwire.jobs import forecast, run_job
from modelwire.jobs.plan import Pace
from modelwire.jobs.store import JobStore


def hurry(replace: Callable[..., Any]) -> None:
    """Have batches expected within seconds, and looked at all the time."""
    replace(Pace, "OFTEN", ((0.0, 0.001), (0.5, 0.01), (1.0, 86_400.0)))
    replace(forecast, "SHORTEST_POLL_S", 0.02)
    replace(forecast, "LONGEST_POLL_S", 0.05)


def die_at(where: str, kind: str) -> None:
    append = JobStore.append

    def appending(self: JobStore, table: str, entries: Any) -> None:
        entries = list(entries)
        now = any(entry.kind == kind for entry in entries)
        if now and where == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        append(self, table, entries)
        if now:
            os.kill(os.getpid(), signal.SIGKILL)

    JobStore.append = appending  # type: ignore[method-assign]


if __name__ == "__main__":
    base_url, output, hour, *death = sys.argv[1:]
    hurry(setattr)
    if death:
        die_at(*death)
    model = ChatOpenAI(model="gpt-4o-mini", base_url=base_url, api_key="k", max_tokens=20)
    rows = [{"t": f"w{n}"} for n in range(120)]
    options: Any = {"finish_by": hour} if hour else {}
    result = run_job("say {t}", rows, model=model, output=output, quiet=True, **options)
    sys.exit(0 if result.complete and not result.failed else 1)

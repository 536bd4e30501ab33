"""Jobs: answer every row of a table, up to millions of rows, and resume after a crash.

`run_job` calls a chain for each row; `submit_batch` sends all rows to a provider's Batch API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.ext import lazy_exports

if TYPE_CHECKING:
    from modelwire.jobs.batch_api import BatchJob as BatchJob
    from modelwire.jobs.batch_api import BatchResult as BatchResult
    from modelwire.jobs.batch_api import asubmit_batch as asubmit_batch
    from modelwire.jobs.batch_api import submit_batch as submit_batch
    from modelwire.jobs.finish_by import JobPlan as JobPlan
    from modelwire.jobs.folder import JobFolder as JobFolder
    from modelwire.jobs.job_result import JobResult as JobResult
    from modelwire.jobs.launch import arun_job as arun_job
    from modelwire.jobs.launch import plan_job as plan_job
    from modelwire.jobs.launch import run_job as run_job
    from modelwire.jobs.options import JobOptions as JobOptions
    from modelwire.jobs.tiered import atiered_batch as atiered_batch
    from modelwire.jobs.tiered import tiered_batch as tiered_batch
    from modelwire.usage import CostTracker as CostTracker
    from modelwire.usage import price_of as price_of
    from modelwire.usage import track as track

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "modelwire.jobs.job_result": "JobResult",
        "modelwire.jobs.finish_by": "JobPlan",
        "modelwire.jobs.launch": "arun_job plan_job run_job",
        "modelwire.jobs.options": "JobOptions",
        "modelwire.jobs.folder": "JobFolder",
        "modelwire.jobs.batch_api": "BatchJob BatchResult asubmit_batch submit_batch",
        "modelwire.usage": "CostTracker price_of track",
        "modelwire.jobs.tiered": "atiered_batch tiered_batch",
    },
)

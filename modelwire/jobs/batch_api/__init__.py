"""Providers' Batch APIs: requests are submitted as files and answered within a day, at half the price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.ext import lazy_exports

if TYPE_CHECKING:
    from modelwire.jobs.batch_api.chain import NotBatchable as NotBatchable
    from modelwire.jobs.batch_api.job import BatchJob as BatchJob
    from modelwire.jobs.batch_api.results import BatchCost as BatchCost
    from modelwire.jobs.batch_api.results import BatchResult as BatchResult
    from modelwire.jobs.batch_api.results import BatchStatus as BatchStatus
    from modelwire.jobs.batch_api.submission import asubmit_batch as asubmit_batch
    from modelwire.jobs.batch_api.submission import batch_api_of as batch_api_of
    from modelwire.jobs.batch_api.submission import submit_batch as submit_batch
    from modelwire.jobs.batch_api.submission import takes_bucket as takes_bucket

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "modelwire.jobs.batch_api.chain": "NotBatchable",
        "modelwire.jobs.batch_api.job": "BatchJob",
        "modelwire.jobs.batch_api.results": "BatchCost BatchResult BatchStatus",
        "modelwire.jobs.batch_api.submission": "asubmit_batch batch_api_of submit_batch takes_bucket",
    },
)

"""Providers' Batch APIs: questions handed in as files, answers within a day, at half the price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.jobs.provider_batch.chain import NotBatchable as NotBatchable
    from modelwire.jobs.provider_batch.job import BatchCost as BatchCost
    from modelwire.jobs.provider_batch.job import BatchJob as BatchJob
    from modelwire.jobs.provider_batch.job import BatchStatus as BatchStatus
    from modelwire.jobs.provider_batch.results import BatchResult as BatchResult
    from modelwire.jobs.provider_batch.submission import asubmit_batch as asubmit_batch
    from modelwire.jobs.provider_batch.submission import submit_batch as submit_batch

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.jobs.provider_batch.chain": "NotBatchable",
        "modelwire.jobs.provider_batch.job": "BatchCost BatchJob BatchStatus",
        "modelwire.jobs.provider_batch.results": "BatchResult",
        "modelwire.jobs.provider_batch.submission": "asubmit_batch submit_batch",
    },
)

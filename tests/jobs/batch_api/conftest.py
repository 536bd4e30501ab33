"""A provider of each test's own, and jobs that do not wait long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from modelwire.jobs.batch_api import creation, downloads, reconcile
from modelwire.jobs.batch_api import job as job_module
from modelwire.testing import ProviderServer


@pytest.fixture(autouse=True)
def short_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search a moment for batches; the tests of that search have a fixture of this name that does nothing."""
    monkeypatch.setattr(creation, "SEARCH_S", 0.02)
    monkeypatch.setattr(downloads, "RESULTS_LATE_S", 0.02)
    quick = reconcile.QUEUE_BACKOFF._replace(first_s=0.02)
    monkeypatch.setattr(reconcile, "QUEUE_BACKOFF", quick)
    monkeypatch.setattr(job_module, "POLLS_S", (0.01,))


@pytest.fixture
def serve() -> Iterator[Callable[..., ProviderServer]]:
    """Start servers, with the arguments of `ProviderServer`."""
    with ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(ProviderServer(*args, **kwargs))

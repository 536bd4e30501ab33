"""A test server on loopback that answers in the providers' formats, with prepared answers and faults,
and records requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire.ext import lazy_exports
from modelwire.testing.server import faults as faults

if TYPE_CHECKING:
    from modelwire.testing.server.answers import Answer as Answer
    from modelwire.testing.server.batches import BatchPlan as BatchPlan
    from modelwire.testing.server.faults import Fault as Fault
    from modelwire.testing.server.faults import Rule as Rule
    from modelwire.testing.server.limits import Limits as Limits
    from modelwire.testing.server.provider_server import Lognormal as Lognormal
    from modelwire.testing.server.provider_server import ProviderServer as ProviderServer
    from modelwire.testing.server.requests import Counts as Counts
    from modelwire.testing.server.requests import SeenRequest as SeenRequest

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "modelwire.testing.server.answers": "Answer",
        "modelwire.testing.server.batches": "BatchPlan",
        "modelwire.testing.server.faults": "Fault Rule",
        "modelwire.testing.server.limits": "Limits",
        "modelwire.testing.server.provider_server": "Lognormal ProviderServer",
        "modelwire.testing.server.requests": "Counts SeenRequest",
    },
)

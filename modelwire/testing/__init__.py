"""Stand-ins for a provider in tests: models with prepared answers, and a server that speaks the providers' wires."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.errors import CassetteError as CassetteError
    from modelwire.errors import NetworkBlocked as NetworkBlocked
    from modelwire.testing.cassettes import recorded as recorded
    from modelwire.testing.cassettes import replayed as replayed
    from modelwire.testing.fake_chat_models import FakeChatModel as FakeChatModel
    from modelwire.testing.fake_chat_models import FakeListChatModel as FakeListChatModel
    from modelwire.testing.fake_chat_models import FakeListChatModelError as FakeListChatModelError
    from modelwire.testing.fake_chat_models import (
        FakeMessagesListChatModel as FakeMessagesListChatModel,
    )
    from modelwire.testing.fake_chat_models import GenericFakeChatModel as GenericFakeChatModel
    from modelwire.testing.fake_chat_models import ParrotFakeChatModel as ParrotFakeChatModel
    from modelwire.testing.network import block_network as block_network
    from modelwire.testing.server import Answer as Answer
    from modelwire.testing.server import BatchPlan as BatchPlan
    from modelwire.testing.server import Fault as Fault
    from modelwire.testing.server import Limits as Limits
    from modelwire.testing.server import Lognormal as Lognormal
    from modelwire.testing.server import ProviderServer as ProviderServer
    from modelwire.testing.server import Rule as Rule
    from modelwire.testing.server import faults as faults

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.testing.fake_chat_models": (
            "FakeChatModel FakeListChatModel FakeListChatModelError FakeMessagesListChatModel GenericFakeChatModel"
            " ParrotFakeChatModel"
        ),
        "modelwire.errors": "CassetteError NetworkBlocked",
        "modelwire.testing.cassettes": "recorded replayed",
        "modelwire.testing.network": "block_network",
        "modelwire.testing.server": "Answer BatchPlan Fault Limits Lognormal ProviderServer Rule faults",
    },
)

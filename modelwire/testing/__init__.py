"""What stands in for a provider in tests: models whose answers are written down beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.testing.fake_chat_models import FakeChatModel as FakeChatModel
    from modelwire.testing.fake_chat_models import FakeListChatModel as FakeListChatModel
    from modelwire.testing.fake_chat_models import FakeListChatModelError as FakeListChatModelError
    from modelwire.testing.fake_chat_models import FakeMessagesListChatModel as FakeMessagesListChatModel
    from modelwire.testing.fake_chat_models import GenericFakeChatModel as GenericFakeChatModel
    from modelwire.testing.fake_chat_models import ParrotFakeChatModel as ParrotFakeChatModel

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.testing.fake_chat_models": (
            "FakeChatModel FakeListChatModel FakeListChatModelError FakeMessagesListChatModel GenericFakeChatModel"
            " ParrotFakeChatModel"
        ),
    },
)

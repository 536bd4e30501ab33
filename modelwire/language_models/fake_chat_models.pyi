from modelwire.testing.fake_chat_models import FakeChatModel as FakeChatModel
from modelwire.testing.fake_chat_models import FakeListChatModel as FakeListChatModel
from modelwire.testing.fake_chat_models import FakeListChatModelError as FakeListChatModelError
from modelwire.testing.fake_chat_models import (
    FakeMessagesListChatModel as FakeMessagesListChatModel,
)
from modelwire.testing.fake_chat_models import GenericFakeChatModel as GenericFakeChatModel
from modelwire.testing.fake_chat_models import ParrotFakeChatModel as ParrotFakeChatModel

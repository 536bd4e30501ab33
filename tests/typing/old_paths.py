"""Old import paths have types, where they stand beside a package of ours."""

from typing import assert_type

from modelwire.callbacks.streaming_stdout import StreamingStdOutCallbackHandler
from modelwire.chat_models import init_chat_model
from modelwire.language_models.chat_models import BaseChatModel
from modelwire.messages.utils import get_buffer_string
from modelwire.runnables.utils import ConfigurableField
from modelwire.schema import HumanMessage
from modelwire.utils.json import parse_partial_json

assert_type(init_chat_model("openai:gpt-4o-mini"), BaseChatModel)
assert_type(HumanMessage("hi"), HumanMessage)
assert_type(get_buffer_string([HumanMessage("hi")]), str)
assert_type(ConfigurableField(id="x"), ConfigurableField)
assert_type(StreamingStdOutCallbackHandler(), StreamingStdOutCallbackHandler)
parse_partial_json("{")

from modelwire.language_models import BaseChatModel as BaseChatModel
from modelwire.language_models import LanguageModelInput as LanguageModelInput
from modelwire.language_models import SimpleChatModel as SimpleChatModel
from modelwire.language_models.simple_chat_model import (
    agenerate_from_stream as agenerate_from_stream,
)
from modelwire.language_models.simple_chat_model import generate_from_stream as generate_from_stream

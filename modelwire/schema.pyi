from modelwire.agents import AgentAction as AgentAction
from modelwire.agents import AgentFinish as AgentFinish
from modelwire.chat_history import BaseChatMessageHistory as BaseChatMessageHistory
from modelwire.documents import Document as Document
from modelwire.errors import OutputParserException as OutputParserException
from modelwire.messages import AIMessage as AIMessage
from modelwire.messages import AIMessageChunk as AIMessageChunk
from modelwire.messages import AnyMessage as AnyMessage
from modelwire.messages import BaseMessage as BaseMessage
from modelwire.messages import BaseMessageChunk as BaseMessageChunk
from modelwire.messages import ChatMessage as ChatMessage
from modelwire.messages import ChatMessageChunk as ChatMessageChunk
from modelwire.messages import FunctionMessage as FunctionMessage
from modelwire.messages import FunctionMessageChunk as FunctionMessageChunk
from modelwire.messages import HumanMessage as HumanMessage
from modelwire.messages import HumanMessageChunk as HumanMessageChunk
from modelwire.messages import RemoveMessage as RemoveMessage
from modelwire.messages import SystemMessage as SystemMessage
from modelwire.messages import SystemMessageChunk as SystemMessageChunk
from modelwire.messages import ToolMessage as ToolMessage
from modelwire.messages import ToolMessageChunk as ToolMessageChunk
from modelwire.messages import get_buffer_string as get_buffer_string
from modelwire.messages import messages_from_dict as messages_from_dict
from modelwire.messages import messages_to_dict as messages_to_dict
from modelwire.output_parsers import (
    BaseCumulativeTransformOutputParser as BaseCumulativeTransformOutputParser,
)
from modelwire.output_parsers import BaseGenerationOutputParser as BaseGenerationOutputParser
from modelwire.output_parsers import BaseLLMOutputParser as BaseLLMOutputParser
from modelwire.output_parsers import BaseOutputParser as BaseOutputParser
from modelwire.output_parsers import BaseTransformOutputParser as BaseTransformOutputParser
from modelwire.output_parsers import (
    CommaSeparatedListOutputParser as CommaSeparatedListOutputParser,
)
from modelwire.output_parsers import JsonOutputParser as JsonOutputParser
from modelwire.output_parsers import ListOutputParser as ListOutputParser
from modelwire.output_parsers import MarkdownListOutputParser as MarkdownListOutputParser
from modelwire.output_parsers import NumberedListOutputParser as NumberedListOutputParser
from modelwire.output_parsers import PydanticOutputParser as PydanticOutputParser
from modelwire.output_parsers import StrOutputParser as StrOutputParser
from modelwire.outputs import ChatGeneration as ChatGeneration
from modelwire.outputs import ChatResult as ChatResult
from modelwire.outputs import Generation as Generation
from modelwire.outputs import LLMResult as LLMResult
from modelwire.prompt_values import PromptValue as PromptValue
from modelwire.prompts import BasePromptTemplate as BasePromptTemplate
from modelwire.retrievers import BaseRetriever as BaseRetriever

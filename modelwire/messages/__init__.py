"""What is said: messages, their chunks and sums, content blocks, tool calls, usage. Pure values; no I/O here.

Names are loaded when first used: reading one answer does not load what prompts or trimming need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.messages.ai import AIMessage as AIMessage
    from modelwire.messages.ai import AIMessageChunk as AIMessageChunk
    from modelwire.messages.ai import add_ai_message_chunks as add_ai_message_chunks
    from modelwire.messages.any_message import AnyMessage as AnyMessage
    from modelwire.messages.any_message import MessageLikeRepresentation as MessageLikeRepresentation
    from modelwire.messages.base import LC_AUTO_PREFIX as LC_AUTO_PREFIX
    from modelwire.messages.base import LC_ID_PREFIX as LC_ID_PREFIX
    from modelwire.messages.base import BaseMessage as BaseMessage
    from modelwire.messages.base import BaseMessageChunk as BaseMessageChunk
    from modelwire.messages.base import TextAccessor as TextAccessor
    from modelwire.messages.base import merge_chunks as merge_chunks
    from modelwire.messages.chat import ChatMessage as ChatMessage
    from modelwire.messages.chat import ChatMessageChunk as ChatMessageChunk
    from modelwire.messages.content import KNOWN_BLOCK_TYPES as KNOWN_BLOCK_TYPES
    from modelwire.messages.content import Annotation as Annotation
    from modelwire.messages.content import AudioContentBlock as AudioContentBlock
    from modelwire.messages.content import Citation as Citation
    from modelwire.messages.content import ContentBlock as ContentBlock
    from modelwire.messages.content import DataContentBlock as DataContentBlock
    from modelwire.messages.content import FileContentBlock as FileContentBlock
    from modelwire.messages.content import ImageContentBlock as ImageContentBlock
    from modelwire.messages.content import NonStandardAnnotation as NonStandardAnnotation
    from modelwire.messages.content import NonStandardContentBlock as NonStandardContentBlock
    from modelwire.messages.content import PlainTextContentBlock as PlainTextContentBlock
    from modelwire.messages.content import ReasoningContentBlock as ReasoningContentBlock
    from modelwire.messages.content import RefusalContentBlock as RefusalContentBlock
    from modelwire.messages.content import ServerToolCall as ServerToolCall
    from modelwire.messages.content import ServerToolCallChunk as ServerToolCallChunk
    from modelwire.messages.content import ServerToolResult as ServerToolResult
    from modelwire.messages.content import TextContentBlock as TextContentBlock
    from modelwire.messages.content import VideoContentBlock as VideoContentBlock
    from modelwire.messages.content import create_audio_block as create_audio_block
    from modelwire.messages.content import create_citation as create_citation
    from modelwire.messages.content import create_file_block as create_file_block
    from modelwire.messages.content import create_image_block as create_image_block
    from modelwire.messages.content import create_non_standard_block as create_non_standard_block
    from modelwire.messages.content import create_plaintext_block as create_plaintext_block
    from modelwire.messages.content import create_reasoning_block as create_reasoning_block
    from modelwire.messages.content import create_text_block as create_text_block
    from modelwire.messages.content import create_tool_call as create_tool_call
    from modelwire.messages.content import create_video_block as create_video_block
    from modelwire.messages.content import ensure_id as ensure_id
    from modelwire.messages.content import is_data_content_block as is_data_content_block
    from modelwire.messages.conversion import _message_from_dict as _message_from_dict
    from modelwire.messages.conversion import convert_to_message as convert_to_message
    from modelwire.messages.conversion import convert_to_messages as convert_to_messages
    from modelwire.messages.conversion import message_chunk_to_message as message_chunk_to_message
    from modelwire.messages.conversion import message_to_dict as message_to_dict
    from modelwire.messages.conversion import messages_from_dict as messages_from_dict
    from modelwire.messages.conversion import messages_to_dict as messages_to_dict
    from modelwire.messages.counting import count_tokens_approximately as count_tokens_approximately
    from modelwire.messages.data_blocks import convert_to_openai_data_block as convert_to_openai_data_block
    from modelwire.messages.data_blocks import convert_to_openai_image_block as convert_to_openai_image_block
    from modelwire.messages.function import FunctionMessage as FunctionMessage
    from modelwire.messages.function import FunctionMessageChunk as FunctionMessageChunk
    from modelwire.messages.history import filter_messages as filter_messages
    from modelwire.messages.history import merge_message_runs as merge_message_runs
    from modelwire.messages.human import HumanMessage as HumanMessage
    from modelwire.messages.human import HumanMessageChunk as HumanMessageChunk
    from modelwire.messages.merge import merge_content as merge_content
    from modelwire.messages.merge import merge_dicts as merge_dicts
    from modelwire.messages.merge import merge_lists as merge_lists
    from modelwire.messages.merge import merge_obj as merge_obj
    from modelwire.messages.modifier import RemoveMessage as RemoveMessage
    from modelwire.messages.openai_messages import convert_to_openai_messages as convert_to_openai_messages
    from modelwire.messages.partial_json import parse_partial_json as parse_partial_json
    from modelwire.messages.system import SystemMessage as SystemMessage
    from modelwire.messages.system import SystemMessageChunk as SystemMessageChunk
    from modelwire.messages.tool import ToolMessage as ToolMessage
    from modelwire.messages.tool import ToolMessageChunk as ToolMessageChunk
    from modelwire.messages.tool_calls import InvalidToolCall as InvalidToolCall
    from modelwire.messages.tool_calls import ToolCall as ToolCall
    from modelwire.messages.tool_calls import ToolCallChunk as ToolCallChunk
    from modelwire.messages.tool_calls import invalid_tool_call as invalid_tool_call
    from modelwire.messages.tool_calls import tool_call as tool_call
    from modelwire.messages.tool_calls import tool_call_chunk as tool_call_chunk
    from modelwire.messages.transcript import get_buffer_string as get_buffer_string
    from modelwire.messages.trimming import trim_messages as trim_messages
    from modelwire.messages.usage import InputTokenDetails as InputTokenDetails
    from modelwire.messages.usage import OutputTokenDetails as OutputTokenDetails
    from modelwire.messages.usage import UsageMetadata as UsageMetadata
    from modelwire.messages.usage import add_usage as add_usage
    from modelwire.messages.usage import subtract_usage as subtract_usage

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.messages.ai": "AIMessage AIMessageChunk add_ai_message_chunks",
        "modelwire.messages.any_message": "AnyMessage MessageLikeRepresentation",
        "modelwire.messages.base": "BaseMessage BaseMessageChunk LC_AUTO_PREFIX LC_ID_PREFIX TextAccessor merge_chunks",
        "modelwire.messages.chat": "ChatMessage ChatMessageChunk",
        "modelwire.messages.content": (
            "Annotation AudioContentBlock Citation ContentBlock DataContentBlock FileContentBlock ImageContentBlock"
            " KNOWN_BLOCK_TYPES NonStandardAnnotation NonStandardContentBlock PlainTextContentBlock"
            " ReasoningContentBlock RefusalContentBlock ServerToolCall ServerToolCallChunk ServerToolResult"
            " TextContentBlock VideoContentBlock create_audio_block create_citation create_file_block"
            " create_image_block create_non_standard_block create_plaintext_block create_reasoning_block"
            " create_text_block create_tool_call create_video_block ensure_id is_data_content_block"
        ),
        "modelwire.messages.conversion": (
            "_message_from_dict convert_to_message convert_to_messages message_chunk_to_message message_to_dict"
            " messages_from_dict messages_to_dict"
        ),
        "modelwire.messages.counting": "count_tokens_approximately",
        "modelwire.messages.data_blocks": "convert_to_openai_data_block convert_to_openai_image_block",
        "modelwire.messages.function": "FunctionMessage FunctionMessageChunk",
        "modelwire.messages.history": "filter_messages merge_message_runs",
        "modelwire.messages.human": "HumanMessage HumanMessageChunk",
        "modelwire.messages.merge": "merge_content merge_dicts merge_lists merge_obj",
        "modelwire.messages.modifier": "RemoveMessage",
        "modelwire.messages.openai_messages": "convert_to_openai_messages",
        "modelwire.messages.partial_json": "parse_partial_json",
        "modelwire.messages.system": "SystemMessage SystemMessageChunk",
        "modelwire.messages.tool": "ToolMessage ToolMessageChunk",
        "modelwire.messages.tool_calls": (
            "InvalidToolCall ToolCall ToolCallChunk invalid_tool_call tool_call tool_call_chunk"
        ),
        "modelwire.messages.transcript": "get_buffer_string",
        "modelwire.messages.trimming": "trim_messages",
        "modelwire.messages.usage": "InputTokenDetails OutputTokenDetails UsageMetadata add_usage subtract_usage",
    },
)

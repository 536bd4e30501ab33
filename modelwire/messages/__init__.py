"""The values of a conversation: messages, their chunks and sums, content blocks, tool calls, usage. No I/O.

Names load when first used: reading one answer does not load what prompts or trimming need.
"""
# ruff: noqa: F403 - type checkers read these imports; a test compares them with the table below

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.messages.ai import *
    from modelwire.messages.any_message import *
    from modelwire.messages.base import *
    from modelwire.messages.block_readers import *
    from modelwire.messages.chat import *
    from modelwire.messages.content import *
    from modelwire.messages.conversion import *
    from modelwire.messages.counting import *
    from modelwire.messages.files import *
    from modelwire.messages.filtering import *
    from modelwire.messages.function import *
    from modelwire.messages.human import *
    from modelwire.messages.merge import *
    from modelwire.messages.modifier import *
    from modelwire.messages.partial_json import *
    from modelwire.messages.system import *
    from modelwire.messages.tool import *
    from modelwire.messages.tool_calls import *
    from modelwire.messages.transcript import *
    from modelwire.messages.trimming import *
    from modelwire.messages.usage import *

__getattr__, __dir__, __all__ = lazy.exports(
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
        "modelwire.messages.files": "from_path from_url",
        "modelwire.messages.function": "FunctionMessage FunctionMessageChunk",
        "modelwire.messages.filtering": "filter_messages merge_message_runs",
        "modelwire.messages.human": "HumanMessage HumanMessageChunk",
        "modelwire.messages.merge": "merge_content merge_dicts merge_lists merge_obj",
        "modelwire.messages.modifier": "RemoveMessage",
        "modelwire.messages.partial_json": "parse_partial_json",
        "modelwire.messages.system": "SystemMessage SystemMessageChunk",
        "modelwire.messages.tool": "ToolMessage ToolMessageChunk",
        "modelwire.messages.tool_calls": (
            "InvalidToolCall ToolCall ToolCallChunk invalid_tool_call tool_call tool_call_chunk"
        ),
        "modelwire.messages.transcript": "get_buffer_string",
        "modelwire.messages.trimming": "trim_messages",
        "modelwire.messages.usage": "InputTokenDetails OutputTokenDetails UsageMetadata add_usage subtract_usage",
        "modelwire.messages.block_readers": (
            "convert_to_openai_data_block convert_to_openai_image_block convert_to_openai_messages"
        ),
    },
)

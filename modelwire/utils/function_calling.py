"""Conversion of functions and schemas to tools, under the path that LangChain scripts import it from."""

from __future__ import annotations

from modelwire.tools.function_calling import (
    convert_to_json_schema,
    convert_to_openai_function,
    convert_to_openai_tool,
    tool_example_to_messages,
)

__all__ = [
    "convert_to_json_schema",
    "convert_to_openai_function",
    "convert_to_openai_tool",
    "tool_example_to_messages",
]

"""Tools that a model may call, made from functions, classes and runnables. Names load when first used."""
# ruff: noqa: F403 - type checkers read these imports; a test compares them with the table below

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.tools.approval import *
    from modelwire.tools.args_schema import (
        create_schema_from_function as create_schema_from_function,
    )
    from modelwire.tools.base import FILTERED_ARGS as FILTERED_ARGS
    from modelwire.tools.base import ArgsSchema as ArgsSchema
    from modelwire.tools.base import BaseTool as BaseTool
    from modelwire.tools.base import InjectedToolArg as InjectedToolArg
    from modelwire.tools.base import InjectedToolCallId as InjectedToolCallId
    from modelwire.tools.base import SchemaAnnotationError as SchemaAnnotationError
    from modelwire.tools.base import ToolException as ToolException
    from modelwire.tools.convert import *
    from modelwire.tools.function_calling import (
        convert_to_anthropic_tool as convert_to_anthropic_tool,
    )
    from modelwire.tools.function_calling import convert_to_json_schema as convert_to_json_schema
    from modelwire.tools.function_calling import (
        convert_to_openai_function as convert_to_openai_function,
    )
    from modelwire.tools.function_calling import convert_to_openai_tool as convert_to_openai_tool
    from modelwire.tools.loop import *
    from modelwire.tools.render import *
    from modelwire.tools.retriever import *
    from modelwire.tools.simple import *
    from modelwire.tools.structured import *

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.tools.approval": "Approve Changed Decision Declined Later RunAgain ToolRequest",
        "modelwire.tools.args_schema": "create_schema_from_function",
        "modelwire.tools.base": (
            "FILTERED_ARGS ArgsSchema BaseTool InjectedToolArg InjectedToolCallId SchemaAnnotationError ToolException"
        ),
        "modelwire.tools.convert": "convert_runnable_to_tool tool",
        "modelwire.tools.function_calling": (
            "convert_to_anthropic_tool convert_to_json_schema convert_to_openai_function convert_to_openai_tool"
        ),
        "modelwire.tools.loop": "ToolCallStarted arun_tools astream_tools run_tools stream_tools",
        "modelwire.tools.render": "BaseToolkit ToolsRenderer render_text_description render_text_description_and_args",
        "modelwire.tools.retriever": "RetrieverInput create_retriever_tool",
        "modelwire.tools.simple": "Tool",
        "modelwire.tools.structured": "StructuredTool",
    },
)

"""Descriptions of tools as text for prompts, and sets of tools."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from inspect import signature
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict

from modelwire.tools.base import BaseTool

__all__ = [
    "BaseToolkit",
    "ToolsRenderer",
    "render_text_description",
    "render_text_description_and_args",
]

ToolsRenderer: TypeAlias = Callable[[list[BaseTool]], str]


class BaseToolkit(BaseModel, ABC):
    """A set of tools that belong together: subclass it with `get_tools`."""

    model_config = ConfigDict(arbitrary_types_allowed=True, defer_build=True)

    @abstractmethod
    def get_tools(self) -> list[BaseTool]:
        """Return the tools."""


def render_text_description(tools: Sequence[BaseTool]) -> str:
    """Return one line for each tool: its name, its parameters if it was made from a function, and its description."""
    return "\n".join(_line(tool) for tool in tools)


def render_text_description_and_args(tools: Sequence[BaseTool]) -> str:
    """Return one line for each tool, as `render_text_description` does, with the schema of its arguments."""
    return "\n".join(f"{_line(tool)}, args: {tool.args}" for tool in tools)


def _line(tool: BaseTool) -> str:
    func = getattr(tool, "func", None)
    return f"{tool.name}{signature(func) if func is not None else ''} - {tool.description}"

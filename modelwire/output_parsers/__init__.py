"""Output parsers turn a model's answer into a value. Names load when first used."""
# ruff: noqa: F403 - type checkers read these imports; a test compares them with the table below

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.output_parsers.base import *
    from modelwire.output_parsers.json import *
    from modelwire.output_parsers.list import *
    from modelwire.output_parsers.openai_tools import (
        JsonOutputKeyToolsParser as JsonOutputKeyToolsParser,
    )
    from modelwire.output_parsers.openai_tools import JsonOutputToolsParser as JsonOutputToolsParser
    from modelwire.output_parsers.openai_tools import PydanticToolsParser as PydanticToolsParser
    from modelwire.output_parsers.pydantic import *
    from modelwire.output_parsers.string import *
    from modelwire.output_parsers.transform import *

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.output_parsers.base": "BaseGenerationOutputParser BaseLLMOutputParser BaseOutputParser",
        "modelwire.output_parsers.json": "JsonOutputParser SimpleJsonOutputParser",
        "modelwire.output_parsers.list": (
            "CommaSeparatedListOutputParser ListOutputParser MarkdownListOutputParser NumberedListOutputParser"
        ),
        "modelwire.output_parsers.openai_tools": "JsonOutputKeyToolsParser JsonOutputToolsParser PydanticToolsParser",
        "modelwire.output_parsers.pydantic": "PydanticOutputParser",
        "modelwire.output_parsers.string": "StrOutputParser",
        "modelwire.output_parsers.transform": "BaseCumulativeTransformOutputParser BaseTransformOutputParser",
    },
)

"""Output parsers: from what a model said to a value. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.output_parsers.base import BaseGenerationOutputParser as BaseGenerationOutputParser
    from modelwire.output_parsers.base import BaseLLMOutputParser as BaseLLMOutputParser
    from modelwire.output_parsers.base import BaseOutputParser as BaseOutputParser
    from modelwire.output_parsers.json import JsonOutputParser as JsonOutputParser
    from modelwire.output_parsers.json import SimpleJsonOutputParser as SimpleJsonOutputParser
    from modelwire.output_parsers.list import CommaSeparatedListOutputParser as CommaSeparatedListOutputParser
    from modelwire.output_parsers.list import ListOutputParser as ListOutputParser
    from modelwire.output_parsers.list import MarkdownListOutputParser as MarkdownListOutputParser
    from modelwire.output_parsers.list import NumberedListOutputParser as NumberedListOutputParser
    from modelwire.output_parsers.openai_tools import JsonOutputKeyToolsParser as JsonOutputKeyToolsParser
    from modelwire.output_parsers.openai_tools import JsonOutputToolsParser as JsonOutputToolsParser
    from modelwire.output_parsers.openai_tools import PydanticToolsParser as PydanticToolsParser
    from modelwire.output_parsers.pydantic import PydanticOutputParser as PydanticOutputParser
    from modelwire.output_parsers.string import StrOutputParser as StrOutputParser
    from modelwire.output_parsers.transform import (
        BaseCumulativeTransformOutputParser as BaseCumulativeTransformOutputParser,
    )
    from modelwire.output_parsers.transform import BaseTransformOutputParser as BaseTransformOutputParser

__getattr__, __dir__, __all__ = _lazy.exports(
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

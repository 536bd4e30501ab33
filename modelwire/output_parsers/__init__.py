"""Output parsers: from what a model said to a value. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.output_parsers.base import BaseGenerationOutputParser as BaseGenerationOutputParser
    from modelwire.output_parsers.base import BaseLLMOutputParser as BaseLLMOutputParser
    from modelwire.output_parsers.base import BaseOutputParser as BaseOutputParser
    from modelwire.output_parsers.string import StrOutputParser as StrOutputParser
    from modelwire.output_parsers.transform import (
        BaseCumulativeTransformOutputParser as BaseCumulativeTransformOutputParser,
    )
    from modelwire.output_parsers.transform import BaseTransformOutputParser as BaseTransformOutputParser

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.output_parsers.base": ["BaseGenerationOutputParser", "BaseLLMOutputParser", "BaseOutputParser"],
        "modelwire.output_parsers.string": ["StrOutputParser"],
        "modelwire.output_parsers.transform": ["BaseCumulativeTransformOutputParser", "BaseTransformOutputParser"],
    },
)

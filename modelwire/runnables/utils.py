"""Names that LangChain scripts import from `runnables.utils`; each lives in the module it is of."""

from __future__ import annotations

from modelwire.runnables.addable import AddableDict, aadd, add
from modelwire.runnables.base import Input, Output
from modelwire.runnables.fields import (
    AnyConfigurableField,
    ConfigurableField,
    ConfigurableFieldMultiOption,
    ConfigurableFieldSingleOption,
    ConfigurableFieldSpec,
    get_unique_config_specs,
)

__all__ = [
    "AddableDict", "AnyConfigurableField", "ConfigurableField", "ConfigurableFieldMultiOption",
    "ConfigurableFieldSingleOption", "ConfigurableFieldSpec", "Input", "Output", "aadd", "add",
    "get_unique_config_specs",
]  # fmt: skip

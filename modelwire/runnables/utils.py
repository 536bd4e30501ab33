"""Names that LangChain scripts import from `runnables.utils`; each lives in the module it is of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.runnables.addable import AddableDict as AddableDict
    from modelwire.runnables.addable import aadd as aadd
    from modelwire.runnables.addable import add as add
    from modelwire.runnables.base import Input as Input
    from modelwire.runnables.base import Output as Output
    from modelwire.runnables.fields import AnyConfigurableField as AnyConfigurableField
    from modelwire.runnables.fields import ConfigurableField as ConfigurableField
    from modelwire.runnables.fields import ConfigurableFieldMultiOption as ConfigurableFieldMultiOption
    from modelwire.runnables.fields import ConfigurableFieldSingleOption as ConfigurableFieldSingleOption
    from modelwire.runnables.fields import ConfigurableFieldSpec as ConfigurableFieldSpec
    from modelwire.runnables.fields import get_unique_config_specs as get_unique_config_specs

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.runnables.addable": "AddableDict aadd add",
        "modelwire.runnables.base": "Input Output",
        "modelwire.runnables.fields": (
            "AnyConfigurableField ConfigurableField ConfigurableFieldMultiOption ConfigurableFieldSingleOption"
            " ConfigurableFieldSpec get_unique_config_specs"
        ),
    },
)

"""How work composes: runnables, sequences, parallels, functions. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.runnables.addable import AddableDict as AddableDict
    from modelwire.runnables.addable import aadd as aadd
    from modelwire.runnables.addable import add as add
    from modelwire.runnables.base import Runnable as Runnable
    from modelwire.runnables.base import RunnableLike as RunnableLike
    from modelwire.runnables.base import coerce_to_runnable as coerce_to_runnable
    from modelwire.runnables.binding import RunnableBinding as RunnableBinding
    from modelwire.runnables.branch import RunnableBranch as RunnableBranch
    from modelwire.runnables.branch import RunnableRoute as RunnableRoute
    from modelwire.runnables.branch import route as route
    from modelwire.runnables.config import RunnableConfig as RunnableConfig
    from modelwire.runnables.config import ensure_config as ensure_config
    from modelwire.runnables.config import get_config_list as get_config_list
    from modelwire.runnables.config import merge_configs as merge_configs
    from modelwire.runnables.config import patch_config as patch_config
    from modelwire.runnables.config import run_in_executor as run_in_executor
    from modelwire.runnables.configurable import RunnableConfigurableAlternatives as RunnableConfigurableAlternatives
    from modelwire.runnables.configurable import RunnableConfigurableFields as RunnableConfigurableFields
    from modelwire.runnables.each import RunnableEach as RunnableEach
    from modelwire.runnables.fallbacks import RunnableWithFallbacks as RunnableWithFallbacks
    from modelwire.runnables.fields import ConfigurableField as ConfigurableField
    from modelwire.runnables.fields import ConfigurableFieldMultiOption as ConfigurableFieldMultiOption
    from modelwire.runnables.fields import ConfigurableFieldSingleOption as ConfigurableFieldSingleOption
    from modelwire.runnables.fields import ConfigurableFieldSpec as ConfigurableFieldSpec
    from modelwire.runnables.functions import RunnableGenerator as RunnableGenerator
    from modelwire.runnables.functions import RunnableLambda as RunnableLambda
    from modelwire.runnables.functions import chain as chain
    from modelwire.runnables.history import RunnableWithMessageHistory as RunnableWithMessageHistory
    from modelwire.runnables.parallel import RunnableMap as RunnableMap
    from modelwire.runnables.parallel import RunnableParallel as RunnableParallel
    from modelwire.runnables.passthrough import RunnableAssign as RunnableAssign
    from modelwire.runnables.passthrough import RunnablePassthrough as RunnablePassthrough
    from modelwire.runnables.passthrough import RunnablePick as RunnablePick
    from modelwire.runnables.retry import RunnableRetry as RunnableRetry
    from modelwire.runnables.router import RouterInput as RouterInput
    from modelwire.runnables.router import RouterRunnable as RouterRunnable
    from modelwire.runnables.sequence import RunnableSequence as RunnableSequence
    from modelwire.runnables.serializable import RunnableSerializable as RunnableSerializable

__getattr__, __dir__, __all__ = _lazy.exports(
    __name__,
    {
        "modelwire.runnables.addable": "AddableDict aadd add",
        "modelwire.runnables.base": "Runnable RunnableLike coerce_to_runnable",
        "modelwire.runnables.binding": "RunnableBinding",
        "modelwire.runnables.branch": "RunnableBranch RunnableRoute route",
        "modelwire.runnables.config": (
            "RunnableConfig ensure_config get_config_list merge_configs patch_config run_in_executor"
        ),
        "modelwire.runnables.configurable": "RunnableConfigurableAlternatives RunnableConfigurableFields",
        "modelwire.runnables.each": "RunnableEach",
        "modelwire.runnables.fallbacks": "RunnableWithFallbacks",
        "modelwire.runnables.fields": (
            "ConfigurableField ConfigurableFieldMultiOption ConfigurableFieldSingleOption ConfigurableFieldSpec"
        ),
        "modelwire.runnables.functions": "RunnableGenerator RunnableLambda chain",
        "modelwire.runnables.history": "RunnableWithMessageHistory",
        "modelwire.runnables.parallel": "RunnableMap RunnableParallel",
        "modelwire.runnables.passthrough": "RunnableAssign RunnablePassthrough RunnablePick",
        "modelwire.runnables.retry": "RunnableRetry",
        "modelwire.runnables.router": "RouterInput RouterRunnable",
        "modelwire.runnables.sequence": "RunnableSequence",
        "modelwire.runnables.serializable": "RunnableSerializable",
    },
)

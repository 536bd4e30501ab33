"""Composition of work: runnables, sequences, parallels, functions. Names load when first used."""
# ruff: noqa: F403 - type checkers read these imports; a test compares them with the table below

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.runnables.addable import *
    from modelwire.runnables.base import Runnable as Runnable
    from modelwire.runnables.base import RunnableLike as RunnableLike
    from modelwire.runnables.base import coerce_to_runnable as coerce_to_runnable
    from modelwire.runnables.binding import *
    from modelwire.runnables.branch import *
    from modelwire.runnables.config import RunnableConfig as RunnableConfig
    from modelwire.runnables.config import ensure_config as ensure_config
    from modelwire.runnables.config import get_config_list as get_config_list
    from modelwire.runnables.config import merge_configs as merge_configs
    from modelwire.runnables.config import patch_config as patch_config
    from modelwire.runnables.config import run_in_executor as run_in_executor
    from modelwire.runnables.configurable import *
    from modelwire.runnables.each import *
    from modelwire.runnables.fallbacks import *
    from modelwire.runnables.fields import ConfigurableField as ConfigurableField
    from modelwire.runnables.fields import (
        ConfigurableFieldMultiOption as ConfigurableFieldMultiOption,
    )
    from modelwire.runnables.fields import (
        ConfigurableFieldSingleOption as ConfigurableFieldSingleOption,
    )
    from modelwire.runnables.fields import ConfigurableFieldSpec as ConfigurableFieldSpec
    from modelwire.runnables.functions import *
    from modelwire.runnables.history import *
    from modelwire.runnables.parallel import *
    from modelwire.runnables.passthrough import *
    from modelwire.runnables.retry import RunnableRetry as RunnableRetry
    from modelwire.runnables.router import *
    from modelwire.runnables.sequence import *
    from modelwire.runnables.serializable import *

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.runnables.addable": "AddableDict aadd add",
        "modelwire.runnables.base": "Runnable RunnableLike coerce_to_runnable",
        "modelwire.runnables.binding": "RunnableBinding",
        "modelwire.runnables.branch": "RunnableBranch RunnableRoute route",
        "modelwire.runnables.config": (
            "RunnableConfig ensure_config get_config_list merge_configs patch_config run_in_executor"
        ),
        "modelwire.runnables.configurable": (
            "DynamicRunnable RunnableConfigurableAlternatives RunnableConfigurableFields"
        ),
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

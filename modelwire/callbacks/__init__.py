"""Callbacks: handlers, the managers that call them, and hooks that add handlers from a context.

Names load when first used, so that a program without callbacks pays only for the check `listening`.
"""
# ruff: noqa: F403 - type checkers read these imports; a test compares them with the table below

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import lazy

if TYPE_CHECKING:
    from modelwire.callbacks.base import *
    from modelwire.callbacks.custom import adispatch_custom_event as adispatch_custom_event
    from modelwire.callbacks.custom import dispatch_custom_event as dispatch_custom_event
    from modelwire.callbacks.delivery import *
    from modelwire.callbacks.hooks import *
    from modelwire.callbacks.manager import *
    from modelwire.callbacks.printing import *
    from modelwire.callbacks.usage import *

__getattr__, __dir__, __all__ = lazy.exports(
    __name__,
    {
        "modelwire.callbacks.base": "AsyncCallbackHandler BaseCallbackHandler BaseCallbackManager Callbacks",
        "modelwire.callbacks.custom": "adispatch_custom_event dispatch_custom_event",
        "modelwire.callbacks.delivery": "ahandle_event handle_event",
        "modelwire.callbacks.hooks": "listening register_configure_hook",
        "modelwire.callbacks.manager": (
            "AsyncCallbackManager AsyncCallbackManagerForChainRun AsyncCallbackManagerForLLMRun"
            " AsyncCallbackManagerForRetrieverRun AsyncCallbackManagerForToolRun AsyncParentRunManager AsyncRunManager"
            " BaseRunManager CallbackManager CallbackManagerForChainRun CallbackManagerForLLMRun"
            " CallbackManagerForRetrieverRun CallbackManagerForToolRun ParentRunManager RunManager"
        ),
        "modelwire.callbacks.printing": "FileCallbackHandler StdOutCallbackHandler StreamingStdOutCallbackHandler",
        "modelwire.callbacks.usage": "UsageMetadataCallbackHandler get_usage_metadata_callback",
    },
)

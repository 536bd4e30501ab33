"""Who hears about a run: handlers, the managers that tell them, and the hooks that add handlers from outside.

Names load when first used, so that a program without callbacks pays only for the check `listening`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from modelwire import _lazy

if TYPE_CHECKING:
    from modelwire.callbacks.base import AsyncCallbackHandler as AsyncCallbackHandler
    from modelwire.callbacks.base import BaseCallbackHandler as BaseCallbackHandler
    from modelwire.callbacks.base import BaseCallbackManager as BaseCallbackManager
    from modelwire.callbacks.base import Callbacks as Callbacks
    from modelwire.callbacks.custom import adispatch_custom_event as adispatch_custom_event
    from modelwire.callbacks.custom import dispatch_custom_event as dispatch_custom_event
    from modelwire.callbacks.delivery import ahandle_event as ahandle_event
    from modelwire.callbacks.delivery import handle_event as handle_event
    from modelwire.callbacks.hooks import listening as listening
    from modelwire.callbacks.hooks import register_configure_hook as register_configure_hook
    from modelwire.callbacks.manager import AsyncCallbackManager as AsyncCallbackManager
    from modelwire.callbacks.manager import AsyncCallbackManagerForChainRun as AsyncCallbackManagerForChainRun
    from modelwire.callbacks.manager import AsyncCallbackManagerForLLMRun as AsyncCallbackManagerForLLMRun
    from modelwire.callbacks.manager import AsyncCallbackManagerForRetrieverRun as AsyncCallbackManagerForRetrieverRun
    from modelwire.callbacks.manager import AsyncCallbackManagerForToolRun as AsyncCallbackManagerForToolRun
    from modelwire.callbacks.manager import AsyncParentRunManager as AsyncParentRunManager
    from modelwire.callbacks.manager import AsyncRunManager as AsyncRunManager
    from modelwire.callbacks.manager import BaseRunManager as BaseRunManager
    from modelwire.callbacks.manager import CallbackManager as CallbackManager
    from modelwire.callbacks.manager import CallbackManagerForChainRun as CallbackManagerForChainRun
    from modelwire.callbacks.manager import CallbackManagerForLLMRun as CallbackManagerForLLMRun
    from modelwire.callbacks.manager import CallbackManagerForRetrieverRun as CallbackManagerForRetrieverRun
    from modelwire.callbacks.manager import CallbackManagerForToolRun as CallbackManagerForToolRun
    from modelwire.callbacks.manager import ParentRunManager as ParentRunManager
    from modelwire.callbacks.manager import RunManager as RunManager
    from modelwire.callbacks.printing import FileCallbackHandler as FileCallbackHandler
    from modelwire.callbacks.printing import StdOutCallbackHandler as StdOutCallbackHandler
    from modelwire.callbacks.printing import StreamingStdOutCallbackHandler as StreamingStdOutCallbackHandler
    from modelwire.callbacks.usage import UsageMetadataCallbackHandler as UsageMetadataCallbackHandler
    from modelwire.callbacks.usage import get_usage_metadata_callback as get_usage_metadata_callback

__getattr__, __dir__, __all__ = _lazy.exports(
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

"""`StreamingStdOutCallbackHandler`, under the path where scripts look for it."""

from modelwire.callbacks.printing import StreamingStdOutCallbackHandler

__all__ = ["StreamingStdOutCallbackHandler"]

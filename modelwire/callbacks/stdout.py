"""`StdOutCallbackHandler`, under the path where scripts look for it."""

from modelwire.callbacks.printing import StdOutCallbackHandler

__all__ = ["StdOutCallbackHandler"]

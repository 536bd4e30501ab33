"""`FileCallbackHandler`, under the path where scripts look for it."""

from modelwire.callbacks.printing import FileCallbackHandler

__all__ = ["FileCallbackHandler"]

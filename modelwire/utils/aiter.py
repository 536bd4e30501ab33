"""Tools for async iterators, under the path where scripts look for them."""

from contextlib import aclosing

__all__ = ["aclosing"]

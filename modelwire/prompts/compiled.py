"""The base of compiled templates; each format has a module with a subclass."""

from __future__ import annotations

from modelwire.aliases import Args, Values


class Template:
    """A compiled template. Each template format has a subclass."""

    __slots__ = ("text", "variables")

    variables: tuple[str, ...]
    """The names of its variables, each once, in order of appearance."""

    def __init__(self, text: str) -> None:
        self.text = text

    def render(self, values: Values) -> str:
        """Return the text with `values` filled in. Raises: `KeyError` for the first missing variable."""
        raise NotImplementedError

    def __reduce__(self) -> Args:
        return type(self), (self.text,)

"""Prompts that are a dict, such as a content block of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelwire.aliases import JSON
from modelwire.errors import InvalidType
from modelwire.prompts.template import BlockTemplate, check_variables
from modelwire.runnables.config import Config, settled
from modelwire.runnables.run import acalled, called
from modelwire.runnables.serializable import RunnableSerializable

__all__ = ["DictPromptTemplate"]


class DictPromptTemplate(RunnableSerializable[dict[str, Any], dict[str, Any]]):
    """A dict with templates for strings at any depth.

    Example:
        DictPromptTemplate({"type": "image", "url": "{url}"}).format(url="https://...")
    """

    template: dict[str, Any]
    template_format: str = "f-string"

    def __init__(self, template: JSON, template_format: str = "f-string", **kwargs: Any) -> None:
        if not isinstance(template, Mapping):
            raise InvalidType(f"`template` must be a dict, not a `{type(template).__name__}`.")
        super().__init__(
            **{"template": dict(template), "template_format": template_format, **kwargs}
        )
        vars(self)["_read"] = BlockTemplate(self.template, template_format)

    @property
    def input_variables(self) -> list[str]:
        """The required variables."""
        read: BlockTemplate = self.__dict__["_read"]
        return sorted(read.variables)

    @property
    def _prompt_type(self) -> str:
        return "dict-prompt"

    def format(self, **kwargs: Any) -> JSON:
        """Return the dict with the variables filled in. Raises: `MissingVariable`."""
        read: BlockTemplate = self.__dict__["_read"]
        try:
            filled: JSON = read.fill(kwargs)
        except KeyError as exc:
            check_variables(self, read.variables, kwargs, exc)
            raise  # No variable is missing, so a value itself has raised the error.
        return filled

    async def aformat(self, **kwargs: Any) -> JSON:
        """Return the dict with the variables filled in. Raises: `MissingVariable`."""
        return self.format(**kwargs)

    def invoke(self, input: JSON, config: Config = None, **kwargs: Any) -> JSON:
        """Return the dict with the variables filled in from a mapping."""
        return called(
            self,
            input,
            settled(config),
            lambda *_: self.format(**_mapping(input)),
            run_type="prompt",
            serialized={},
        )

    async def ainvoke(self, input: JSON, config: Config = None, **kwargs: Any) -> JSON:
        return await acalled(
            self,
            input,
            settled(config),
            lambda *_: self.aformat(**_mapping(input)),
            run_type="prompt",
            serialized={},
        )

    def _loop_native(self) -> bool:
        return True

    def _may_block(self) -> bool:
        return False


def _mapping(input: Any) -> JSON:
    if not isinstance(input, Mapping):
        raise InvalidType(
            f"Expected a mapping as input to `DictPromptTemplate`, not a `{type(input).__name__}`."
        )
    return dict(input)

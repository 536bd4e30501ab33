"""Prompts that are an image by its URL."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field

from modelwire.errors import InvalidArgument, InvalidTemplate
from modelwire.prompt_values import ImagePromptValue, ImageURL, PromptValue
from modelwire.prompts.base import BasePromptTemplate
from modelwire.prompts.template import BlockTemplate, check_variables

__all__ = ["ImagePromptTemplate", "ImagePromptValue", "ImageURL"]

_OWN = frozenset({"url", "path", "detail"})


class ImagePromptTemplate(BasePromptTemplate[ImageURL]):
    """An image's `url` (https or data:) and `detail`, with variables in both. Files are not read.

    Example:
        ImagePromptTemplate(template={"url": "data:image/png;base64,{data}"}).format(data="...")
    """

    template: dict[str, Any] = Field(default_factory=dict)
    template_format: str = "f-string"

    def __init__(
        self,
        *,
        template: dict[str, Any] | None = None,
        template_format: str = "f-string",
        **kwargs: Any,
    ) -> None:
        read = BlockTemplate(template or {}, template_format)
        wanted = sorted({*(kwargs.pop("input_variables", None) or ()), *read.variables})
        if not _OWN.isdisjoint(wanted):
            raise InvalidArgument(
                f"input_variables for the image template cannot contain any of 'url', 'path', or 'detail'."
                f" Found: {sorted(_OWN.intersection(wanted))}."
            )
        self._check(
            {
                "template": template or {},
                "template_format": template_format,
                "input_variables": wanted,
                **kwargs,
            }
        )
        partials = self.partial_variables
        self.input_variables = [name for name in wanted if name not in partials]
        vars(self)["_read"] = read

    @property
    def _prompt_type(self) -> str:
        return "image-prompt"

    def format(self, **kwargs: Any) -> ImageURL:
        """Return the image with the variables filled in; `url` and `detail` may be passed, too.

        Raises: `MissingVariable`, `InvalidTemplate`.
        """
        read: BlockTemplate = self.__dict__["_read"]
        values = self._with_partials(kwargs)
        try:
            filled = {
                **read.fill(values),
                **{name: kwargs[name] for name in _OWN if kwargs.get(name)},
            }
        except KeyError as exc:
            check_variables(self, self.input_variables, kwargs, exc)
            raise  # No variable is missing, so a value itself has raised the error.
        if "path" in filled:
            raise InvalidTemplate(
                "An image prompt reads no files: give the image by `url` (https or data:)."
            )
        if not filled.get("url"):
            raise InvalidTemplate(
                "Must provide url: the image prompt has none in its template, and none was passed."
            )
        wrong = next(
            (name for name in ("url", "detail") if not isinstance(filled.get(name, ""), str)), None
        )
        if wrong is not None:
            raise InvalidTemplate(
                f"{wrong} must be a string, not a `{type(filled[wrong]).__name__}`."
            )
        return cast("ImageURL", filled)

    def format_prompt(self, **kwargs: Any) -> PromptValue:
        return ImagePromptValue(image_url=self.format(**kwargs))

    async def aformat_prompt(self, **kwargs: Any) -> PromptValue:
        return ImagePromptValue(image_url=await self.aformat(**kwargs))

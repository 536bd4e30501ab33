"""The files that a prompt of a job carries: the same for every row, or named by a column of the row."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument
from modelwire.messages import BaseMessage, HumanMessage, from_path, from_url
from modelwire.prompts import BaseMessagePromptTemplate, PromptTemplate


class QuestionWithAttachments(BaseMessagePromptTemplate):
    """A human message with a text and the content blocks of files and URLs.

    Text and places are templates. A relative path begins at `folder`. A row whose file is missing
    or cannot be read fails alone: formatting its message raises `InvalidArgument`.
    """

    def __init__(self, text: str, places: Sequence[str], folder: Path) -> None:
        self.text = PromptTemplate.from_template(text)
        self.places = [PromptTemplate.from_template(place) for place in places]
        self.folder = folder

    @property
    def template(self) -> str:
        """The templates of the text and of the places, one in each line."""
        return "\n".join(part.template for part in (self.text, *self.places))

    @property
    def input_variables(self) -> list[str]:
        """The columns that the text and the places name."""
        return sorted({name for part in (self.text, *self.places) for name in part.input_variables})

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Return the message, with the files read. Raises: `InvalidArgument`."""
        text = {"type": "text", "text": _filled(self.text, kwargs)}
        blocks = [self._block(place, kwargs) for place in self.places]
        return [HumanMessage([text, *blocks])]

    def _block(self, template: PromptTemplate, values: Kwargs) -> Any:
        place = _filled(template, values)
        if not place.strip():
            raise InvalidArgument(f"The row has no attachment: `{template.template}` is empty.")
        if place.startswith(("http://", "https://", "data:")):
            return from_url(place)
        return from_path(self.folder / place)


def _filled(template: PromptTemplate, values: Kwargs) -> str:
    return template.format(**{name: values[name] for name in template.input_variables})

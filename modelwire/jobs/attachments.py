"""Attaches files to the prompt of a job: the same files for every row, or files that a column of the row names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from modelwire.aliases import Kwargs
from modelwire.errors import InvalidArgument
from modelwire.messages import BaseMessage, HumanMessage, from_path, from_url
from modelwire.prompts import BaseMessagePromptTemplate, PromptTemplate


class QuestionWithAttachments(BaseMessagePromptTemplate):
    """A template of a human message with a text, and with a content block for each file or URL.

    `text` and `places` (paths and URLs) may contain columns of the row as `{column}`. A relative
    path starts at `folder`. A row whose file is missing or cannot be read fails alone: formatting
    its message raises `InvalidArgument`.
    """

    def __init__(self, text: str, places: Sequence[str], folder: Path) -> None:
        self._parts = [PromptTemplate.from_template(part) for part in (text, *places)]
        self.folder = folder

    @property
    def template(self) -> str:
        """The templates of the text, the paths and the URLs, one on each line."""
        return "\n".join(part.template for part in self._parts)

    @property
    def input_variables(self) -> list[str]:
        """The columns that the text, the paths and the URLs name, in alphabetical order."""
        names: set[str] = set()
        for part in self._parts:
            names.update(part.input_variables)
        return sorted(names)

    def format_messages(self, **kwargs: Any) -> list[BaseMessage]:
        """Read the files, and return one human message. Raises: `InvalidArgument` for a file that cannot be read."""
        text, *places = self._parts
        blocks: list[Any] = [{"type": "text", "text": _filled(text, kwargs)}]
        blocks += [self._block(place, kwargs) for place in places]
        return [HumanMessage(blocks)]

    def _block(self, template: PromptTemplate, values: Kwargs) -> Any:
        place = _filled(template, values)
        if not place.strip():
            raise InvalidArgument(f"The row has no attachment: `{template.template}` is empty.")
        if place.startswith(("http://", "https://", "data:")):
            return from_url(place)
        return from_path(self.folder / place)


def _filled(template: PromptTemplate, values: Kwargs) -> str:
    return template.format(**{name: values[name] for name in template.input_variables})

"""Parsers for answers that are lists. A stream yields each item as soon as it is complete, as a list of one item."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from modelwire.errors import InvalidArgument
from modelwire.output_parsers.string import text_of
from modelwire.output_parsers.transform import Answers, AsyncAnswers, BaseTransformOutputParser
from modelwire.runnables.closing import aclose, close

__all__ = [
    "CommaSeparatedListOutputParser",
    "ListOutputParser",
    "MarkdownListOutputParser",
    "NumberedListOutputParser",
]


class ItemReader(Protocol):
    """Reads items from a text that arrives in pieces, which may be split anywhere."""

    # `feed` returns the items that `text` completes, `end` those that the end of the text completes.
    def feed(self, text: str) -> list[str]: ...
    def end(self) -> list[str]: ...


class ListOutputParser(BaseTransformOutputParser[list[str]]):
    """A parser of lists; subclasses implement `parse`. A stream holds back the last item until the text is complete."""

    @abstractmethod
    def parse(self, text: str) -> list[str]:
        """Return the items in a text."""

    def _reader(self) -> ItemReader:
        return _ParsedReader(self)

    def _transform(self, input: Answers) -> Iterator[list[str]]:
        reader = self._reader()
        try:
            for chunk in input:
                for item in reader.feed(text_of(chunk, self)):
                    yield [item]
            for item in reader.end():
                yield [item]
        finally:
            close(input)

    async def _atransform(self, input: AsyncAnswers) -> AsyncIterator[list[str]]:
        reader = self._reader()
        try:
            async for chunk in input:
                for item in reader.feed(text_of(chunk, self)):
                    yield [item]
            for item in reader.end():
                yield [item]
        finally:
            await aclose(input)


def _items(reader: ItemReader, text: str) -> list[str]:
    return [*reader.feed(text), *reader.end()]


class CommaSeparatedListOutputParser(ListOutputParser):
    """Reads `one, two, "three, with a comma"`; a line's end also ends an item. An empty text has no items."""

    def parse(self, text: str) -> list[str]:
        return _items(_CommaReader(), text)

    def _reader(self) -> ItemReader:
        if type(self).parse is CommaSeparatedListOutputParser.parse:
            return _CommaReader()
        return super()._reader()

    def get_format_instructions(self) -> str:
        return "Answer with a list of values that are separated by commas, for example: `foo, bar, baz`"

    @property
    def _type(self) -> str:
        return "comma-separated-list"


class _LinePatternParser(ListOutputParser):
    """Reads one item from each line that matches `pattern`: the text of the first group."""

    pattern: str

    def __init__(self, **kwargs: str) -> None:
        super().__init__(**kwargs)
        try:
            groups = re.compile(self.pattern).groups
        except re.error as exc:
            raise InvalidArgument(f"`pattern` is not a regular expression: {exc}.") from exc
        if groups < 1:
            raise InvalidArgument(
                f"`pattern` needs a group, in parentheses, for the item: {self.pattern!r}."
            )

    def parse(self, text: str) -> list[str]:
        return _items(_LineReader(self.pattern), text)

    def _reader(self) -> ItemReader:
        if type(self).parse is _LinePatternParser.parse:
            return _LineReader(self.pattern)
        return super()._reader()


class NumberedListOutputParser(_LinePatternParser):
    """Reads the items of lines such as `1. foo`."""

    # With the lookbehind, matching a long row of digits takes linear time.
    pattern: str = r"(?<!\d)\d+\.\s([^\n]+)"

    def get_format_instructions(self) -> str:
        return "Answer with a numbered list, each item on a line of its own, for example:\n\n1. foo\n\n2. bar\n\n3. baz"

    @property
    def _type(self) -> str:
        return "numbered-list"


class MarkdownListOutputParser(_LinePatternParser):
    """Reads the items of lines such as `- foo` or `* foo`."""

    pattern: str = r"^\s*[-*]\s([^\n]+)$"

    def get_format_instructions(self) -> str:
        return "Answer with a markdown list, each item on a line of its own, for example:\n- foo\n- bar\n- baz"

    @property
    def _type(self) -> str:
        return "markdown-list"


class _CommaReader:
    """Reads comma-separated values: in quotes a comma is text, and `""` is a quote (RFC 4180)."""

    _END = re.compile(r"[,\r\n]")

    def __init__(self) -> None:
        self._item: list[str] = []
        self._state = "start"  # It is "start", "plain", "quoted" or "after quote".
        self._after_comma = False

    def feed(self, text: str) -> list[str]:
        items: list[str] = []
        position = 0
        while position < len(text):
            char = text[position]
            if self._state == "quoted":
                end = text.find('"', position)
                self._item.append(text[position : end if end >= 0 else len(text)])
                position = end + 1 if end >= 0 else len(text)
                self._state = "after quote" if end >= 0 else "quoted"
            elif self._state == "start" and char in " \t":
                position += 1
            elif char == '"' and self._state in ("start", "after quote"):
                if self._state == "after quote":
                    self._item.append('"')
                self._state = "quoted"
                position += 1
            elif char in ",\r\n":
                if char == "," or self._state != "start" or self._after_comma:
                    items.append(self._taken())
                self._after_comma = char == ","
                position += 1
            else:
                stop = self._END.search(text, position)
                end = stop.start() if stop else len(text)
                self._item.append(text[position:end])
                self._state = "plain"
                position = end
        return items

    def end(self) -> list[str]:
        if self._state != "start" or self._after_comma:
            return [self._taken()]
        return []

    def _taken(self) -> str:
        item = "".join(self._item)
        self._item.clear()
        self._state = "start"
        return item


class _LineReader:
    """Reads the items of lines that match a pattern."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)
        self._line: list[str] = []

    def feed(self, text: str) -> list[str]:
        *ended, rest = text.split("\n")
        items: list[str] = []
        for line in ended:
            self._line.append(line)
            items += self.end()
        self._line.append(rest)
        return items

    def end(self) -> list[str]:
        line = "".join(self._line).removesuffix("\r")
        self._line.clear()
        return [match.group(1) for match in self._pattern.finditer(line)]


class _ParsedReader:
    """Reads items by calling the parser's `parse` with the whole text so far; its last item may be incomplete."""

    def __init__(self, parser: ListOutputParser) -> None:
        self._parser = parser
        self._text = ""
        self._emitted = 0

    def feed(self, text: str) -> list[str]:
        self._text += text
        try:
            return self._new(self._parser.parse(self._text)[:-1])
        except ValueError:  # The text so far is not enough.
            return []

    def end(self) -> list[str]:
        if self._text:
            return self._new(self._parser.parse(self._text))
        return []

    def _new(self, items: list[str]) -> list[str]:
        new = items[self._emitted :]
        self._emitted += len(new)
        return new

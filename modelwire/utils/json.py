"""Reading JSON that models write, under the path LangChain scripts import it from."""

from __future__ import annotations

from modelwire.messages.partial_json import parse_partial_json
from modelwire.output_parsers.markdown_json import parse_and_check_json_markdown, parse_json_markdown

__all__ = ["parse_and_check_json_markdown", "parse_json_markdown", "parse_partial_json"]

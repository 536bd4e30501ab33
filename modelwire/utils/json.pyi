from modelwire.messages import parse_partial_json as parse_partial_json
from modelwire.output_parsers.markdown_json import (
    parse_and_check_json_markdown as parse_and_check_json_markdown,
)
from modelwire.output_parsers.markdown_json import parse_json_markdown as parse_json_markdown

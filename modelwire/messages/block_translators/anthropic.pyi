from modelwire.adapters.wires.anthropic.blocks_from_wire import (
    translate_content as translate_content,
)
from modelwire.adapters.wires.anthropic.blocks_from_wire import (
    translate_content_chunk as translate_content_chunk,
)

from modelwire.adapters.wires.openai_responses.blocks_from_wire import (
    translate_content as translate_content,
)
from modelwire.adapters.wires.openai_responses.blocks_from_wire import (
    translate_content_chunk as translate_content_chunk,
)
from modelwire.messages import convert_to_openai_data_block as convert_to_openai_data_block
from modelwire.messages import convert_to_openai_image_block as convert_to_openai_image_block

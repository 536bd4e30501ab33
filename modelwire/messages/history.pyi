from modelwire.messages import filter_messages as filter_messages
from modelwire.messages import merge_message_runs as merge_message_runs

"""An answer that came through a batch, reported as one that came live: to handlers, tracers and trackers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modelwire.adapters.model_run import heard, on_answer, result_of, start_model_run
from modelwire.runnables.config import settled

if TYPE_CHECKING:
    from modelwire.jobs.provider_batch.chain import Split
    from modelwire.messages import AIMessage

__all__ = ["told"]


def told(split: Split, message: AIMessage, value: Any) -> AIMessage:
    """Report the answer to `value`, one start and one end; return it as the model shall say it."""
    if split.model.output_version == "v1":
        from modelwire.messages.block_translators.v1 import as_v1

        message = as_v1(message)
    config = settled(split.config)
    if heard(split.model, config):
        prepared = value if split.before is None else split.before.invoke(value)
        with start_model_run(split.model, split.messages(prepared), config, dict(split.kwargs)) as run:
            run.end(result_of(message))
    if (tell := on_answer.get()) is not None:
        tell(message)
    return message

"""Answers that the provider makes in the background: poll until the answer is final, cancel it if the caller leaves.

Source: https://platform.openai.com/docs/guides/background (openai 3.52, `responses.retrieve`, `responses.cancel`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from modelwire.adapters.model.call_parts import aconnection_of, connection_of
from modelwire.adapters.model.results import chunk_from_message, result_of
from modelwire.adapters.model.run import astart_model_run, start_model_run
from modelwire.adapters.wires.json import read_json
from modelwire.errors import (
    ChatError,
    IncompleteAnswer,
    InvalidArgument,
    MalformedResponse,
    Timeout,
    and_said,
)
from modelwire.messages import AIMessage, HumanMessage
from modelwire.messages.finish_reasons import PENDING_STATUSES
from modelwire.messages.refusals import refusal_in
from modelwire.runnables.config import settled
from modelwire.transport.call import call_flow
from modelwire.transport.drivers import adrive, drive
from modelwire.transport.retry import History, read_retry_after
from modelwire.transport.steps import AnyExchange, Exchange, Pause, Request

if TYPE_CHECKING:
    from modelwire.adapters.model.arguments import Arguments
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.model.refusals import RefusalPolicy
    from modelwire.messages import BaseMessage
    from modelwire.runnables import RunnableConfig
    from modelwire.transport.steps import Flow
    from modelwire.transport.wire import Reply


# The pause before the first poll, and the longest one.
FIRST_POLL_S = 1.0
LONGEST_POLL_S = 10.0
# Each pause between polls is the last one multiplied by this.
_PAUSE_GROWTH = 1.5
# A call that has run out of time waits this long for its cancellation.
_CANCEL_S = 5.0


def _placeholder(id: str) -> AIMessage:
    """Return a placeholder for an answer of which only the id is known."""
    return AIMessage("", id=id, response_metadata={"id": id, "status": "queued"})


def _is_pending(answer: AIMessage) -> bool:
    """Return whether the provider still works on the answer."""
    return answer.response_metadata.get("status") in PENDING_STATUSES


def final_answer(
    model: HTTPChatModel,
    call: AnyExchange,
    answer: AIMessage,
    *,
    first_s: float = FIRST_POLL_S,
) -> AIMessage:
    """Poll until the answer is final, and return it. After the deadline, or on Ctrl-C, the answer is cancelled."""
    poll = _Poll(call, answer, first_s)
    try:
        return drive(poll.flow(), connection_of(model, poll.exchange))
    except BaseException as error:
        if poll.is_to_cancel(error):
            cancellation = poll.cancellation()
            with suppress(Exception):  # The call raises its own error.
                drive(call_flow(cancellation), connection_of(model, cancellation))
        raise


async def afinal_answer(
    model: HTTPChatModel,
    call: AnyExchange,
    answer: AIMessage,
    *,
    first_s: float = FIRST_POLL_S,
) -> AIMessage:
    """Poll until the answer is final, and return it. The deadline, or the task's cancellation, cancels the answer."""
    poll = _Poll(call, answer, first_s)
    try:
        return await adrive(poll.flow(), aconnection_of(model, poll.exchange))
    except BaseException as error:
        if poll.is_to_cancel(error):
            import asyncio

            cancellation = poll.cancellation()
            cancelling = asyncio.ensure_future(
                adrive(call_flow(cancellation), aconnection_of(model, cancellation))
            )
            with suppress(Exception):  # The call raises its own error.
                await asyncio.wait_for(asyncio.shield(cancelling), _CANCEL_S)
        raise


def resume(
    model: HTTPChatModel, id: str, config: RunnableConfig | None, kwargs: Arguments
) -> AIMessage:
    """Poll the answer `id`, which an earlier call started, until it is final, and return it.

    Budgets and callbacks count the polling as a call of its own.
    """
    settings = settled(config)
    messages = _messages(id)
    with start_model_run(model, messages, settings, kwargs) as run:
        call = _call(model, messages, run.config, kwargs)
        answer = _checked(call, final_answer(model, call, _placeholder(id), first_s=0.0))
        run.end(result_of(answer))
    return answer


async def aresume(
    model: HTTPChatModel, id: str, config: RunnableConfig | None, kwargs: Arguments
) -> AIMessage:
    """Poll the answer `id`, which an earlier call started, until it is final, and return it.

    Budgets and callbacks count the polling as a call of its own.
    """
    settings = settled(config)
    messages = _messages(id)
    key = await model._credentials().key(kwargs, settings.get("deadline"))
    async with await astart_model_run(model, messages, settings, kwargs) as run:
        call = _call(model, messages, run.config, kwargs, is_async=True, key=key)
        answer = _checked(call, await afinal_answer(model, call, _placeholder(id), first_s=0.0))
        await run.end(result_of(answer))
    return answer


def _messages(id: str) -> list[BaseMessage]:
    """Return a placeholder for the messages of the earlier call, which are not known here."""
    if not id or not isinstance(id, str):
        raise InvalidArgument(f"`id` is the id of an answer, such as `resp_68...`, not {id!r}.")
    return [HumanMessage(f"(background answer {id})")]


def _call(
    model: HTTPChatModel,
    messages: list[BaseMessage],
    config: RunnableConfig,
    kwargs: Arguments,
    **more: Any,
) -> AnyExchange:
    sent = {**kwargs, "background": True}
    return model._exchange(messages, None, config, sent, stream=False, **more)


def _checked(call: AnyExchange, answer: AIMessage) -> AIMessage:
    return cast("RefusalPolicy", call.hooks.refusals).checked(answer, call)


class _PollWire:
    """The codec of polls: unlike `wire`, it reads an answer that ended without content as a message too."""

    def __init__(self, wire: Any) -> None:
        self.provider: str = wire.provider
        self.answer_url: Any = getattr(wire, "answer_url", None)
        self.stream_decoder = wire.stream_decoder
        self.error = wire.error
        self._decode = wire.decode

    def decode(self, reply: Reply) -> AIMessage:
        """Return the answer in its present state."""
        try:
            return cast("AIMessage", self._decode(reply))
        except MalformedResponse:
            ended = read_json(reply.body, provider=self.provider, what="answer")
            if not isinstance(ended, dict) or ended.get("status") not in (
                "cancelled",
                "incomplete",
            ):
                raise
            names = ("id", "status", "incomplete_details")
            return AIMessage("", response_metadata={name: ended.get(name) for name in names})


class _Poll:
    """Polls one answer. `call` is the request that started it."""

    def __init__(self, call: AnyExchange, answer: AIMessage, first_s: float) -> None:
        self.call = call
        self.first_s = first_s
        self.answer = answer
        self.wire = _PollWire(call.wire)
        self.id = str(answer.response_metadata.get("id") or answer.id or "")
        if not self.id or self.wire.answer_url is None:
            raise InvalidArgument(
                f"`{call.wire.provider}` makes the answer in the background, and it cannot be polled: only an answer "
                "of the Responses API with an id can (`use_responses_api=True`)."
            )
        self.exchange = self._exchange("GET", "")
        # If an earlier call has started the answer, observers see the first poll as the request.
        if first_s == 0.0:
            self.exchange.observers = call.observers

    def flow(self) -> Flow[Any, AIMessage]:
        """Poll until the answer is final; return it, or raise the error that it ended with."""
        pause_s = self.first_s
        retry_after_s: float | None = None
        exchange = self.exchange
        while _is_pending(self.answer):
            yield Pause(self._within(max(pause_s, retry_after_s or 0.0)))
            pause_s = min(max(pause_s * _PAUSE_GROWTH, FIRST_POLL_S), LONGEST_POLL_S)
            try:
                self.answer = yield from call_flow(exchange)
            except ChatError as error:
                if self.call.is_over():
                    raise
                error.message = and_said(
                    error.message,
                    f"The provider may still finish the answer: `resume_response({self.id!r})` returns it.",
                )
                error.args = (error.message,)
                error.partial = error.partial or chunk_from_message(self.answer)
                raise
            retry_after_s = read_retry_after(exchange.response_headers or {})
            # The next poll has a history of its own, and no observers.
            exchange.history = History()
            exchange.observers = ()
        return self._ended()

    def _within(self, pause_s: float) -> float:
        """Return the pause, shortened to end at the call's deadline; raise `Timeout` after the deadline."""
        left_s = self.call.remaining_s()
        if left_s is None:
            return pause_s
        return min(pause_s, left_s)

    def _ended(self) -> AIMessage:
        status = self.answer.response_metadata.get("status")
        if status == "completed" or refusal_in(self.answer) is not None:
            return self.answer
        details = self.answer.response_metadata.get("incomplete_details") or {}
        reason = details.get("reason") if isinstance(details, dict) else None
        named = f" ({reason})" if reason else ""
        raise self.call.signed(
            IncompleteAnswer(
                f"The background answer of `{self.call.wire.provider}` ended as {status}{named}. "
                "The part is in `.partial`.",
                status=200,
                code=None if reason is None else str(reason),
                type=str(status),
                request_id=self.answer.response_metadata.get("request_id"),
                partial=chunk_from_message(self.answer),
            )
        )

    def is_to_cancel(self, error: BaseException) -> bool:
        """Return whether to cancel the pending answer, because of the deadline, Ctrl-C or a cancelled task."""
        left = not isinstance(error, Exception) or (
            isinstance(error, Timeout) and self.call.is_over()
        )
        return left and _is_pending(self.answer)

    def cancellation(self) -> AnyExchange:
        """Return the request that cancels the answer."""
        exchange = self._exchange("POST", "/cancel")
        exchange.deadline = exchange.clock() + _CANCEL_S
        exchange.timeout_s = _CANCEL_S
        return exchange

    def _exchange(self, method: str, action: str) -> AnyExchange:
        call = self.call
        url = self.wire.answer_url(call.url, self.id, action)
        return Exchange(
            Request(url, call.headers, b"", call.model, method),
            self.wire,
            call.policy._replace(limiter=None, patient=False),
            call.hooks._replace(marker=None, refusals=None),
            deadline=call.deadline,
            timeout_s=call.timeout_s,
        )

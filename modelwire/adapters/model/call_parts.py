"""Creates the parts of a call other than its request: the limiter, the policy, the exchange, the connection."""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from random import Random
from typing import TYPE_CHECKING, TypeAlias

from modelwire.adapters.model.arguments import json_bytes, timeouts_of
from modelwire.aliases import Fields
from modelwire.runnables.config import in_batch
from modelwire.transport.connections.closed_network import network_blocks
from modelwire.transport.connections.hook import CONNECTION_HOOKS, hooked
from modelwire.transport.connections.keepalive import Keepalive
from modelwire.transport.connections.select import async_connection, sync_connection
from modelwire.transport.ratelimit.admission import ROUTED_CALL
from modelwire.transport.retry import RetryPolicy
from modelwire.transport.steps import CallPolicy, Exchange, Hooks, Request, Timeouts
from modelwire.transport.wire import WireRequest

if TYPE_CHECKING:
    from modelwire.adapters.model.http import HTTPChatModel
    from modelwire.adapters.wires.wire import Codec
    from modelwire.messages import AIMessage, AIMessageChunk
    from modelwire.runnables import RunnableConfig
    from modelwire.transport.connections.pooled import AsyncPooledConnection, SyncPooledConnection
    from modelwire.transport.ratelimit.limiter import AdaptiveRateLimiter

    ModelExchange: TypeAlias = Exchange[AIMessage, AIMessageChunk]

rng = Random()  # noqa: S311 - spreads retries, keeps no secret

_NO_TIMEOUTS = (None, None)
# The attributes of an SDK's client that name its credential: openai 3.54, also for Azure, and anthropic 2.12, also for
# Bedrock and Vertex.
_NAMED_BY_CLIENT = (
    "api_key",
    "auth_token",
    "aws_access_key",
    "aws_profile",
    "access_token",
    "credentials",
    "_api_key_provider",
    "_azure_ad_token",
    "_azure_ad_token_provider",
)


def new_exchange(
    model: HTTPChatModel,
    codec: Codec,
    request: WireRequest,
    config: RunnableConfig,
    retry_settings: Fields,
    retry: RetryPolicy,
    limiter: AdaptiveRateLimiter | None,
    hooks: Hooks[AIMessage, AIMessageChunk],
    *,
    is_async: bool,
) -> ModelExchange:
    """Return the exchange for an encoded request, with its policy: retries, timeouts, limiter and maximum sizes."""
    client = model._own_client(is_async=is_async)
    timeouts = _timeouts(
        retry_settings["timeout"],
        retry_settings["stream_idle_timeout"],
        _NO_TIMEOUTS if client is None else timeouts_of(client),
        tcp_keepalive=model.tcp_keepalive,
    )
    most_continuations = retry_settings["max_continuations"]
    policy = CallPolicy(
        retry,
        timeouts,
        time.monotonic,
        rng,
        limiter,
        in_batch.get(),
        model.max_response_bytes,
        most_continuations > 0,
        retry_settings["stream_resume"],
    )
    reserved = _reserved_tokens(codec, request.body)
    content = json_bytes(request.body)
    deadline = config.get("deadline")
    exchange = Exchange(
        Request(request.url, request.headers, content, request.model, max_output=reserved),
        codec,
        policy,
        hooks,
        observers=config.get("observers", ()),
        deadline=deadline,
        timeout_s=getattr(deadline, "limit_s", None),
    )
    routed_call = ROUTED_CALL.get()
    if routed_call is not None:
        exchange.belong_to(routed_call)
    if policy.polls and hasattr(codec, "continued"):
        from modelwire.adapters.model.continuation import Continuation

        exchange.continuation = Continuation(
            request, codec.continued, most_continuations, codec.provider
        )
    return exchange


@lru_cache(maxsize=256)
def _timeouts(
    silence_s: float | None,
    idle_s: float | None,
    of_client: tuple[float | None, float | None],
    *,
    tcp_keepalive: bool | tuple[int, int, int],
) -> Timeouts:
    usual = Timeouts()
    connect_s, read_s = (None, silence_s) if silence_s else of_client
    first_byte_s = read_s or usual.first_byte_s
    connect_s = connect_s or min(usual.connect_s, first_byte_s)
    keepalive = usual.keepalive if tcp_keepalive else None
    if isinstance(tcp_keepalive, tuple):
        keepalive = Keepalive(*tcp_keepalive)
    return Timeouts(connect_s, first_byte_s, idle_s or read_s or usual.idle_s, keepalive)


def limiter_of_model(model: HTTPChatModel, request: WireRequest) -> AdaptiveRateLimiter:
    """Return the limiter that all calls with the model's address, credential and name share."""
    from modelwire.transport.ratelimit.registry import limiter_of

    client = model.client or model.async_client
    who = []
    if client is not None:
        who = [getattr(client, name, None) for name in _NAMED_BY_CLIENT]
    elif model.SIGNED_BY:
        who = [getattr(model, name) for name in model.SIGNED_BY]
    return limiter_of(
        request.url,
        request.headers,
        request.model or model.model,
        now=time.monotonic(),
        rng=rng,
        who=who,
        requests_per_minute=model.rpm,
        tokens_per_minute=model.tpm,
    )


def _reserved_tokens(codec: Codec, body: Fields) -> int | None:
    """Return how many output tokens the provider charges to the rate limit in advance; None if that is unknown."""
    if not getattr(codec, "has_output", True):
        return 0
    for name in getattr(codec, "reserves", ()):
        tokens = body.get(name)
        if type(tokens) is int:  # A bool is not a number of tokens.
            return tokens
    return None


def connection_of(model: HTTPChatModel, exchange: ModelExchange) -> SyncPooledConnection:
    """Return the connection for a call: a pooled one, the user's own client, or an SDK's."""
    connection: SyncPooledConnection
    if model.client is not None or model.async_client is not None:
        connection = model._sdk().sync_connection(exchange)
    else:
        connection = sync_connection(exchange, model.http_client, proxy=model.proxy)
    if CONNECTION_HOOKS or network_blocks or "respx" in sys.modules:
        connection = hooked(connection)
    return connection


def aconnection_of(model: HTTPChatModel, exchange: ModelExchange) -> AsyncPooledConnection:
    """Return the connection for an async call; see `connection_of`."""
    connection: AsyncPooledConnection
    if model.client is not None or model.async_client is not None:
        connection = model._sdk().async_connection(exchange)
    else:
        connection = async_connection(
            exchange, model.http_async_client, proxy=model.proxy, engine=model.engine
        )
    if CONNECTION_HOOKS or network_blocks or "respx" in sys.modules:
        connection = hooked(connection)
    return connection

"""Two callers of one address and model have two limiters, whatever it is that says who they are."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from support.raw_server import RawServer

from modelwire.adapters import ChatAnthropic, ChatBedrockConverse, ChatOpenAI
from modelwire.adapters.model.call_parts import limiter_of_model
from modelwire.errors import AuthenticationError
from modelwire.transport.ratelimit.registry import caller_of

anthropic = pytest.importorskip("anthropic")
boto3 = pytest.importorskip("boto3")
botocore_credentials = pytest.importorskip("botocore.credentials")
openai = pytest.importorskip("openai")

ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5},
}


class Renewed(botocore_credentials.RefreshableCredentials):
    """Credentials that would take a request to renew."""

    def __init__(self) -> None:
        super().__init__("a", "s", "t", None, lambda: pytest.fail("it was renewed"), "test")

    def refresh_needed(self, refresh_in: Any = None) -> bool:
        return True


def of_credentials(caller: str) -> dict[str, Any]:
    return {"credentials": botocore_credentials.Credentials(caller, "secret")}


def of_boto3(caller: str) -> dict[str, Any]:
    keys = {"aws_access_key_id": caller, "aws_secret_access_key": "secret"}
    return {"client": boto3.client("bedrock-runtime", "us-east-1", **keys)}


def on_bedrock(of: Callable[[str], dict[str, Any]]) -> Callable[[str], Any]:
    return lambda caller: ChatBedrockConverse(
        model="m", **{"region_name": "us-east-1", **of(caller)}
    )


def by_anthropic(caller: str) -> Any:
    client = anthropic.AnthropicBedrock(
        aws_access_key=caller, aws_secret_key="secret", aws_region="us-east-1"
    )
    return ChatAnthropic(model="m", client=client)


def by_azure(caller: str) -> Any:
    client = openai.AzureOpenAI(
        azure_endpoint="https://me.azure.example",
        api_version="2024-10-21",
        azure_ad_token_provider=lambda: caller,
    )
    return ChatOpenAI(model="m", client=client)


def by_token_of_azure(caller: str) -> Any:
    client = openai.AzureOpenAI(
        azure_endpoint="https://me.azure.example",
        api_version="2024-10-21",
        azure_ad_token=caller,
    )
    return ChatOpenAI(model="m", client=client)


CALLERS: dict[str, Callable[[str], Any]] = {
    "credentials": on_bedrock(of_credentials),
    "a boto3 client": on_bedrock(of_boto3),
    "keys": on_bedrock(
        lambda caller: {"aws_access_key_id": caller, "aws_secret_access_key": "secret"}
    ),
    "a profile": on_bedrock(lambda caller: {"credentials_profile_name": caller}),
    "AnthropicBedrock": by_anthropic,
    "Azure's token": by_token_of_azure,
    "Azure's function": by_azure,
}


def limiter_of(model: Any) -> Any:
    return limiter_of_model(model, model.build_request("hi", stream=False))


@pytest.mark.parametrize("way", CALLERS)
def test_each_caller_has_its_own_limiter(way: str) -> None:
    first, second = CALLERS[way]("caller-a"), CALLERS[way]("caller-b")
    assert limiter_of(first) is not limiter_of(second)
    assert limiter_of(first) is limiter_of(copy.copy(first))
    if way != "Azure's function":  # two functions are two callers
        assert limiter_of(first) is limiter_of(CALLERS[way]("caller-a"))


def test_credentials_that_are_renewed_are_told_apart_without_renewing_them() -> None:
    first, second = Renewed(), Renewed()
    assert caller_of([first]) == caller_of([first]) != caller_of([second])
    del first
    assert caller_of([Renewed()]) != caller_of([second])


def test_the_refusal_of_one_accounts_keys_is_not_the_others() -> None:
    def reply(body: dict[str, Any], status: int = 200, kind: str = "") -> bytes:
        data = json.dumps(body).encode()
        error = f"x-amzn-errortype: {kind}\r\n" if kind else ""
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{error}"
        return f"{head}content-length: {len(data)}\r\n\r\n".encode() + data

    expired = reply({"message": "expired"}, 403, "ExpiredTokenException")
    server = RawServer([])

    def play(peer: Any) -> None:
        is_first = b"Credential=caller-a/" in server.requests[-1]
        peer.sendall(expired if is_first else reply(ANSWER))

    server.script, server.repeat = [[play]], True
    models = [
        ChatBedrockConverse(
            model="m", region_name="us-east-1", base_url=server.url, **of_credentials(caller)
        )
        for caller in ("caller-a", "caller-b")
    ]
    rows = ["a", "b", "c"]
    config: Any = {"max_concurrency": 1}
    refused = models[0].batch(rows, config, return_exceptions=True)
    assert all(isinstance(row, AuthenticationError) for row in refused), refused
    assert [answer.text for answer in models[1].batch(rows, config)] == ["Hello!"] * 3
    server.close()

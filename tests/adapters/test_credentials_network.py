"""With the network closed, what finds and renews credentials stays on this machine as the calls do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.raw_server import answer

from modelwire.adapters import ChatAnthropicVertex, ChatBedrockConverse, ChatVertexAI
from modelwire.adapters.providers import google_credentials
from modelwire.errors import AuthenticationError, InvalidConfig, NetworkBlocked
from modelwire.transport.connections.closed_network import Block

TOKEN_SERVICE = "oauth2.googleapis.com"


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_BEARER_TOKEN_BEDROCK", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)


def of_a_user(token_uri: str = f"https://{TOKEN_SERVICE}/token") -> Any:
    credentials = pytest.importorskip("google.oauth2.credentials")
    return credentials.Credentials(
        None,
        refresh_token="canary-of-the-refresh-token",
        token_uri=token_uri,
        client_id="i",
        client_secret="s",
    )


@pytest.mark.parametrize("made", [ChatVertexAI, ChatAnthropicVertex])
def test_no_token_is_fetched_from_google(
    made: Callable[..., Any], raw_server: Any, colour: Any
) -> None:
    server = raw_server([])
    model = made(model="m", project="p", base_url=server.url, credentials=of_a_user())
    with Block() as block, pytest.raises(NetworkBlocked, match=TOKEN_SERVICE):
        colour.invoke(model, "hi")
    assert block.refused == [TOKEN_SERVICE]
    assert server.requests == []


def test_googles_credentials_are_not_looked_for_at_the_metadata_address(
    raw_server: Any, colour: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("google.auth")
    pytest.importorskip("requests")
    monkeypatch.delenv("NO_GCE_CHECK", raising=False)
    model = ChatVertexAI(model="m", project="p", base_url=raw_server([]).url)
    with Block() as block, pytest.raises(NetworkBlocked):
        colour.invoke(model, "hi")
    assert block.refused


def test_a_proxy_on_this_machine_is_no_way_out_for_a_token(
    raw_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = raw_server([])
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v1"))
    model = ChatVertexAI(
        model="m", project="p", base_url=raw_server([]).url, credentials=of_a_user()
    )
    with Block(), pytest.raises(NetworkBlocked, match=TOKEN_SERVICE):
        model.invoke("hi")
    assert proxy.requests == []


def test_a_token_service_on_this_machine_answers(raw_server: Any, colour: Any) -> None:
    refused = answer(json.dumps({"error": "invalid_grant"}).encode(), status=400)
    service = raw_server([[refused]], repeat=True)
    model = ChatVertexAI(
        model="m", project="p", base_url=service.url, credentials=of_a_user(service.url)
    )
    with Block() as block, pytest.raises(AuthenticationError, match="invalid_grant"):
        colour.invoke(model, "hi")
    assert not block.refused
    assert b"canary-of-the-refresh-token" in service.requests[0]


def test_no_credentials_of_aws_are_looked_for_at_the_metadata_address(
    raw_server: Any, colour: Any
) -> None:
    pytest.importorskip("botocore")
    server = raw_server([])
    model = ChatBedrockConverse(model="m", region_name="us-east-1", base_url=server.url)
    with Block() as block, pytest.raises(NetworkBlocked, match=r"169\.254\.169\.254"):
        colour.invoke(model, "hi")
    assert set(block.refused) == {"169.254.169.254"}
    assert server.requests == []


def test_no_web_identity_goes_to_the_token_service_of_aws(
    raw_server: Any, colour: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("botocore")
    (tmp_path / "token").write_text("canary-of-the-identity")
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/r")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    model = ChatBedrockConverse(model="m", region_name="us-east-1", base_url=raw_server([]).url)
    with Block() as block, pytest.raises(NetworkBlocked, match=r"sts\..*amazonaws\.com"):
        colour.invoke(model, "hi")
    assert block.refused


def test_certificates_that_cannot_be_read_are_an_error_of_ours_for_googles_tokens_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("google.auth")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "gone.pem"))
    with pytest.raises(InvalidConfig, match=r"names .*gone\.pem"):
        google_credentials._request("http://127.0.0.1:9/token")

"""The client that MCP's conformance suite drives: what a program with `MCPTools` does, and no more.

The suite starts it with the URL of its server; `MCP_CONFORMANCE_SCENARIO` names the scenario, and
`MCP_CONFORMANCE_CONTEXT` has credentials for it. The browser of a login is a plain HTTP client that follows redirects.
"""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.request
from typing import Any
from urllib.parse import urlsplit

import httpx2
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.client.auth.extensions.identity_assertion import IdentityAssertionOAuthProvider

from modelwire.tools import ToolException
from modelwire.tools.mcp import Elicitation, ElicitationAnswer, MCPTools, OAuthLogin

CLIENT_METADATA_URL = "https://conformance-test.local/client-metadata.json"


def visit(url: str) -> None:
    with urllib.request.urlopen(url, timeout=20) as page:
        page.read()


def issuer_of(url: str) -> str:
    """Return the authorization server that the server at `url` names, as a person with credentials for it knows it."""
    parts = urlsplit(url)
    with urllib.request.urlopen(
        f"{parts.scheme}://{parts.netloc}/.well-known/oauth-protected-resource/mcp", timeout=20
    ) as page:
        issuer: str = json.load(page)["authorization_servers"][0]
    return issuer


class Memory:
    """The tokens of one run, as the package's `TokenStorage`."""

    def __init__(self) -> None:
        self.tokens: Any = None
        self.client: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.client

    async def set_client_info(self, client_info: Any) -> None:
        self.client = client_info


def auth_for(scenario: str, url: str, known: dict[str, Any]) -> Any:
    if scenario == "auth/client-credentials-basic":
        provider: Any = ClientCredentialsOAuthProvider(
            url, Memory(), known["client_id"], known["client_secret"], issuer=issuer_of(url)
        )
    elif scenario == "auth/client-credentials-jwt":
        signed = SignedJWTParameters(
            issuer=known["client_id"],
            subject=known["client_id"],
            signing_key=known["private_key_pem"],
            signing_algorithm=known["signing_algorithm"],
        )
        provider = PrivateKeyJWTOAuthProvider(
            url,
            Memory(),
            known["client_id"],
            signed.create_assertion_provider(),
            issuer=issuer_of(url),
        )
    elif scenario == "auth/cross-app-access-complete-flow":
        provider = cross_app_access(url, known)
    elif scenario.startswith("auth/"):
        return OAuthLogin(
            open_url=visit,
            client_id=known.get("client_id"),
            client_secret=known.get("client_secret"),
            client_metadata_url=CLIENT_METADATA_URL,
            login_s=20,
        )
    else:
        return None
    return provider


def cross_app_access(url: str, known: dict[str, Any]) -> Any:
    """Return the provider for a company's identity provider: it exchanges the user's ID token for an assertion."""

    async def assertion(audience: str, resource: str) -> str:
        async with httpx2.AsyncClient() as client:
            answer = await client.post(
                known["idp_token_endpoint"],
                data={
                    "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
                    "requested_token_type": "urn:ietf:params:oauth:token-type:id-jag",
                    "subject_token": known["idp_id_token"],
                    "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
                    "client_id": known["idp_client_id"],
                    "audience": audience,
                    "resource": resource,
                },
            )
        token: str = answer.raise_for_status().json()["access_token"]
        return token

    return IdentityAssertionOAuthProvider(
        server_url=url,
        storage=Memory(),
        client_id=known["client_id"],
        client_secret=known["client_secret"],
        token_endpoint_auth_method="client_secret_basic",
        issuer=issuer_of(url),
        assertion_provider=assertion,
    )


def elicit(question: Elicitation) -> ElicitationAnswer:
    return question.accept()


ARGUMENTS = {"add_numbers": {"a": 5, "b": 3}}


def main() -> None:
    url = sys.argv[1]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    known = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    with MCPTools(url, auth=auth_for(scenario, url, known), elicit=elicit) as tools:
        for tool in tools:
            try:
                print(tool.name, tool.invoke(ARGUMENTS.get(tool.name, {})))
            except ToolException as exc:
                print(f"{tool.name} failed: {exc}")
        if scenario == "sse-retry":
            time.sleep(1)


if __name__ == "__main__":
    main()

"""An MCP server with a login, and its authorization server, on one loopback port: for tests of clients."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


class OAuthMCPServer:
    """Use it in a `with` block. The attributes below may be changed at any time; `seen` has the paths of requests."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.tokens: set[str] = set()  # access tokens that are valid
        self.refresh_tokens: set[str] = set()
        self.expires_in = 3600
        self.refuses_user = False  # the user says no
        self.answers_nonsense = (
            False  # the token endpoint answers with a token in a form that is not valid
        )
        self._codes: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self.url = f"{self.origin}/mcp"

    def __enter__(self) -> OAuthMCPServer:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, path: str) -> int:
        return self.seen.count(path)

    def document(self, path: str) -> dict[str, Any] | None:
        if path.startswith("/.well-known/oauth-protected-resource"):
            return {"resource": self.url, "authorization_servers": [self.origin]}
        if path == "/.well-known/oauth-authorization-server":
            return {
                "issuer": self.origin,
                "authorization_endpoint": f"{self.origin}/authorize",
                "token_endpoint": f"{self.origin}/oauth/token",
                "registration_endpoint": f"{self.origin}/register",
                "code_challenge_methods_supported": ["S256"],
            }
        return None

    def authorize(self, query: dict[str, str]) -> str:
        """Return where the browser goes next."""
        back = {"state": query["state"]}
        if self.refuses_user:
            back |= {"error": "access_denied", "error_description": "The user said no."}
        else:
            back["code"] = secrets.token_urlsafe(8)
            self._codes[back["code"]] = query["code_challenge"]
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def token(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if form["grant_type"] == "refresh_token":
            if form["refresh_token"] not in self.refresh_tokens:
                return 400, {"error": "invalid_grant"}
            self.refresh_tokens.remove(form["refresh_token"])
        else:
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if self._codes.pop(form["code"], None) != challenge:
                return 400, {"error": "invalid_grant"}
        access, refresh = f"sk-access-{secrets.token_hex(8)}", f"sk-refresh-{secrets.token_hex(8)}"
        self.tokens.add(access)
        self.refresh_tokens.add(refresh)
        if self.answers_nonsense:
            return 200, {"token": access, "token_type": "bearer"}
        return 200, {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.expires_in,
            "refresh_token": refresh,
        }


def _answer_of(message: dict[str, Any]) -> dict[str, Any]:
    if message["method"] == "initialize":
        return {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "login", "version": "1"},
        }
    if message["method"] == "tools/list":
        return {"tools": [{"name": "hello", "inputSchema": {"type": "object"}}]}
    if message["method"] == "tools/call":
        return {"content": [{"type": "text", "text": "hello"}]}
    return {}


def _handler(state: OAuthMCPServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            state.seen.append(parts.path)
            if parts.path == "/authorize":
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                self.reply(302, location=state.authorize(query))
            elif (document := state.document(parts.path)) is not None:
                self.reply(200, document)
            else:
                self.reply(405 if parts.path == "/mcp" else 404)

        def do_DELETE(self) -> None:
            self.reply(405)

        def do_POST(self) -> None:
            state.seen.append(self.path)
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/register":
                self.reply(201, {**json.loads(body), "client_id": f"client-{len(state.seen)}"})
            elif self.path == "/oauth/token":
                form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
                self.reply(*state.token(form))
            elif self.headers.get("authorization", "").removeprefix("Bearer ") not in state.tokens:
                where = f"{state.origin}/.well-known/oauth-protected-resource/mcp"
                self.reply(401, **{"www-authenticate": f'Bearer resource_metadata="{where}"'})
            else:
                message = json.loads(body)
                if "id" in message:
                    self.reply(
                        200, {"jsonrpc": "2.0", "id": message["id"], "result": _answer_of(message)}
                    )
                else:
                    self.reply(202)

        def reply(
            self, status: int, document: dict[str, Any] | None = None, **headers: str
        ) -> None:
            body = b"" if document is None else json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler

"""Stores the tokens of MCP servers: a file for each server in the user's folder, which only the user can read.

A file has the tokens, the time when they expire, the client that the authorization server has registered, and the
metadata of that server. With these a later program refreshes the tokens without a login.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

from modelwire.aliases import JSON
from modelwire.errors import DiskError
from modelwire.tools.mcp.package import package
from modelwire.tools.mcp.servers import plain_url
from modelwire.user_paths import owned, user_folder


class TokenStore:
    """The tokens for one URL; it implements the package's `TokenStorage`. Tokens never appear in a repr or an error.

    `context` is the package's `OAuthContext`, which is restored and saved with the tokens.
    """

    def __init__(self, url: str) -> None:
        self.url = plain_url(url)
        digest = sha256(url.partition("#")[0].encode()).hexdigest()
        self.path = user_folder("data") / "mcp" / f"{digest[:32]}.json"
        self.context: Any = None
        self.client: Any = None  # The client that the program names. It replaces the stored one.
        self.is_fresh = False  # True if stored tokens are not used, because the user logs in again.

    def __repr__(self) -> str:
        return f"TokenStore({self.url!r})"

    def has_tokens(self) -> bool:
        """Return whether a login has been stored."""
        return "tokens" in self._read()

    def forget(self) -> bool:
        """Delete the tokens and the client. Return whether there were any."""
        try:
            self.path.unlink()
        except FileNotFoundError:
            return False
        except OSError as exc:
            raise DiskError(f"`{self.path}` cannot be deleted: {exc.strerror}.") from exc
        return True

    def stored_client(self) -> JSON | None:
        """Return the stored registration of this program at the authorization server, or None."""
        client: JSON | None = self._read().get("client")
        return client

    async def get_tokens(self) -> Any:
        """Return the stored tokens, or None. Restore the values of `context` that a refresh needs."""
        record = self._read()
        if self.is_fresh or "tokens" not in record:
            return None
        auth = package("mcp.shared.auth")
        self.context.token_expiry_time = record.get("expires_at")
        if found := record.get("authorization_server"):
            self.context.oauth_metadata = auth.OAuthMetadata.model_validate(found)
        if found := record.get("resource"):
            self.context.protected_resource_metadata = (
                auth.ProtectedResourceMetadata.model_validate(found)
            )
        return auth.OAuthToken.model_validate(record["tokens"])

    async def set_tokens(self, tokens: Any) -> None:
        """Store new tokens."""
        self._write(
            tokens=_plain(tokens),
            expires_at=self.context.token_expiry_time,
            authorization_server=_plain(self.context.oauth_metadata),
            resource=_plain(self.context.protected_resource_metadata),
        )

    async def get_client_info(self) -> Any:
        """Return the registered client, or None."""
        if self.client is not None:
            return self.client
        client = self.stored_client()
        if client is None:
            return None
        return package("mcp.shared.auth").OAuthClientInformationFull.model_validate(client)

    async def set_client_info(self, client_info: Any) -> None:
        """Store a newly registered client."""
        self._write(client=_plain(client_info))

    def _read(self) -> JSON:
        """Return the content of the file; {} if it is missing or damaged, since a login replaces it."""
        try:
            record = from_json(self.path.read_bytes())
        except (OSError, ValueError):
            return {}
        if isinstance(record, dict):
            return record
        return {}

    def _write(self, **changes: Any) -> None:
        """Change entries of the file. A reader sees the old content or the new one, never a part."""
        record = {**self._read(), "url": self.url, **changes}
        text = to_json({name: value for name, value in record.items() if value is not None})
        new = self.path.with_suffix(f".{os.getpid()}.new")
        try:
            _make_private(self.path.parent)
            with suppress(FileNotFoundError):
                new.unlink()  # A killed program may have left it.
            with open(new, "xb", opener=owned) as out:
                out.write(text)
            new.replace(self.path)
        except OSError as exc:
            raise DiskError(f"`{self.path}` cannot be written: {exc.strerror}.") from exc


def _make_private(folder: Path) -> None:
    """Create a folder if it does not exist, and restrict it to its owner."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


def _plain(value: Any) -> Any:
    """Return an object of the package as a JSON value; None for None."""
    if value is None:
        return None
    return value.model_dump(mode="json", exclude_none=True)

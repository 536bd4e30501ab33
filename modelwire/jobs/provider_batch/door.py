"""The way to a provider's Batch API: the official SDK's client, as our model, with errors of ours.

Of an SDK only its `get` and `post` are used, with `cast_to=httpx2.Response` (openai 3.52, anthropic 2.11), so that what
is read is what was sent. Redirects are not followed: they would carry the key elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol

from pydantic_core import from_json

from modelwire.errors import (
    DiskError,
    IncompleteStream,
    InvalidArgument,
    JobStopped,
    MalformedResponse,
    MissingDependency,
)

if TYPE_CHECKING:
    from modelwire.adapters.base import WireChatModel
    from modelwire.adapters.codec import Codec
    from modelwire.jobs.provider_batch.ledger import Part
    from modelwire.messages import AIMessage
    from modelwire.transport.wire import WireRequest

__all__ = ["BatchApi", "Door", "Look", "Made", "RowReply", "api_of"]

TIMEOUT_S = 60.0
UPLOAD_TIMEOUT_S = 600.0  # of silence: a file of 200 MB is taken in before a word is said
DOWNLOAD_TRIES = 5


class Made(NamedTuple):
    """A batch at the provider's. `guessed` where nothing of it says whose it is."""

    batch_id: str
    expires_at: float
    guessed: bool = False


class Look(NamedTuple):
    """How a batch stands."""

    ended: bool
    outcome: str  # completed, expired, cancelled, failed; "" while it runs
    total: int
    done: int  # answered, as far as the provider says; of those, `failed`
    failed: int
    remote: tuple[str, ...] = ()  # where the results are
    errors: tuple[Mapping[str, Any], ...] = ()  # of the whole batch: `code`, `line`, `message`


class RowReply(NamedTuple):
    """What a line of results says. `status` is HTTP's, None where the row was not asked."""

    custom_id: str
    kind: str  # succeeded, errored, expired, cancelled
    status: int | None
    body: Any
    request_id: str | None


class BatchApi(Protocol):
    """What the two Batch APIs are to a job."""

    name: str
    max_rows: int  # of one batch
    max_bytes: int
    head: bytes  # what the file of a part has before, between and after its rows
    between: bytes
    tail: bytes

    def row(self, custom_id: str, request: WireRequest, path: str) -> bytes: ...
    def newest(self, door: Door) -> str | None: ...
    def upload(self, door: Door, part: Part, path: Path, job: str) -> str | None: ...
    def find(self, door: Door, part: Part, job: str, taken: set[str]) -> list[Made]: ...
    def create(self, door: Door, part: Part, path: Path, job: str, about: Mapping[str, Any]) -> Made: ...
    def look(self, door: Door, batch_id: str) -> Look: ...
    def cancel(self, door: Door, batch_id: str) -> None: ...
    def delete(self, door: Door, part: Part) -> None: ...
    def read(self, line: bytes) -> RowReply: ...


def api_of(shape: str) -> BatchApi:
    """Return the Batch API of a kind of models, "openai" or "anthropic"."""
    if shape == "anthropic":
        from modelwire.jobs.provider_batch.anthropic_api import AnthropicBatches

        return AnthropicBatches()
    from modelwire.jobs.provider_batch.openai_api import OpenAIBatches

    return OpenAIBatches()


class Door:
    """An SDK's client for one model; a context, closed at its end when it was made here."""

    def __init__(self, model: WireChatModel, codec: Codec) -> None:
        self.codec = codec
        self._own = model.client is None
        self._client = self._made(model) if self._own else model.client
        self.base_url = str(self._client.base_url).rstrip("/")

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._own:
            self._client.close()

    def _made(self, model: WireChatModel) -> Any:
        endpoint = model._endpoint()
        headers = dict(endpoint.headers)
        by_name = {name.lower(): value for name, value in headers.items()}
        try:
            import httpx2

            client = model.http_client if isinstance(model.http_client, httpx2.Client) else None
            self._own = client is None
            if client is None:
                client = httpx2.Client(proxy=model.proxy, timeout=TIMEOUT_S)
            arguments: dict[str, Any] = {
                "base_url": endpoint.base_url,
                "default_headers": headers,
                "http_client": client,
            }
            if model.TOOL_SHAPE == "anthropic":
                from anthropic import Anthropic

                from modelwire.adapters.anthropic.messages_codec import ANTHROPIC_VERSION

                arguments["base_url"] = endpoint.base_url.removesuffix("/v1")
                arguments["default_headers"] = {"anthropic-version": ANTHROPIC_VERSION, **headers}
                key = by_name.get("x-api-key")
                token = (by_name.get("authorization") or "").removeprefix("Bearer ") or None
                return Anthropic(api_key=key if key or token else "none", auth_token=token, **arguments)
            from openai import OpenAI

            return OpenAI(api_key=(by_name.get("authorization") or "none").removeprefix("Bearer "), **arguments)
        except ImportError as exc:
            raise MissingDependency(f"Batch APIs need the provider's SDK: {exc}.") from exc

    # ------------------------------------------------------------ calls

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask for an object; the SDK tries again by itself."""
        return self._called("get", path, {"params": dict(params or {}), "max_retries": 2})

    def post(self, path: str, *, headers: Mapping[str, str] | None = None, **content: Any) -> dict[str, Any]:
        """Have something done, once: nobody knows what a lost answer said."""
        options = {"headers": dict(headers or {}), "max_retries": 0, "timeout": UPLOAD_TIMEOUT_S}
        return self._called("post", path, options, **content)

    def delete(self, path: str) -> None:
        """Have something removed."""
        self._called("delete", path, {"max_retries": 2})

    def _called(self, method: str, path: str, options: dict[str, Any], **content: Any) -> dict[str, Any]:
        import httpx2

        try:
            response = getattr(self._client, method)(
                path,
                cast_to=httpx2.Response,
                options={"timeout": TIMEOUT_S, "follow_redirects": False, **options},
                **content,
            )
            answered: bytes = response.content
        except Exception as exc:  # noqa: BLE001 - an SDK's or the HTTP client's: it becomes one of ours
            self._raise(exc)
        try:
            data: Any = from_json(answered)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise MalformedResponse(
                f"What the Batch API says at `{path}` is no JSON object.", provider=self.codec.provider
            )
        return data

    def download(self, path: str, file: Path) -> None:
        """Put what is at `path` into `file`, whole; what a broken connection has left is gone on with."""
        part = file.with_name(f"{file.name}.part")
        for left in range(DOWNLOAD_TRIES - 1, -1, -1):
            try:
                self._fetch(path, part)
                break
            except OSError as exc:
                raise DiskError.of(exc, part) from exc
            except Exception as exc:  # noqa: BLE001 - an SDK's or the HTTP client's: it becomes one of ours
                try:
                    self._raise(exc)
                except Exception as ours:
                    if not left or not getattr(ours, "retryable", False):
                        raise
        part.replace(file)

    def _fetch(self, path: str, part: Path) -> None:
        import os

        import httpx2

        have = part.stat().st_size if part.exists() else 0
        headers = {"Accept": "application/octet-stream", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
        try:
            answer = self._client.get(
                path, cast_to=httpx2.Response, stream=True,
                options={"headers": headers, "timeout": TIMEOUT_S, "max_retries": 2, "follow_redirects": False},
            )  # fmt: skip
        except Exception as exc:
            if have and getattr(exc, "status_code", None) == 416:  # all of it is there
                return
            raise
        response = getattr(answer, "response", answer)
        try:
            with open(part, "ab" if response.status_code == 206 else "wb") as file:
                file.writelines(response.iter_bytes())
                file.flush()
                os.fsync(file.fileno())
        finally:
            response.close()
        declared = response.headers.get("content-length")
        begun = have if response.status_code == 206 else 0
        if declared is not None and part.stat().st_size != begun + int(declared):
            raise IncompleteStream("The download ended before its end.", provider=self.codec.provider)

    def _raise(self, exc: BaseException) -> NoReturn:
        """Raise what `exc` is in our words."""
        from modelwire.errors import ModelwireError
        from modelwire.transport.failures import error_of
        from modelwire.transport.wire import Reply

        if isinstance(exc, ModelwireError):
            raise exc
        response = getattr(exc, "response", None)
        if response is not None and getattr(exc, "status_code", None) is not None:
            try:
                body = response.content
            except Exception:  # noqa: BLE001 - the body of an error that was not read: its status says enough
                body = b""
            raise self.codec.error(Reply(response.status_code, response.headers, body, str(response.url))) from None
        wrapped = "APIConnectionError" in (cls.__name__ for cls in type(exc).__mro__)
        cause = exc.__cause__ if wrapped and isinstance(exc.__cause__, Exception) else exc
        origin = self.base_url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        if isinstance(cause, Exception) and (found := error_of(cause, origin=origin)) is not None:
            raise found from cause
        raise InvalidArgument(
            f"The `{type(self._client).__name__}` could not make the call: {type(cause).__name__}: "
            f"{str(cause).partition(chr(10))[0] or 'no reason given'}"
        ) from cause

    def same_origin(self, url: str) -> str:
        """Return `url` if it leads to where the key belongs. Raises `JobStopped` for another place."""
        from urllib.parse import urljoin, urlsplit

        whole = urljoin(f"{self.base_url}/", url)
        ours, theirs = urlsplit(self.base_url), urlsplit(whole)
        if (ours.scheme, ours.hostname, ours.port) != (theirs.scheme, theirs.hostname, theirs.port):
            raise JobStopped(
                f"The results are said to be at `{theirs.scheme}://{theirs.hostname}`, not at the provider's "
                f"`{ours.scheme}://{ours.hostname}`: no key is sent there."
            )
        return whole


def answer_of(codec: Codec, reply: RowReply) -> AIMessage:
    """Return the answer of a row. Raises the error it has instead, as a live call would."""
    from pydantic_core import to_json

    from modelwire.errors import ProviderError, RetryClass
    from modelwire.transport.wire import Reply

    headers = {"x-request-id": reply.request_id, "request-id": reply.request_id} if reply.request_id else {}
    if reply.kind == "succeeded":
        return codec.decode(Reply(200, headers, to_json(reply.body)))
    if reply.kind == "errored":
        raise codec.error(Reply(reply.status or 500, headers, to_json(reply.body)))
    raise ProviderError(
        f"The batch {'was cancelled' if reply.kind == 'cancelled' else 'expired'} before this row was asked.",
        provider=codec.provider, code=f"batch_{reply.kind}", retry_class=RetryClass.TRANSIENT,
    )  # fmt: skip

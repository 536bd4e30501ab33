"""Calls a provider's Batch API through the client of the official SDK or our own, and converts errors to modelwire's.

Of an SDK only `get`, `post` and `delete` are used, with `cast_to=httpx2.Response` (openai 3.52,
anthropic 2.11), so that the raw body is read. Redirects are not followed, since they would send the
key to another host.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import IO, TYPE_CHECKING, Any, cast

from pydantic_core import from_json

from modelwire import errors, ext, lazy
from modelwire.aliases import JSON, Fields, HeaderFields, Kwargs
from modelwire.jobs.batch_api.azure import batch_address
from modelwire.jobs.owned_files import owned

if TYPE_CHECKING:
    from modelwire.adapters.wires.wire import Codec
    from modelwire.ext import HTTPChatModel
    from modelwire.jobs.batch_api import plain_client
    from modelwire.jobs.batch_api.api import RowReply
    from modelwire.messages import AIMessage
else:
    plain_client = lazy.module("modelwire.jobs.batch_api.plain_client")

_TIMEOUT_S = 60.0
# An upload of 200 MB gets no answer before it is complete, so reading may take this long.
_UPLOAD_TIMEOUT_S = 600.0
_DOWNLOAD_TRIES = 5


class BatchClient:
    """A client for the batches of one model, as a context manager.

    At its end it closes the HTTP client only if it has created it.
    """

    def __init__(self, model: HTTPChatModel, codec: Codec) -> None:
        if ext.CONNECTION_HOOKS:
            raise errors.CassetteError(
                "A cassette has calls of models, none of a Batch API: submit the batch outside of it."
            )
        self.codec = codec
        self._own = model.client is None
        # This model has a function that returns its key. It is called before each request, because a
        # key may expire while a job waits.
        self._renewable: HTTPChatModel | None = None
        if self._own and model._asks_for_key():
            self._renewable = model
        # Every request has these headers.
        self._headers: dict[str, Any] = {}
        # The `Date` header of the last answer.
        self._date: str | None = None
        # The values to redact from errors.
        self._carried: Any = SimpleNamespace(headers={}, url="", client=(model.client, None))
        if self._own:
            self._client = self._made(model)
        else:
            self._client = model.client
        self.base_url = str(self._client.base_url).rstrip("/")

    def __enter__(self) -> BatchClient:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._own:
            self._client.close()

    def _made(self, model: HTTPChatModel) -> Any:
        endpoint = model._endpoint()
        address = ext.address_of(endpoint.base_url)
        headers = ext.Headers(endpoint.headers)
        self._carried = SimpleNamespace(
            headers=headers, url=endpoint.base_url, client=(None, model.proxy)
        )
        by_name = {name.lower(): value for name, value in headers.items()}
        if address.basic is not None and "authorization" not in by_name:
            headers["Authorization"] = address.basic
        try:
            import httpx2

            client = None
            if isinstance(model.http_client, httpx2.Client):
                client = model.http_client
            self._own = client is None
            if client is None:
                hooks = {"request": [ext.hide_query]}
                client = httpx2.Client(
                    proxy=model.proxy,
                    timeout=_TIMEOUT_S,
                    event_hooks=hooks,
                    verify=ext.trust_store(),
                )
            base_url, query = batch_address(address.url)
            arguments: Kwargs = {
                "base_url": base_url,
                "default_query": query,
                "default_headers": headers,
                "http_client": client,
            }
            seat = model._wire().sdk
            if seat is None:
                return plain_client.PlainClient(**arguments)
            made, self._headers = seat.make_client(by_name, arguments)
            return made
        except ImportError as exc:
            raise errors.MissingDependency(
                f"Batch APIs need the provider's SDK ({exc}): `pip install 'modelwire[batch]'`, or "
                "`modelwire[openai]` or `modelwire[anthropic]` for one of them."
            ) from exc

    def now_s(self) -> float:
        """Return the time of the provider's last answer in epoch seconds; before the first one, this machine's time."""
        import time
        from email.utils import parsedate_to_datetime

        try:
            return parsedate_to_datetime(self._date or "").timestamp()
        except ValueError:
            return time.time()

    def get(self, path: str, params: Fields | None = None) -> JSON:
        """Send a GET, and return the JSON object of the answer. The SDK retries transient failures."""
        return self._called("get", path, {"params": dict(params or {}), "max_retries": 2})

    def post(self, path: str, *, headers: HeaderFields | None = None, **content: Any) -> JSON:
        """Send a POST once, without retries: if the answer is lost, the provider may have acted on the request."""
        options = {"headers": dict(headers or {}), "max_retries": 0, "timeout": _UPLOAD_TIMEOUT_S}
        return self._called("post", path, options, **content)

    def upload(self, path: str, name: str, size: int, file: IO[bytes]) -> JSON:
        """Upload a file of `size` bytes, and return the provider's description of it. The client must have `upload`."""
        options = {"timeout": _UPLOAD_TIMEOUT_S}
        return self._called("upload", path, options, name=name, size=size, file=file)

    def delete(self, path: str) -> None:
        """Delete a file or a batch."""
        self._called("delete", path, {"max_retries": 2})

    def _now_needed(self) -> JSON:
        """Return the headers of a request. Call the function that returns keys, if there is one, for a fresh key."""
        if self._renewable is None:
            return self._headers
        headers = self._renewable._endpoint().headers
        self._carried.headers.update(headers)
        return {**self._headers, **headers}

    def _called(self, method: str, path: str, options: Kwargs, **content: Any) -> JSON:
        """Call a method of the client, and once more with a fresh key if the provider has refused the key."""
        try:
            return self._called_once(method, path, {**options}, **content)
        except errors.AuthenticationError:
            # The provider has refused the request, so it can be repeated with a fresh key, as
            # direct calls do.
            if self._renewable is None:
                raise
            self._renewable._credentials().expire()
            uploads = [about[1] for about in content.get("files", {}).values()]
            for file in (content.get("content"), content.get("file"), *uploads):
                if file is not None:
                    file.seek(0)
        return self._called_once(method, path, options, **content)

    def _called_once(self, method: str, path: str, options: Kwargs, **content: Any) -> JSON:
        import httpx2

        options["headers"] = ext.Headers({**self._now_needed(), **options.get("headers", {})})
        failed: errors.ModelwireError | None = None
        try:
            with ext.calling(self._client.base_url.host):
                response = getattr(self._client, method)(
                    path,
                    cast_to=httpx2.Response,
                    options={"timeout": _TIMEOUT_S, "follow_redirects": False, **options},
                    **content,
                )
            # Cloud Storage answers a DELETE with status 204 and no body.
            answered: bytes = response.content
            if not answered and method == "delete":
                answered = b"{}"
            self._date = response.headers.get("date")
        except Exception as exc:  # noqa: BLE001 - an SDK's or the HTTP client's: it becomes one of ours
            failed = self._error_of(exc, options["headers"])
        if failed is not None:
            # The error is raised outside of `except`, so that the SDK's error is not its
            # `__context__`.
            raise failed
        try:
            data: Any = from_json(answered)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise errors.MalformedResponse(
                f"The answer of the Batch API at `{path}` is not a JSON object.",
                provider=self.codec.provider,
            )
        return data

    def download(self, path: str, file: Path) -> None:
        """Download `path` into `file` completely; a retry resumes a partial download."""
        part = file.with_name(f"{file.name}.part")
        for left in range(_DOWNLOAD_TRIES - 1, -1, -1):
            try:
                self._fetch(path, part)
                break
            except OSError as exc:
                raise errors.DiskError.of(exc, part) from exc
            except Exception as exc:  # noqa: BLE001 - an SDK's or the HTTP client's: it becomes one of ours
                error = self._error_of(exc, {})
            is_first = left == _DOWNLOAD_TRIES - 1
            is_refused = isinstance(error, errors.AuthenticationError)
            if is_refused and is_first and self._renewable is not None:
                self._renewable._credentials().expire()
                continue
            if not left or not getattr(error, "retryable", False):
                raise error
        part.replace(file)

    def _opened(self, path: str, have: int) -> Any:
        """Request the bytes of `path` from byte `have` on; return the response, whose body is not read yet."""
        import httpx2

        headers = {
            **self._now_needed(),
            "Accept": "application/octet-stream",
            "Accept-Encoding": "identity",
        }
        if have:
            headers["Range"] = f"bytes={have}-"
        with ext.calling(self._client.base_url.host):
            answer = self._client.get(
                path,
                cast_to=httpx2.Response,
                stream=True,
                options={
                    "headers": headers,
                    "timeout": _TIMEOUT_S,
                    "max_retries": 2,
                    "follow_redirects": False,
                },
            )
        return getattr(answer, "response", answer)

    def _fetch(self, path: str, part: Path) -> None:
        """Download `path` into the file `part`. If the file has a beginning of it already, append the rest."""
        import os

        have = 0
        if part.exists():
            have = part.stat().st_size
        try:
            response = self._opened(path, have)
        except Exception as exc:
            if have and getattr(exc, "status_code", None) == 416:
                whole = _whole_size(getattr(exc, "response", None))
                if whole is None or whole == have:
                    # The whole file has been downloaded already.
                    return
                part.unlink()
            raise
        encoded = response.headers.get("content-encoding", "identity").lower() != "identity"
        mode = "wb"
        if response.status_code == 206:
            mode = "ab"
        try:
            if mode == "ab" and (encoded or not _goes_on(response, have)):
                part.unlink(missing_ok=True)
                raise errors.IncompleteStream(
                    "The provider has resumed the download at another position.",
                    provider=self.codec.provider,
                )
            with open(part, mode, opener=owned) as file:
                file.writelines(response.iter_bytes())
                file.flush()
                os.fsync(file.fileno())
            declared = response.headers.get("content-length")
            if declared is not None and response.num_bytes_downloaded != int(declared):
                raise errors.IncompleteStream(
                    "The download is incomplete.", provider=self.codec.provider
                )
        except BaseException:
            # Ctrl-C is included: the size of the partial file decides where the next try resumes.
            if encoded:
                # A range counts encoded bytes, and the partial file has decoded ones, so it cannot
                # be resumed.
                part.unlink(missing_ok=True)
            raise
        finally:
            response.close()

    def _error_of(self, exc: Exception, headers: Fields) -> errors.ModelwireError:
        """Return `exc` as an error of modelwire's with its secrets redacted; `headers` are those of the request."""
        carried = SimpleNamespace(
            **{**vars(self._carried), "headers": {**self._carried.headers, **headers}}
        )
        return ext.conceal(self._in_our_words(exc), cast("Any", carried))

    def _in_our_words(self, exc: Exception) -> errors.ModelwireError:
        """Return an error of an SDK or of the HTTP client as an error of modelwire's."""
        if isinstance(exc, errors.ModelwireError):
            return exc
        response = getattr(exc, "response", None)
        if response is not None and getattr(exc, "status_code", None) is not None:
            try:
                body = response.content
            except Exception:  # noqa: BLE001 - the body of an error that was not read: its status says enough
                body = b""
            return self.codec.error(ext.Reply(response.status_code, response.headers, body))
        cause = exc
        wrapped = "APIConnectionError" in [cls.__name__ for cls in type(exc).__mro__]
        if wrapped and isinstance(exc.__cause__, Exception):
            cause = exc.__cause__
        if isinstance(cause, errors.ModelwireError):
            return cause
        host = self.base_url.partition("://")[2].partition("/")[0]
        origin = host.rpartition("@")[2]
        error: errors.ModelwireError | None = ext.error_of(cause, origin=origin)
        if error is None:
            client = type(self._client).__name__
            kind = type(cause).__name__
            reason = str(cause).partition("\n")[0] or "no reason"
            error = errors.InvalidArgument(
                f"The `{client}` could not make the call: {kind}: {reason}"
            )
        error.__cause__ = cause
        return error

    def same_origin(self, url: str) -> str:
        """Return `url` if it has the origin of the base URL.

        Raises: `JobStopped` for another host, which must not get the key.
        """
        from urllib.parse import urljoin, urlsplit

        whole = urljoin(f"{self.base_url}/", url)
        ours = urlsplit(self.base_url)
        theirs = urlsplit(whole)
        if (ours.scheme, ours.hostname, ours.port) != (theirs.scheme, theirs.hostname, theirs.port):
            raise errors.JobStopped(
                f"The results are reported to be at `{theirs.scheme}://{theirs.hostname}`, not at the provider's "
                f"`{ours.scheme}://{ours.hostname}`: no key is sent there."
            )
        return whole


def _goes_on(response: Any, have: int) -> bool:
    """Return whether a partial response continues at byte `have`, where the downloaded bytes end; RFC 9110, 14.4."""
    content_range = response.headers.get("content-range")
    if content_range is None:
        return True
    return bool(content_range.strip().lower().startswith(f"bytes {have}-"))


def _whole_size(response: Any) -> int | None:
    """Return the size of the whole file from the header of a refused range; None if it is missing."""
    size = ""
    if response is not None:
        size = response.headers.get("content-range", "").rpartition("/")[2]
    if size.isdecimal():
        return int(size)
    return None


def answer_of(codec: Codec, reply: RowReply) -> AIMessage:
    """Return the answer of a row. Raises the row's error instead, as a direct call would."""
    from pydantic_core import to_json

    headers = {}
    if reply.request_id:
        headers = {"x-request-id": reply.request_id, "request-id": reply.request_id}
    kind = reply.kind
    if kind == "succeeded":
        return codec.decode(ext.Reply(200, headers, to_json(reply.body)))
    if kind == "errored":
        raise codec.error(ext.Reply(reply.status or 500, headers, to_json(reply.body)))
    ended = "expired"
    if kind == "cancelled":
        ended = "was cancelled"
    raise errors.ProviderError(
        f"The batch {ended} before this row was asked.",
        provider=codec.provider,
        code=f"batch_{kind}",
        retry_class=errors.RetryClass.TRANSIENT,
    )

"""The two clients of one bucket of Google Cloud Storage: its JSON interface, and obstore."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import google.auth
import google.auth.credentials
import google.auth.exceptions
import google.auth.transport.requests
import google.oauth2.credentials
import google.oauth2.service_account
import obstore.store
import requests

from ..errors import MirrorError
from .bucket import CLIENT, CONNECTING, RETRIES, WAITING, Bucket
from .options import is_true, named, secrets_of
from .refusals import Answer, refusal, unreachable
from .secrets import scrubbed

OPTIONS = ("bearer_token", "endpoint", "service_account_key", "service_account_path", "skip_signature")
# Of gcsfs and obstore.
_ALIASES = {
    "anon": "skip_signature",
    "application_credentials": "service_account_path",
    "base_url": "endpoint",
    "endpoint_url": "endpoint",
    "service_account": "service_account_path",
    "token": "bearer_token",
}
_SCOPES = ("https://www.googleapis.com/auth/devstorage.read_write",)
_GOOGLE = "https://storage.googleapis.com"
_LIFETIME = timedelta(minutes=3)


class GcsClient:
    """Requests to a bucket by the JSON interface, and obstore's store of it, both with google-auth's credentials.

    Args:
        url: Such as ``gs://bucket/runs/a``.
        options: `storage_options`.

    Attributes:
        bucket: The bucket, through obstore.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.bucket = Bucket(url, self._connect, options, version="version")
        self._options = named(self.bucket.url, options, OPTIONS, _ALIASES, ("google_", "gcs_"))
        self.bucket.hidden = secrets_of(self._options, ("endpoint", "service_account_path"))
        self._lock = threading.Lock()
        self._found: google.auth.credentials.Credentials | None = None
        self._sessions = threading.local()  # requests promises nothing for sessions that threads share
        emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
        if emulator and "://" not in emulator:
            emulator = f"http://{emulator}"
        self._endpoint = str(self._options.get("endpoint") or emulator or _GOOGLE).rstrip("/")
        # An emulator has no credentials.
        self._anonymous = is_true(self._options.get("skip_signature", bool(emulator)))

    def url(self, path: str) -> str:
        """Return the URL of a path of the interface, such as ``/storage/v1/b``."""
        return f"{self._endpoint}{path}"

    def request(self, method: str, url: str, *, passing: tuple[int, ...] = (), **more: Any) -> requests.Response:
        """Send a request.

        Args:
            method: Of HTTP.
            url: The URL.
            passing: The statuses that are returned although they are errors.
            more: Other arguments of `requests.request`.

        Raises:
            MirrorError: The store refuses it.
        """
        with self.errors():
            found = self._session().request(
                method, url, timeout=(CONNECTING, WAITING), allow_redirects=False, max_allowed_time=None, **more
            )
        if not found.ok and found.status_code not in passing:
            raise refusal(self.bucket.url, _answer(found), self.bucket.hidden)
        return found

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of requests and google-auth as those of a mirror."""
        where, hidden = self.bucket.url, self.bucket.hidden
        try:
            yield
        except google.auth.exceptions.TransportError as error:
            raise unreachable(where, error, hidden) from None
        except google.auth.exceptions.DefaultCredentialsError as error:
            raise MirrorError(
                f"{where}: {scrubbed(error, hidden)}; expected credentials in the environment "
                "(GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`) or in storage_options"
            ) from None
        except google.auth.exceptions.RefreshError as error:
            if error.retryable:
                raise unreachable(where, str(error), hidden) from None
            raise MirrorError(f"{where}: {scrubbed(error, hidden)}; renew the credentials") from None
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise MirrorError(f"{where}: {scrubbed(error, hidden)}; check its certificate") from None
            raise unreachable(where, error, hidden) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.Timeout) as error:
            raise unreachable(where, error, hidden) from None
        except requests.exceptions.ChunkedEncodingError as error:
            raise unreachable(where, error, hidden) from None
        except (requests.exceptions.RequestException, google.auth.exceptions.GoogleAuthError, ValueError) as error:
            raise MirrorError(f"{where}: {scrubbed(error, hidden)}; check the URL and storage_options") from None

    def _session(self) -> Any:
        found = getattr(self._sessions, "session", None)
        if found is None:
            found = google.auth.transport.requests.AuthorizedSession(self._credentials())
            self._sessions.session = found
        return found

    def _credentials(self) -> Any:
        with self._lock:
            if self._found is None:
                self._found = self._look_up()
            return self._found

    def _look_up(self) -> Any:
        options = self._options
        if self._anonymous:
            return google.auth.credentials.AnonymousCredentials()
        if "bearer_token" in options:
            return google.oauth2.credentials.Credentials(options["bearer_token"])
        account = google.oauth2.service_account.Credentials
        try:
            if "service_account_key" in options:
                return account.from_service_account_info(json.loads(options["service_account_key"]), scopes=_SCOPES)
            if "service_account_path" in options:
                return account.from_service_account_file(options["service_account_path"], scopes=_SCOPES)
        except (OSError, ValueError, google.auth.exceptions.GoogleAuthError) as error:
            said = type(error).__name__ if isinstance(error, ValueError) else scrubbed(error, self.bucket.hidden)
            raise MirrorError(
                f"{self.bucket.url}: the key of the service account cannot be read: {said}; expected its JSON file"
            ) from None
        return google.auth.default(scopes=_SCOPES)[0]

    def _connect(self, name: str) -> Any:
        with self.errors():
            credentials = self._credentials()
        options: dict[str, Any] = {}
        if self._endpoint != _GOOGLE:
            key = {"gcs_base_url": self._endpoint, "disable_oauth": self._anonymous}
            options = {"service_account_key": json.dumps(key | dict.fromkeys(_KEY, ""))}
        elif self._anonymous:
            options = {"skip_signature": True}
        provider = None
        if not self._anonymous:

            def provider() -> dict[str, Any]:
                return self._provide(credentials)

        with self.bucket.errors():
            return obstore.store.GCSStore(
                name,
                config=options,
                client_options={**CLIENT, "allow_http": self._endpoint.startswith("http://")},
                retry_config=RETRIES,
                credential_provider=provider,
            )

    def _provide(self, credentials: Any) -> dict[str, Any]:
        """Return the token for obstore; google-auth renews it 3 minutes and 45 seconds before it expires."""
        if not credentials.valid:
            credentials.refresh(google.auth.transport.requests.Request())
        self.bucket.hidden |= {"bearer": [credentials.token]}
        return {"token": credentials.token, "expires_at": datetime.now(timezone.utc) + _LIFETIME}


_KEY = ("client_email", "private_key", "private_key_id")


def _answer(found: requests.Response) -> Answer:
    try:
        told = found.json()["error"]
    except (ValueError, KeyError, TypeError):
        return Answer(found.status_code, "", found.text[:200])
    if not isinstance(told, dict):  # of the server that gives tokens
        return Answer(found.status_code, str(told))
    reasons = told.get("errors") or [{}]
    return Answer(found.status_code, str(reasons[0].get("reason", "")), str(told.get("message", "")))

"""The two clients of one bucket of S3, boto3 and obstore, with the same credentials, region and endpoint."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import botocore
import botocore.config
import botocore.exceptions
import obstore.store

from ..errors import MirrorError
from .bucket import CLIENT, CONNECTING, RETRIES, WAITING, Bucket
from .options import is_true, named, secrets_of
from .refusals import Answer, refusal, unreachable
from .secrets import scrubbed

OPTIONS = (
    "access_key_id",
    "allow_http",
    "endpoint",
    "profile",
    "region",
    "secret_access_key",
    "server_side_encryption",
    "session_token",
    "skip_signature",
    "sse_kms_key_id",
    "virtual_hosted_style_request",
)
# Of s3fs and boto3.
_ALIASES = {
    "anon": "skip_signature",
    "default_region": "region",
    "endpoint_url": "endpoint",
    "key": "access_key_id",
    "profile_name": "profile",
    "region_name": "region",
    "secret": "secret_access_key",
    "token": "session_token",
}
_HARMLESS = ("endpoint", "profile", "region", "server_side_encryption")
_CREDENTIALS_ERRORS = (
    botocore.exceptions.CredentialRetrievalError,
    botocore.exceptions.NoCredentialsError,
    botocore.exceptions.PartialCredentialsError,
    botocore.exceptions.SSOError,
    botocore.exceptions.TokenRetrievalError,
)
_NETWORK_ERRORS = (botocore.exceptions.ConnectionError, botocore.exceptions.HTTPClientError)
_LIFETIME = timedelta(minutes=5)  # boto3 renews credentials at least 10 minutes before they expire


class S3Client:
    """boto3's client of a bucket, and obstore's store; both are made at the first use.

    Args:
        url: Such as ``s3://bucket/runs/a``.
        options: `storage_options`.

    Attributes:
        bucket: The bucket, through obstore.
        options: The options, under the names of `OPTIONS`.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.bucket = Bucket(url, self._connect, options)
        self.options = named(self.bucket.url, options, OPTIONS, _ALIASES, ("aws_", "s3_"))
        self.bucket.hidden = secrets_of(self.options, _HARMLESS)
        self._lock, self._client, self._session = threading.Lock(), None, None

    @property
    def made(self) -> Any:
        """boto3's client."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of boto3 as those of a mirror."""
        where, hidden = self.bucket.url, self.bucket.hidden
        try:
            yield
        except botocore.exceptions.ClientError as error:
            raise refusal(where, answer_of(error), hidden) from None
        except botocore.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise MirrorError(f"{where}: {scrubbed(error, hidden)}; check its certificate") from None
            raise unreachable(where, error, hidden) from None
        except _CREDENTIALS_ERRORS as error:
            raise self._no_credentials(scrubbed(error, hidden)) from None
        except _NETWORK_ERRORS as error:
            raise unreachable(where, error, hidden) from None
        except (botocore.exceptions.BotoCoreError, ValueError) as error:
            raise MirrorError(f"{where}: {scrubbed(error, hidden)}; check the URL and storage_options") from None

    def _no_credentials(self, said: str) -> MirrorError:
        return MirrorError(
            f"{self.bucket.url}: {said}; expected them in the environment (AWS_ACCESS_KEY_ID, AWS_PROFILE, a role), in "
            "~/.aws, or in storage_options"
        )

    def _make(self) -> Any:
        options, anonymous = self.options, is_true(self.options.get("skip_signature"))
        with self.errors():
            session = boto3.Session(
                aws_access_key_id=options.get("access_key_id"),
                aws_secret_access_key=options.get("secret_access_key"),
                aws_session_token=options.get("session_token"),
                profile_name=options.get("profile"),
            )
            if not anonymous:
                self._credentials(session)
            virtual = is_true(options.get("virtual_hosted_style_request"))
            config = botocore.config.Config(
                connect_timeout=CONNECTING,
                read_timeout=WAITING,
                retries={"total_max_attempts": 1},
                max_pool_connections=16,
                signature_version=botocore.UNSIGNED if anonymous else None,
                # This package sends a checksum of its own with each part, which the store compares.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "virtual" if virtual else "path"},
            )
            client = session.client(
                "s3",
                region_name=options.get("region") or session.region_name or "us-east-1",
                endpoint_url=options.get("endpoint"),
                config=config,
            )
        plain = client.meta.endpoint_url.startswith("http://")
        if plain and not is_true(options.get("allow_http", True)):
            raise MirrorError(
                f"{self.bucket.url}: received an http:// endpoint and allow_http=False; expected https://"
            )
        if not plain and not anonymous:
            # TLS protects the bytes already; without it, they are signed. boto3 decides so only for its own checksums.
            config = config.merge(botocore.config.Config(s3={**config.s3, "payload_signing_enabled": False}))
            client = session.client(
                "s3", region_name=client.meta.region_name, endpoint_url=options.get("endpoint"), config=config
            )
        self._session = session
        return client

    def _credentials(self, session: Any) -> Any:
        """Return the credentials of a session now, and keep them out of messages."""
        found = session.get_credentials()
        if found is None:
            raise self._no_credentials("found no credentials")
        frozen = found.get_frozen_credentials()
        if not (frozen.access_key and frozen.secret_key):
            raise self._no_credentials("found only one of access_key_id and secret_access_key")
        self.bucket.hidden |= {"frozen": [frozen.secret_key or "", frozen.token or ""]}
        return frozen

    def _connect(self, name: str) -> Any:
        client, options = self.made, self.options
        endpoint, virtual = client.meta.endpoint_url, is_true(options.get("virtual_hosted_style_request"))
        if virtual:
            scheme, _, host = endpoint.partition("://")
            endpoint = f"{scheme}://{name}.{host}"
        config = {
            "endpoint": endpoint,
            "region": client.meta.region_name,
            "virtual_hosted_style_request": virtual,
            "skip_signature": is_true(options.get("skip_signature")),
        }
        if os.environ.get("AWS_ENDPOINT_URL_S3"):  # it would take precedence over the endpoint
            config["aws_endpoint_url_s3"] = endpoint
        for name_ in ("server_side_encryption", "sse_kms_key_id"):
            if name_ in options:
                config[name_] = options[name_]
        with self.bucket.errors():
            return obstore.store.S3Store(
                name,
                config=config,
                client_options={**CLIENT, "allow_http": endpoint.startswith("http://")},
                retry_config=RETRIES,
                credential_provider=None if config["skip_signature"] else self._provide,
            )

    def _provide(self) -> dict[str, Any]:
        """Return credentials for obstore, by boto3's chain."""
        frozen = self._credentials(self._session)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": datetime.now(timezone.utc) + _LIFETIME,
        }


def answer_of(error: botocore.exceptions.ClientError) -> Answer:
    """Return what the store answered."""
    told, status = error.response.get("Error", {}), error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    code = str(told.get("Code", ""))
    return Answer(int(status), "" if code == str(status) else code, str(told.get("Message", "")))

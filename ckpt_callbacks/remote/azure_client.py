"""The two clients of one container of Azure, its SDK and obstore, with the same account and credentials."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import azure.core.credentials
import azure.core.exceptions
import azure.storage.blob
import obstore.store

from ..errors import MirrorError
from .bucket import CLIENT, CONNECTING, RETRIES, WAITING, Bucket
from .options import is_true, named, secrets_of
from .refusals import Answer, refusal, unreachable
from .secrets import scrubbed

OPTIONS = (
    "account_key",
    "account_name",
    "client_id",
    "client_secret",
    "connection_string",
    "endpoint",
    "sas_key",
    "skip_signature",
    "tenant_id",
)
# Of adlfs and the SDK.
_ALIASES = {
    "access_key": "account_key",
    "account": "account_name",
    "account_url": "endpoint",
    "anon": "skip_signature",
    "endpoint_url": "endpoint",
    "sas_token": "sas_key",
}
_CONNECTION = {
    "accountname": "account_name",
    "accountkey": "account_key",
    "blobendpoint": "endpoint",
    "sharedaccesssignature": "sas_key",
}
_SCOPE = "https://storage.azure.com/.default"


class AzureClient:
    """The SDK's client of a container, and obstore's store; both are made at the first use.

    Args:
        url: Such as ``az://container/runs/a``.
        options: `storage_options`.

    Attributes:
        bucket: The container, through obstore.
    """

    def __init__(self, url: str, options: Mapping[str, Any]) -> None:
        self.bucket = Bucket(url, self._connect, options)
        given = named(self.bucket.url, options, OPTIONS, _ALIASES, ("azure_storage_", "azure_"))
        self._options = self._with_environment(given)
        self.bucket.hidden = secrets_of(self._options, ("account_name", "endpoint"))
        self._lock, self._made = threading.Lock(), None
        self._identity: Any = None

    @property
    def made(self) -> Any:
        """The SDK's client of the container."""
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def blob(self, path: str) -> Any:
        """Return the SDK's client of an object."""
        return self.made.get_blob_client(path)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise errors of the SDK as those of a mirror."""
        where, hidden = self.bucket.url, self.bucket.hidden
        try:
            yield
        except azure.core.exceptions.HttpResponseError as error:
            if error.status_code is None:
                raise MirrorError(f"{where}: {scrubbed(error, hidden)}; check the credentials") from None
            raise refusal(where, answer_of(error), hidden) from None
        except (azure.core.exceptions.ServiceRequestError, azure.core.exceptions.ServiceResponseError) as error:
            raise unreachable(where, error, hidden) from None
        except (azure.core.exceptions.AzureError, ValueError) as error:
            raise MirrorError(f"{where}: {scrubbed(error, hidden)}; check the URL and storage_options") from None

    def _with_environment(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the options with what the environment says about the account, if they do not name one."""
        told = given.pop("connection_string", None)
        if told is None and not given.keys() & {"account_name", "account_key", "sas_key", "endpoint"}:
            told = os.environ.get("AZURE_STORAGE_CONNECTION_STRING")
        if told is not None:
            return {**self._parsed(str(told)), **given}
        named_by = {
            "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
            "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_KEY"),
            "sas_key": ("AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_SAS_KEY"),
            "endpoint": ("AZURE_STORAGE_ENDPOINT",),
        }
        secrets = given.keys() & {"account_key", "sas_key", "client_secret", "skip_signature"}
        found = {
            name: value
            for name, variables in named_by.items()
            if not (secrets and name in ("account_key", "sas_key"))
            and (value := next(filter(None, map(os.environ.get, variables)), None))
        }
        return {**found, **given}

    def _parsed(self, text: str) -> dict[str, Any]:
        pairs = [part.partition("=") for part in text.strip(";").split(";")]
        found = {_CONNECTION[name.lower()]: value for name, _, value in pairs if name.lower() in _CONNECTION}
        suffix = next((value for name, _, value in pairs if name.lower() == "endpointsuffix"), "core.windows.net")
        if "account_name" not in found and "endpoint" not in found:
            raise MirrorError(
                f"{self.bucket.url}: the connection string names no account; expected AccountName=...;AccountKey=..."
            )
        if "endpoint" not in found:
            found["endpoint"] = f"https://{found['account_name']}.blob.{suffix}"
        return found

    def _endpoint(self) -> str:
        options = self._options
        if options.get("endpoint"):
            return str(options["endpoint"]).rstrip("/")
        if not options.get("account_name"):
            raise MirrorError(
                f"{self.bucket.url}: the account is missing; expected account_name in storage_options, "
                "AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_CONNECTION_STRING"
            )
        return f"https://{options['account_name']}.blob.core.windows.net"

    def _make(self) -> Any:
        options, endpoint = self._options, self._endpoint()
        credential: Any
        if is_true(options.get("skip_signature")):
            credential = None
        elif "account_key" in options:
            credential = {"account_name": self._account(endpoint), "account_key": options["account_key"]}
        elif "sas_key" in options:
            credential = azure.core.credentials.AzureSasCredential(str(options["sas_key"]).lstrip("?"))
        else:
            credential = self._identity = self._find_identity()
        with self.errors():
            return azure.storage.blob.ContainerClient(
                endpoint,
                self.bucket.name,
                credential=credential,
                connection_timeout=CONNECTING,
                read_timeout=WAITING,
                retry_total=0,
                max_single_put_size=1 << 30,
            )

    def _account(self, endpoint: str) -> str:
        if self._options.get("account_name"):
            return str(self._options["account_name"])
        return endpoint.partition("://")[2].partition(".")[0]

    def _find_identity(self) -> Any:
        """Return the credentials of the machine, the user or a service, as the SDK finds them."""
        try:
            import azure.identity
        except ImportError:
            raise MirrorError(
                f"{self.bucket.url}: found no account key and no SAS token; expected one in storage_options or in the "
                "environment, or azure-identity for other credentials (pip install azure-identity)"
            ) from None
        options = self._options
        if "client_secret" in options:
            with self.errors():
                return azure.identity.ClientSecretCredential(
                    options.get("tenant_id", ""), options.get("client_id", ""), options["client_secret"]
                )
        return azure.identity.DefaultAzureCredential()

    def _connect(self, name: str) -> Any:
        made, options, endpoint = self.made, self._options, self._endpoint()
        config: dict[str, Any] = {"account_name": self._account(endpoint), "endpoint": endpoint}
        if is_true(options.get("skip_signature")):
            config["skip_signature"] = True
        for secret in ("account_key", "sas_key"):
            if secret in options and self._identity is None:
                config[secret] = options[secret]
                break
        with self.bucket.errors():
            return obstore.store.AzureStore(
                made.container_name,
                config=config,
                client_options={**CLIENT, "allow_http": endpoint.startswith("http://")},
                retry_config=RETRIES,
                credential_provider=None if self._identity is None else self._provide,
            )

    def _provide(self) -> dict[str, Any]:
        token = self._identity.get_token(_SCOPE)
        self.bucket.hidden |= {"token": [token.token]}
        return {"token": token.token, "expires_at": datetime.fromtimestamp(token.expires_on, timezone.utc)}


def answer_of(error: azure.core.exceptions.HttpResponseError) -> Answer:
    """Return what the store answered."""
    code = getattr(error, "error_code", None) or ""
    text = (error.message or "").partition("RequestId:")[0].partition("\nErrorCode:")[0]
    return Answer(error.status_code or 0, str(getattr(code, "value", code)), " ".join(text.split()))

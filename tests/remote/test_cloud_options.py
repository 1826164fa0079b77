"""The URLs and options of the stores of the three clouds, and the errors that need no server."""

import json

import pytest

from ckpt_callbacks.errors import MirrorConflict, MirrorDamaged, MirrorError, MirrorUnreachable
from ckpt_callbacks.remote.refusals import Answer, refusal
from ckpt_callbacks.remote.url import open_store

MISTAKES = [
    ("s3://", {}, "s3://: the bucket is missing; expected s3://BUCKET/PREFIX"),
    ("gs:///runs/a", {}, "the bucket is missing; expected gs://BUCKET/PREFIX"),
    ("az://", {}, "the bucket is missing; expected az://BUCKET/PREFIX"),
    ("s3://AKIA:canary@bucket/a", {}, "received a user, a query or a fragment; give those in storage_options"),
    ("az://container/a?sig=canary", {}, "received a user, a query or a fragment; give those in storage_options"),
    ("s3://bucket/a//b", {}, "cannot be the name of an object"),
    ("s3://bucket/../b", {}, "cannot be the name of an object"),
    ("s3://bucket/a", {"secret_acces_key": "canary"}, "received the option 'secret_acces_key'; expected one of access"),
    ("gs://bucket/a", {"project": "canary"}, "received the option 'project'; expected one of bearer_token"),
    ("az://bucket/a", {"key": "canary"}, "received the option 'key'; expected one of account_key"),
    ("s3://bucket/a", {"key": "canary1", "access_key_id": "canary2"}, "access_key_id is given twice, also as"),
    ("az://bucket/a", {"connection_string": "canary=1"}, "the connection string names no account"),
]


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [row if row[0].startswith("s3:") else pytest.param(*row, marks=pytest.mark.mirrors) for row in MISTAKES],
)
def test_a_mistake_is_one_line_without_secrets(url, options, message):
    with pytest.raises(MirrorError) as found:
        open_store(url, options)
    assert message in str(found.value) and "\n" not in str(found.value)
    assert "canary" not in str(found.value)


def test_an_endpoint_without_tls_may_be_refused():
    options = {"endpoint": "http://127.0.0.1:9", "key": "a", "secret": "canary", "allow_http": False}
    with pytest.raises(MirrorError, match="received an http:// endpoint and allow_http=False; expected https://"):
        open_store("s3://bucket/a", options).put("a", b"")


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """No credentials in the environment, nor in files of the user."""
    for name in _CREDENTIALS:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AZURE_STORAGE_CONNECTION_STRING"),
    *("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT", "STORAGE_EMULATOR_HOST"),
)


def test_missing_credentials_of_amazon_are_named(alone):
    with pytest.raises(MirrorError, match="found no credentials; expected them in the environment"):
        open_store("s3://bucket/a").put("a", b"")
    with pytest.raises(MirrorError, match=r"config profile .* could not be found"):
        open_store("s3://bucket/a", {"profile": "nobody"}).put("a", b"")
    with pytest.raises(MirrorError, match="found only one of access_key_id and secret_access_key"):
        open_store("s3://bucket/a", {"access_key_id": "AKIA"}).put("a", b"")


@pytest.mark.mirrors
def test_missing_credentials_of_others_are_named(alone):
    with pytest.raises(MirrorError, match="the account is missing; expected account_name in storage_options"):
        open_store("az://container/a").put("a", b"")
    with pytest.raises(MirrorError, match="expected credentials in the environment"):
        open_store("gs://bucket/a").put("a", b"")
    key = {"service_account_key": json.dumps({"private_key": "canary-key"})}
    with pytest.raises(MirrorError, match="the key of the service account cannot be read") as found:
        open_store("gs://bucket/a", key).put("a", b"")
    assert "canary" not in str(found.value)


def test_a_secret_of_the_environment_is_in_no_message(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIACANARY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-the-environment")
    store = open_store("s3://bucket/a", {"endpoint": "http://127.0.0.1:9"})
    with pytest.raises(MirrorUnreachable):
        store.put("a", b"")
    told = refusal("s3://bucket", Answer(400, "Odd", "canary-of-the-environment is odd"), store._bucket.hidden)
    assert str(told) == "s3://bucket: received 400 Odd: *** is odd; check the URL and storage_options"


MEANINGS = [
    (Answer(404, "NoSuchBucket", "The bucket does not exist"), MirrorError, "create the bucket"),
    (Answer(404, "ContainerNotFound"), MirrorError, "create the bucket"),
    (Answer(301, "PermanentRedirect"), MirrorError, "another region"),
    (Answer(400, "AuthorizationHeaderMalformed", "the region 'x' is wrong"), MirrorError, "another region"),
    (Answer(400, "ExpiredToken"), MirrorError, "which have expired"),
    (Answer(403, "AuthenticationFailed", "Signature not valid in the specified time frame"), MirrorError, "expired"),
    (Answer(403, "RequestTimeTooSkewed"), MirrorError, "clock"),
    (Answer(403, "SignatureDoesNotMatch"), MirrorError, "check the credentials"),
    (Answer(401, "authError", "Invalid Credentials"), MirrorError, "check the credentials"),
    (Answer(403, "AccessDenied"), MirrorError, "the right to list"),
    (Answer(403, "rateLimitExceeded"), MirrorUnreachable, "try again later"),
    (Answer(403, "quotaExceeded"), MirrorUnreachable, "try again later"),
    (Answer(429), MirrorUnreachable, "try again later"),
    (Answer(503, "SlowDown"), MirrorUnreachable, "try again later"),
    (Answer(400, "RequestTimeout"), MirrorUnreachable, "try again later"),
    (Answer(501, "NotImplemented"), MirrorError, "check the URL"),
    (Answer(400, "KeyTooLongError"), MirrorError, "another prefix"),
    (Answer(400, "BadDigest"), MirrorDamaged, "send them again"),
    (Answer(400, "Md5Mismatch"), MirrorDamaged, "send them again"),
    (Answer(412, "PreconditionFailed"), MirrorConflict, "read it again"),
    (Answer(409, "ConditionalRequestConflict"), MirrorConflict, "read it again"),
]


@pytest.mark.parametrize(("answer", "kind", "advice"), MEANINGS)
def test_an_answer_says_what_to_do(answer, kind, advice):
    found = refusal("s3://bucket/runs/a", answer, {})
    assert type(found) is kind and advice in str(found)
    assert str(found).startswith(f"s3://bucket/runs/a: received {answer.status}")

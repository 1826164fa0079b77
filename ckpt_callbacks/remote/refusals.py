"""Refusals of stores, in one line that says what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import MirrorConflict, MirrorDamaged, MirrorError, MirrorUnreachable
from .secrets import scrubbed

_LONGEST = 300  # characters of what the store says


@dataclass(frozen=True)
class Answer:
    """An answer that is an error.

    Attributes:
        status: Of HTTP; 0 if the store did not answer.
        code: Its name of the error, such as ``NoSuchBucket``.
        text: Its explanation.
    """

    status: int
    code: str = ""
    text: str = ""


_DAMAGED = {
    "BadDigest",
    "Crc64Mismatch",
    "InvalidDigest",
    "Md5Mismatch",
    "XAmzContentChecksumMismatch",
    "XAmzContentSHA256Mismatch",
}
_LATER = {
    "OperationAborted",
    "OperationTimedOut",
    "RequestTimeout",
    "ServerBusy",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "dailyLimitExceeded",
    "quotaExceeded",
    "rateLimitExceeded",
    "userRateLimitExceeded",
}
_CHANGED = {
    "BlobAlreadyExists",
    "ConditionNotMet",
    "ConditionalRequestConflict",
    "PreconditionFailed",
    "TargetConditionNotMet",
    "conditionNotMet",
}
_NO_BUCKET = {"ContainerNotFound", "InvalidBucketName", "NoSuchBucket"}
_REGION = {
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "InvalidLocationConstraint",
    "PermanentRedirect",
    "TemporaryRedirect",
}
_EXPIRED = re.compile(r"expired|not valid in the specified time frame|TokenRefreshRequired", re.I)
_CLOCK = re.compile(r"RequestTimeTooSkewed|date header too old|too large a difference", re.I)
_WRONG = {
    "AuthenticationFailed",
    "AuthorizationFailure",
    "InvalidAccessKeyId",
    "InvalidAuthenticationInfo",
    "InvalidToken",
    "NoAuthenticationInformation",
    "SignatureDoesNotMatch",
    "authError",
}
_NAME = {"InvalidResourceName", "InvalidURI", "InvalidUri", "KeyTooLongError", "OutOfRangeInput"}


def refusal(where: str, answer: Answer, hidden: Mapping[str, Any]) -> MirrorError:
    """Return the error that says what a store has answered, and what to do.

    Args:
        where: The URL of the store or of an object, without secrets.
        answer: What it answered.
        hidden: Values that the message must not hold.
    """
    kind, advice = _meaning(answer)
    received = " ".join(filter(None, (str(answer.status or ""), answer.code)))
    said = scrubbed(answer.text.strip().rstrip("."), hidden)[:_LONGEST]
    return kind(f"{where}: received {': '.join(filter(None, (received, said)))}; {advice}")


def unreachable(where: str, text: str | BaseException, hidden: Mapping[str, Any]) -> MirrorUnreachable:
    """Return the error of a store that did not answer."""
    said = scrubbed(text, hidden)[:_LONGEST]
    return MirrorUnreachable(f"{where}: no answer: {said}; expected one in time; check the network, or try again later")


def _meaning(answer: Answer) -> tuple[type[MirrorError], str]:
    status, code, both = answer.status, answer.code, f"{answer.code} {answer.text}"
    if code in _DAMAGED or (code == "InvalidOperation" and "md5" in both.lower()):
        return MirrorDamaged, "the bytes changed on their way; send them again"
    if code in _LATER or status in (408, 425, 429) or (status >= 500 and status != 501):
        return MirrorUnreachable, "the store is busy or broken; try again later"
    if code in _CHANGED or status == 412:
        return MirrorConflict, "another process has written or deleted it; read it again"
    if code in _NO_BUCKET:
        return MirrorError, "create the bucket, or correct its name in the URL"
    if code in _REGION or status in (301, 307):
        return MirrorError, "the bucket is in another region; give its `region` in storage_options"
    if _CLOCK.search(both):
        return MirrorError, "set the clock of this machine, which differs too much from the store's"
    if _EXPIRED.search(both):
        return MirrorError, "renew the credentials, which have expired"
    if code in _WRONG or status == 401:
        return MirrorError, "check the credentials, which the store does not accept"
    if status == 403:
        return MirrorError, "give these credentials the right to list, read, write and delete here"
    if code in _NAME:
        return MirrorError, "choose another prefix in the URL; the store forbids this name"
    if status == 404:
        return MirrorError, "check the name of the bucket in the URL"
    return MirrorError, "check the URL and storage_options"

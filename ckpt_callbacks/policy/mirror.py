"""Mirrors: places elsewhere that receive the checkpoints of a run."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import Any

from ..errors import PolicyError, printable
from ..units import as_rate, as_seconds
from .argument_names import suggests_fields
from .contents import FULL, Contents, as_contents
from .contents_order import holds
from .policy import Policy
from .retention import AnyKeep, Retention
from .spelling import near

_EXAMPLE = "'s3://bucket/run' or '/nfs/run'"
_EXPECTED = f"a URL or a path, such as {_EXAMPLE}, a Mirror, a mapping of its arguments, or a list of these"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/|[a-z]+:")
_ONE_SLASH = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # which pathlib makes of two
_VARIABLE = re.compile(r"\$(?:\{[^}]*\}|\w+)")
# A password may contain any sign, so it ends at the last @. What follows a colon may also be a port, and then a path.
_PASSWORD = re.compile(r"(?<=://)[^/@]*:.*@", re.DOTALL)
_PORT = re.compile(r"(?:sftp|ssh|ftp|webdavs?)://[^/@:]*:\d+/", re.IGNORECASE)
_QUERY = re.compile(r"(?<=\?).*", re.DOTALL)
_REMOTE_SECRET = re.compile(r"(?<=,)(\w*(?:pass|secret|token|key)\w*=)[^,:]*", re.IGNORECASE)


@suggests_fields
@dataclass(frozen=True, repr=False, init=False)  # the attributes have fewer types than the arguments
class Mirror:
    """A place elsewhere that receives the checkpoints of a run.

    Credentials come from the place of the store's own client (its environment variables, files or roles), or from
    ``storage_options``. The URL holds none, because it is written to logs and into the run directory.

    Example::

        Mirror("s3://bucket/run", keep=KeepLast(1) | KeepBest(1, by=val), contents="weights", every="10 min")

    Args:
        url: ``s3://bucket/run``, ``gs://...``, ``az://...``, ``hf://buckets/owner/name``, ``hf://models/owner/name``,
            ``sftp://host/path``, ``webdavs://host/path``, ``rclone:REMOTE:path``, or a path of another disk. Variables
            such as ``$USER`` and, in a path, ``~`` are replaced, and a path is made absolute.
        keep: The retention rule that says which checkpoints survive there, or a list of rules; by default, those of
            the policy.
        contents: What it holds of each checkpoint, as a `Contents` or its kind: ``"weights"`` for the weights alone. By
            default, the files as they are.
        every: The time between two uploads, in seconds or as ``"10 min"``; 0 to send each checkpoint.
        max_upload_rate: Bytes per second, or text such as ``"10 MB"``. None for as many as possible.
        storage_options: Options for the store's client, such as ``{"endpoint_url": "http://127.0.0.1:9000"}``. Their
            values are never shown.

    Raises:
        PolicyError: An argument is wrong.
    """

    url: str
    keep: Retention | None = None
    contents: Contents | None = None
    every: float = 0.0
    max_upload_rate: int | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __init__(
        self,
        url: str | PathLike[str],
        keep: Retention | Sequence[Retention] | None = None,
        contents: Contents | str | Mapping[str, Any] | None = None,
        every: float | str = 0.0,
        max_upload_rate: int | str | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        rate = None if max_upload_rate is None else as_rate(max_upload_rate, "Mirror: max_upload_rate")
        values: dict[str, object] = {
            "url": _checked_url(url),
            "keep": None if keep is None else _as_rule(keep),
            "contents": None if contents is None else as_contents("Mirror", contents),
            "every": as_seconds(every, "Mirror: every"),
            "max_upload_rate": rate,
            "storage_options": _checked_options(storage_options),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def place(self) -> str:
        """The same text for all spellings of one place."""
        return self.url.removeprefix("file://").rstrip("/") or "/"

    @property
    def is_whole(self) -> bool:
        """Whether it holds all of each checkpoint, so that a run can be resumed from it."""
        return self.contents is None or holds(self.contents, FULL)

    def __repr__(self) -> str:
        given = {
            one.name: getattr(self, one.name) for one in fields(self)[1:] if getattr(self, one.name) != one.default
        }
        del given["storage_options"]
        shown = [repr(self.url), *(f"{name}={value!r}" for name, value in given.items())]
        if self.storage_options:
            shown.append(f"storage_options={dict.fromkeys(self.storage_options, '***')!r}")
        return f"Mirror({', '.join(shown)})"


def as_mirrors(where: str, value: object) -> tuple[Mirror, ...]:
    """Return the mirrors that a user gave.

    Args:
        where: The first word of an error message, such as ``"KerasCheckpoint"``.
        value: A URL, a path, a `Mirror` or a mapping of its arguments; or a list of these. None for none.

    Raises:
        PolicyError: It is none of these, or is wrong, or two of them have the same place.
    """
    if value is None:
        return ()
    if isinstance(value, str | PathLike | Mapping | Mirror):
        return (_as_mirror(f"{where}: mirrors", value),)
    if not isinstance(value, Sequence) or isinstance(value, bytes | bytearray):
        raise PolicyError(f"{where}: mirrors is {_kind_of(value)}; expected {_EXPECTED}")
    found = tuple(_as_mirror(f"{where}: mirrors[{number}]", item) for number, item in enumerate(value))
    if same := same_place(found):
        raise PolicyError(f"{where}: mirrors: {same}")
    return found


def same_place(mirrors: Sequence[Mirror]) -> str:
    """Return the end of a message about the first two mirrors that have the same place; empty if there are none."""
    places: set[str] = set()
    for mirror in mirrors:
        if mirror.place in places:
            return f"{mirror.url!r} is there twice; expected each place once"
        places.add(mirror.place)
    return ""


def lost_with_disk(mirrors: Sequence[Mirror]) -> str:
    """Return in one line that no mirror helps on an empty machine; empty if one does, or there are none."""
    if not mirrors or any(mirror.is_whole for mirror in mirrors):
        return ""
    return (
        f"no run can be resumed from {' or '.join(mirror.url for mirror in mirrors)} on an empty machine, because only "
        f"{mirrors[0].contents} are sent there; for that, add a mirror without contents"
    )


def check_ranking(where: str, mirrors: Sequence[Mirror], policy: Policy) -> None:
    """Raise `PolicyError` if a mirror ranks checkpoints by a metric that no rule of a policy reads.

    Only for the metrics of its rules does a policy keep averages, and say if they are never logged. A mirror with such
    a metric would delete what it should keep.

    Args:
        where: The first word of an error message.
        mirrors: The mirrors.
        policy: The policy of the run.
    """
    known = {metric.series for metric in policy.tracks} | {metric.raw.series for metric in policy.tracks}
    for number, mirror in enumerate(mirrors):
        for metric in () if mirror.keep is None else mirror.keep.metrics():
            if metric.series not in known:
                label = f"mirrors[{number}]" if len(mirrors) > 1 else "mirrors"
                raise PolicyError(
                    f"{where}: {label}: keep ranks by {metric.series!r}, which no rule of the policy reads; expected "
                    f"one of {', '.join(sorted(known)) or 'none'}, or the metric in the policy as well, as best_by or "
                    f"in its keep{near(metric.series, known)}"
                )


def _as_mirror(where: str, value: object) -> Mirror:
    if isinstance(value, Mirror):
        return value
    try:
        if isinstance(value, str | PathLike):
            return Mirror(value)
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
            if "url" not in value and value.keys() <= {one.name for one in fields(Mirror)}:
                raise PolicyError(f"url is missing; expected a URL or a path, such as {_EXAMPLE}")
            return Mirror(**value)
    except (PolicyError, TypeError) as error:
        raise PolicyError(f"{where}: {str(error).removeprefix('Mirror: ')}") from None
    raise PolicyError(f"{where} is {_kind_of(value)}; expected {_EXPECTED}")


def _kind_of(value: object) -> str:
    """Return in words what was given; its text may be a secret, unless it is a number."""
    return repr(value) if isinstance(value, bool | int | float | None) else f"of the type {type(value).__name__}"


def _as_rule(keep: object) -> Retention:
    if isinstance(keep, Retention):
        return keep
    if isinstance(keep, Sequence) and keep and all(isinstance(rule, Retention) for rule in keep):
        return AnyKeep(tuple(keep)) if len(keep) > 1 else keep[0]
    why = ", which would delete every checkpoint there" if isinstance(keep, Sequence) and not keep else ""
    raise PolicyError(
        f"Mirror: keep is {keep!r}{why}; expected a retention rule, such as KeepLast(1), or a list of rules"
    )


def _checked_url(url: object) -> str:
    """Return a URL, or an absolute path, with its variables replaced."""
    if not isinstance(url, str | PathLike) or not isinstance(text := os.fspath(url), str):
        raise PolicyError(f"Mirror: url is {_kind_of(url)}; expected a URL or a path, such as {_EXAMPLE}")
    begin = f"Mirror: url is {_without_secrets(text)!r}"
    if not text.strip() or text != text.strip():
        why = ", with spaces around it" if text.strip() else ""
        raise PolicyError(f"{begin}{why}; expected a URL or a path, such as {_EXAMPLE}")
    found = os.path.expandvars(text)
    left = next((name for name in _VARIABLE.findall(text) if not os.path.expandvars(name).replace(name, "")), None)
    if left is not None:
        raise PolicyError(f"{begin}, and {left} is not set; expected an environment variable with a value")
    if _SCHEME.match(found) is None:
        found = os.path.expanduser(found)
        if found.startswith("~"):
            raise PolicyError(f"{begin}, which names the home directory of an unknown user; expected a path")
        return os.path.abspath(found)
    found = _ONE_SLASH.sub(lambda scheme: f"{scheme[1]}://{'/' if scheme[1] == 'file' else ''}", found)
    if _without_secrets(found) != found:
        raise PolicyError(
            f"{begin}, which holds a password, a key or a query; expected a URL without it, and the secret in "
            "storage_options or where the store's own client looks for it, such as its environment variables"
        )
    return found.rstrip("/") if not found.endswith("://") else found


def _without_secrets(url: str) -> str:
    """Return a URL without what may be a secret: a password, a query, or parameters of an rclone remote."""
    if _SCHEME.match(url) is None:
        return url
    if url.startswith("rclone:"):
        return _REMOTE_SECRET.sub(r"\1***", url)
    if _PORT.match(url) is None:
        url = _PASSWORD.sub("***@", url)
    return url if url.startswith("file:") else _QUERY.sub("***", url)


def _checked_options(options: object) -> dict[str, Any]:
    """Return the options for a client as built-in values."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        got = f"is of the type {type(options).__name__}"
        raise PolicyError(f"Mirror: storage_options {got}; expected a mapping of names to values")
    if not all(isinstance(name, str) and name for name in options):
        raise PolicyError("Mirror: storage_options has a name that is no text; expected a mapping of names to values")
    return {name: _plain_option(name, value) for name, value in options.items()}


def _plain_option(name: str, value: object) -> Any:
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain_option(f"{name}.{key}", part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [_plain_option(name, part) for part in value]
    if isinstance(value, str | bool | int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise PolicyError(
        f"Mirror: storage_options: {printable(name)} is of the type {type(value).__name__}; expected text, a finite "
        "number, true, false, or a list or mapping of these"
    )

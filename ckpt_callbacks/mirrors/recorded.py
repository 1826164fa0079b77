"""The mirrors of a run directory, as its starts of training recorded them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import CkptError, PolicyError
from ..policy.mirror import Mirror
from ..policy.policy import Policy
from ..record import Attempt
from ..remote.secrets import without_user
from ..remote.url import scheme_of
from ..settings import Settings

URLS, RULES = "mirrors", "mirror_rules"  # names of the facts of an attempt


def described(mirrors: Sequence[Mirror], policy: Policy | None) -> list[Any] | None:
    """Return the rules of mirrors as plain values for an attempt, without the options of their stores.

    Args:
        mirrors: The mirrors.
        policy: The policy of the run, whose metrics they name.

    Returns:
        A list of URLs, or of mappings; None if a part has no form in YAML, or there are no mirrors.
    """
    if not mirrors or policy is None:
        return None
    from ..config import Config  # here, because importing the YAML reader is slow

    without = tuple(replace(mirror, url=_shown(mirror.url), storage_options={}) for mirror in mirrors)
    try:
        found: list[Any] = Config(policy, Settings(mirrors=without)).to_mapping()[URLS]
    except PolicyError:
        return None
    return found


def _shown(url: str) -> str:
    """Return a URL without its user, who is a secret at some servers. SSH needs the user, and tells it to everybody."""
    return url if scheme_of(url) == "sftp" else without_user(url)


def place_of(url: str) -> str:
    """Return the same text for all spellings of one place, without its user, who is not recorded everywhere."""
    place = url.removeprefix("file://").rstrip("/") or "/"
    return os.path.realpath(place) if place.startswith("/") else without_user(place)


def recorded_mirrors(attempts: Sequence[Attempt]) -> tuple[Mirror, ...]:
    """Return the mirrors of the newest start of training; without their rules if these are not known.

    Args:
        attempts: All starts, oldest first.
    """
    facts = attempts[-1].facts if attempts else {}
    policy, rules = facts.get("policy"), facts.get(RULES)
    if isinstance(policy, dict) and rules:
        from ..config import Config  # here, because importing the YAML reader is slow

        try:
            found: tuple[Mirror, ...] = Config.from_mapping({**policy, URLS: rules}).settings.mirrors
            return found
        except CkptError:  # a newer version wrote it
            pass
    return tuple(mirror for url in facts.get(URLS, ()) if (mirror := _mirror(url)) is not None)


def recorded_urls(attempts: Sequence[Attempt]) -> list[str]:
    """Return the URLs of all mirrors that a start of training named, those of the newest one first."""
    return list(dict.fromkeys(url for one in reversed(attempts) for url in one.facts.get(URLS, ())))


def _mirror(url: object) -> Mirror | None:
    try:
        return Mirror(url)  # type: ignore[arg-type]
    except PolicyError:
        return None

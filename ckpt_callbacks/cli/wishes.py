"""The mirrors of a run directory and their rules, as a file or the starts of training name them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..mirrors.catalog import Catalog
from ..mirrors.notes import all_notes
from ..mirrors.recorded import place_of, recorded_mirrors, recorded_urls
from ..mirrors.wanted import Wishes
from ..policy.mirror import Mirror
from ..policy.policy import Policy
from ..policy.retention import KeepAll
from ..store.manifest import Manifest
from .places import MirrorPlace


def mirrors_of(run: Manifest | Catalog, config: Path | None) -> Sequence[Mirror]:
    """Return the mirrors of a run, with their rules as far as they are known.

    Args:
        run: The manifest of the run directory, or what a mirror holds.
        config: The file that ``--config`` names; None for the newest start of training.
    """
    if config is None:
        return recorded_mirrors(run.attempts)
    from ..config import Config  # here, because importing the YAML reader is slow

    found: Sequence[Mirror] = Config.from_yaml(config).settings.mirrors
    return found


def all_mirrors(manifest: Manifest, config: Path | None) -> list[Mirror]:
    """Return the mirrors of a run directory, those of earlier starts, and those to which a command sent checkpoints.

    Args:
        manifest: The manifest of the directory.
        config: As for `mirrors_of`.
    """
    known = list(mirrors_of(manifest, config))
    urls = [*recorded_urls(manifest.attempts), *(notes.url for notes in all_notes(manifest.layout.private))]
    found: dict[str, Mirror] = {}
    for one in [*known, *(MirrorPlace().convert(url, None, None) for url in urls)]:
        found.setdefault(place_of(one.url), one)
    return list(found.values())


def former_mirrors(manifest: Manifest, config: Path | None) -> set[str]:
    """Return the places, as `place_of` spells them, of mirrors that only earlier starts of training had.

    Args:
        manifest: The manifest of the directory.
        config: As for `mirrors_of`.
    """
    now = {place_of(one.url) for one in mirrors_of(manifest, config)}
    return {place_of(url) for url in recorded_urls(manifest.attempts)} - now


def with_rules(given: Mirror, known: Sequence[Mirror], **changes: Any) -> Mirror:
    """Return a mirror that was named by its URL with the rules that are known of it.

    Args:
        given: The mirror, with its URL alone.
        known: The mirrors of the run directory.
        changes: Arguments of it that were given as well; None for those that were not.
    """
    found = next((one for one in known if place_of(one.url) == place_of(given.url)), given)
    named = {"url": given.url, **changes}  # with its user
    return replace(found, **{name: value for name, value in named.items() if value is not None})


def wishes_of(mirror: Mirror, policy: Policy | None, *, everything: bool = False) -> Wishes | None:
    """Return what a mirror is to hold; None if that is not known.

    Args:
        mirror: The mirror.
        policy: The policy of the run, if it is known.
        everything: Whether it is to hold all checkpoints that there are.
    """
    best = policy.best_metric if policy is not None else None
    keep = mirror.keep
    if everything:
        keep = KeepAll()
    elif keep is None and policy is not None:
        keep = policy.keep
    return None if keep is None else Wishes(keep, best, mirror.contents)


def required_wishes(run_dir: Path, mirror: Mirror, policy: Policy | None, *, everything: bool = False) -> Wishes:
    """Return what a mirror is to hold.

    Raises:
        StoreError: It is not known.
    """
    found = wishes_of(mirror, policy, everything=everything)
    if found is None:
        raise StoreError(
            f"{run_dir}: the manifest does not hold the policy; expected --config with its YAML file, or --all"
        )
    return found

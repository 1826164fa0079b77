"""The records of a mirror as `ckpt` lists them."""

from __future__ import annotations

from functools import cached_property
from pathlib import PurePath

from ..errors import MirrorError
from ..mirrors.catalog import Catalog, Entry
from ..mirrors.wanted import Wishes
from ..policy.plan import plan
from ..policy.policy import Policy
from ..policy.ranking import alias_targets
from ..record import ALIASES, Record
from .records import is_meant, measured


class MirrorListing:
    """All records of a mirror, with what the newest run's policy says about them.

    Args:
        url: The URL of its store.
        catalog: What it holds.
        policy: The policy of the newest run; None if it is not known.
        wishes: What the mirror is to hold; None if that is not known.

    Attributes:
        records: The records, oldest first.
        missing: Empty; see `Listing`.
        aliases: The names of each record of the newest run, by record id.
    """

    def __init__(self, url: str, catalog: Catalog, policy: Policy | None = None, wishes: Wishes | None = None) -> None:
        self._url, self._catalog, self._policy, self._wishes = url, catalog, policy, wishes
        self.records = sorted(catalog.records, key=lambda record: record.id)
        self.missing: set[int] = set()
        newest = catalog.attempts[-1].run if catalog.attempts else None
        self._own = [record for record in self.records if newest is None or record.run == newest]
        self._named = alias_targets(self._own, policy.best_metric if policy is not None else None)
        self.aliases: dict[int, list[str]] = {}
        for name, record in self._named.items():
            if record is not None:
                self.aliases.setdefault(record.id, []).append(name)

    @property
    def best(self) -> Record | None:
        """The best checkpoint of the newest run; None if there is none, or the policy is not known."""
        return self._named["best"]

    @cached_property
    def kept(self) -> dict[int, tuple[str, ...]]:
        """The reasons why each record stays by the rules of the mirror, by record id."""
        found: dict[int, tuple[str, ...]] = {}
        if self._wishes is not None:
            found |= plan(self._wishes.keep, self._own, best=self._wishes.best).reasons
        newest = self._catalog.attempts[-1].parent if self._catalog.attempts else None
        own = {record.id for record in self._own}
        for record in self.records:
            others = (
                (record.id not in own, "of an earlier run"), (bool(record.tags), f"tagged {', '.join(record.tags)}"),
                (record.id == newest, "the newest start continued from it"),
            )  # fmt: skip
            why = (*found.get(record.id, ()), *(words for holds, words in others if holds))
            found[record.id] = tuple(dict.fromkeys(why))
        return found

    def measured(self, record: Record) -> list[tuple[str, float]]:
        """Return the value of the metric that the policy ranks by; all values if it was not measured, or not known."""
        return measured(self._policy, record)

    def find(self, which: str) -> Entry:
        """Return the entry of the record with this id, alias, file or tag, or else with this step.

        Raises:
            MirrorError: There is no such record.
        """
        if which in ALIASES:
            found = self._named[which]
        else:
            name = PurePath(which).name
            ids = [record for record in self.records if which == str(record.id) or record.file == name]
            others = [record for record in self.records if is_meant(record, which)]
            found = max(ids or others, key=lambda record: record.id, default=None)
        entry = self._catalog.entry_of(found.id) if found is not None else None
        if entry is None:
            unknown = ""
            if which == "best" and self.records:
                unknown = ": no checkpoint there is ranked, or the policy is not known; --config names its file"
            raise MirrorError(
                f"{self._url}: has no checkpoint {which!r}{unknown}; expected an id, a step, a file, a tag, or one of "
                f"{', '.join(ALIASES)}; `ckpt ls {self._url}` lists them"
            )
        return entry

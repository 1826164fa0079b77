"""All mirrors of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..errors import MirrorError, PolicyError, ResumeError, first_line
from ..policy.mirror import Mirror, as_mirrors, check_ranking
from ..record import Record
from ..remote.retried import Retried
from ..remote.url import open_store
from .mirroring import Mirroring
from .places import check_places
from .recorded import RULES, URLS, described
from .restoring import Found, bring_back, find, holds_damaged, is_ahead
from .source import MirroredRun
from .wanted import newest_first

log = logging.getLogger("ckpt_callbacks")

_BRIEFLY, _PATIENTLY = 5.0, 20.0  # seconds for which a mirror is asked again at a start
_LONGEST, _POLL = 1800.0, 0.2  # seconds that other processes wait for the first one, and between two looks


class Mirrors:
    """Sends a run's checkpoints elsewhere, and brings them back.

    Args:
        mirrors: The places, the nearest first.
        run: The run.
        name: The caller's name in messages, such as ``"LightningCheckpoint"``.
        newest_intact: Reads the newest checkpoint to resume from, and an older one if it is damaged, and returns the
            intact one. Given True, it also records what is damaged. By default, all that the manifest lists is intact.

    Raises:
        MissingDependency: The library for one of them is not installed.
        PolicyError: There is no such kind of place, or one of them is wrong for this run.
    """

    def __init__(
        self,
        mirrors: Sequence[Mirror],
        run: MirroredRun,
        name: str,
        newest_intact: Callable[[bool], Record | None] | None = None,
    ) -> None:
        # A callback's are checked with its arguments; an own training loop gives its settings to the run.
        mirrors = as_mirrors(name, mirrors)
        check_ranking(name, mirrors, run.policy)
        check_places(name, mirrors, run.manifest.layout.dirpath)
        self._run, self._mirrors = run, mirrors
        self._newest = newest_intact or (lambda mark: next(reversed(run.resumable), None))
        try:
            stores = [open_store(mirror.url, mirror.storage_options) for mirror in mirrors]
        except MirrorError as error:
            raise PolicyError(f"{name}: mirrors: {first_line(error)}") from None
        self._stores, self._has_looked = stores, False
        self._all = [Mirroring(mirror, store, run) for mirror, store in zip(mirrors, stores, strict=True)]

    @property
    def urls(self) -> list[str]:
        """The places, without users and passwords."""
        return [one.url for one in self._all]

    @property
    def facts(self) -> Mapping[str, Any]:
        """What each start of training records about them, for commands."""
        if not self._mirrors:
            return {}
        return {URLS: self.urls, RULES: described(self._mirrors, self._run.policy)}

    def bring_back(self) -> Record | None:
        """Download the checkpoint to resume from, and the best one, if no such checkpoint is here, or none is intact.

        This is also done if the run was continued elsewhere since, by a start that the directory does not know, and if
        the newest one is damaged here. This process must have locked the directory.

        Raises:
            ResumeError: No mirror can be read, or none gives what it holds, or they hold a run of another framework.
        """
        manifest, policy = self._run.manifest, self._run.policy
        if not self._all:
            return None
        newest = self._newest(True)
        stores = [Retried(store, _PATIENTLY if newest is None else _BRIEFLY) for store in self._stores]
        try:
            found = find(stores, self._run.framework)
        except ResumeError as error:
            if newest is None:
                raise
            log.warning("%s; training continues from what is here", first_line(error))
            return None
        if newest is not None:
            ahead = [one for one in found if is_ahead(one.catalog, manifest)]
            if not ahead:
                damaged = [one for one in found if holds_damaged(one.catalog, manifest, newest)]
                return self._replace_damaged(damaged, newest)
            found = ahead
        is_repeated, self._has_looked = self._has_looked, True  # `fit` looks again after `resume_path`
        return bring_back(found, manifest, policy.best_metric, is_repeated=is_repeated)

    def _replace_damaged(self, found: Sequence[Found], newest: Record) -> Record | None:
        """Download a newer checkpoint than the newest intact one here; a line says why if none is intact there."""
        try:
            return bring_back(found, self._run.manifest, self._run.policy.best_metric, above=newest.id)
        except ResumeError as error:
            log.warning("%s; training continues from %s", first_line(error).partition("; expected")[0], newest.file)
            return None

    def await_back(self) -> None:
        """Wait until the first process has brought a checkpoint back, if a mirror has one and none here is intact.

        Raises:
            ResumeError: It has not, or no mirror can be read.
        """
        if not self._all:
            return
        self._run.manifest.refresh()
        before = {(record.id, record.file) for record in self._run.resumable}  # as long as nobody has looked at them
        if self._newest(False) is not None:
            return
        found = find([Retried(store, _PATIENTLY) for store in self._stores], self._run.framework)
        end = time.monotonic() + _LONGEST
        while any(newest_first(one.catalog) for one in found):
            self._run.manifest.refresh()
            if any((record.id, record.file) not in before for record in self._run.resumable):
                return
            if time.monotonic() > end:
                raise ResumeError(
                    f"{self._run.manifest.layout.dirpath}: the first process has brought no checkpoint back from "
                    f"{found[0].store.url}; expected a run directory that all processes see, or resume='auto'"
                )
            time.sleep(_POLL)

    def start(self) -> None:
        """Begin to send what is there."""
        for one in self._all:
            one.start()

    def wake(self) -> None:
        """Look for what is new."""
        for one in self._all:
            one.wake()

    def finish(self, patience: float, most: float = float("inf")) -> None:
        """Send all that is wanted, and end the threads. A line names each mirror that has not received all.

        Args:
            patience: Seconds without any progress after which a mirror is left as it is.
            most: Seconds after which all are left as they are.
        """
        begun = time.monotonic()
        for one in self._all:
            one.begin_to_finish()
        late = [one for one in self._all if not one.finish(patience, most - (time.monotonic() - begun))]
        for one in late:
            why = f" ({one.reason.removeprefix(f'{one.url}: ')})" if one.reason else ""
            log.warning(
                "%s: has not received all checkpoints yet%s; the next start continues, and so does `ckpt push %s %s`",
                one.url, why, self._run.manifest.layout.dirpath, one.url,
            )  # fmt: skip

    def stop(self) -> None:
        """End the threads at their next step."""
        for one in self._all:
            one.stop()

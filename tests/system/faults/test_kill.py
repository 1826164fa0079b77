"""A kill at every system call of the commit protocol, after which everything that was acknowledged exists."""

import os
import shutil
from collections import Counter

import pytest

from ckpt_callbacks.errors import CkptError
from tests.support.shares import share
from tests.system.faults.checks import check_goes_on, check_reopened, coming, describe, prepared
from tests.system.faults.inject import in_child, interposed, kill_before, listing
from tests.system.faults.writer import DIRECT, FILE, FOLDER, acknowledgements, train

pytestmark = pytest.mark.slow


def points(calls):
    """Return every call that changes the disk, and for the writes among them also their middle."""
    changing = [(call.number, False) for call in calls if call.changing]
    return changing + [(call.number, True) for call in calls if call.torn is not None]


@pytest.mark.parametrize("kind", [FILE, FOLDER, DIRECT])
def test_killed_at_every_call(place, figures, kind):
    dirpath, acknowledged = prepared(place)
    calls = listing(dirpath, lambda: train(dirpath, acknowledged, kind))
    tried = points(calls)
    assert {"manifest.new", "history.jsonl"} <= {os.path.basename(calls[number - 1].path) for number, _ in tried}
    losses = []
    for number, torn in (tried := share(tried)):
        dirpath, acknowledged = prepared(place)

        def work(dirpath=dirpath, acknowledged=acknowledged, number=number, torn=torn):
            with interposed(dirpath, kill_before(number, torn)):
                train(dirpath, acknowledged, kind)

        assert in_child(work) == 9
        try:
            check_reopened(dirpath, acknowledgements(acknowledged), coming(acknowledged, kind), kind)
            check_goes_on(dirpath, acknowledged, kind)
        except (AssertionError, CkptError, OSError) as error:
            losses.append(f"{describe(calls[number - 1], dirpath)}: {error!r}")
        shutil.rmtree(dirpath.parent)
    names = Counter(call.name for call in calls if call.changing)
    assert not losses, "\n".join(losses)
    figures(f"{len(tried)} points tried, losses = 0 ({', '.join(f'{n} {name}' for name, n in names.items())})")

"""A kill at every system call of saves that replace files, of second names and of deletions."""

import os
import shutil

import pytest

from ckpt_callbacks.store.digest import verify
from tests.support.named_saves import begun, files, save
from tests.support.shares import share
from tests.system.faults.inject import in_child, interposed, kill_before, listing
from tests.system.faults.writer import FILE, FOLDER, Stage, read, weights

pytestmark = pytest.mark.slow


class Source:
    def __init__(self, step, kind):
        self.step, self.kind = step, kind

    def snapshot(self, embedded):
        return Stage(self.step, embedded, self.kind)

    def metadata(self):
        return {}


def train(dirpath, said, kind):
    """Save the best twice, with a second name for the newest, and delete what another save has replaced."""
    run = begun(dirpath)
    for step in (1, 2, 3):
        name = "best.bin" if step < 3 else "a/third.bin"
        number = save(run, name, step=step, source=Source(step, kind))
        run.named.link("last.bin", name, reason="the newest")
        if step == 3:
            run.named.delete("best.bin", after=number)
        run.wait()
        said.write_text(str(step))
    run.close()


@pytest.mark.parametrize("kind", [FILE, FOLDER])
def test_killed_at_every_call(tmp_path, kind, figures):
    def place():
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        (tmp_path / "said").write_text("0")
        return tmp_path / "run", tmp_path / "said"

    dirpath, said = place()
    calls = listing(dirpath, lambda: train(dirpath, said, kind))
    assert files(dirpath)
    tried = share(call.number for call in calls if call.changing)
    for number in tried:
        dirpath, said = place()

        def work(dirpath=dirpath, said=said, number=number):
            with interposed(dirpath, kill_before(number)):
                train(dirpath, said, kind)

        assert in_child(work) == 9
        promised, where = int(said.read_text()), f"{calls[number - 1].name} {os.path.basename(calls[number - 1].path)}"
        run = begun(dirpath)
        run.directory.repair_if_idle()
        live = run.view.manifest.live()
        assert all(verify(record) is None for record in live), where
        assert len({record.file for record in live}) == len(live), where
        newest = next(run.view.verified_resumable(), None)
        assert promised <= (newest.step if newest else 0), where
        for record in live:
            assert read(record.path)[1] == weights(record.step), where
        save(run, "best.bin", step=9, source=Source(9 % 6, kind))  # it goes on
        run.close()
    figures(f"{len(tried)} points tried, losses = 0")

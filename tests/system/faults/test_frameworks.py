"""Real training runs: killed at system calls of every kind, with failing calls, and with flipped bits."""

import errno
import random
import shutil

import pytest

from ckpt_callbacks import Every, KeepAll, Policy, VerifyError
from ckpt_callbacks.store.digest import verify
from ckpt_callbacks.store.manifest import Manifest
from tests.support.training import run_of
from tests.system.faults.checks import describe
from tests.system.faults.inject import fail, in_child, interposed, kill_before
from tests.system.faults.trainings import (
    EPOCHS,
    FRAMEWORKS,
    alone,
    check_resumes,
    load_framework,
    points,
    prepared,
    side_by_side,
    traced,
    train,
    trains_in_spite_of,
)
from tests.system.faults.writer import new_run

pytestmark = pytest.mark.slow


def tried_at(place, dirpath, call, attempt):
    """Return a job that makes one attempt at one call in a new directory."""

    def job():
        folder = place()
        try:
            attempt(*prepared(folder))
        except AssertionError as error:
            raise AssertionError(f"{describe(call, dirpath)}: {error}") from None
        finally:
            shutil.rmtree(folder)

    return job


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_killed_at_calls_of_every_kind(place, figures, framework):
    load_framework(framework)
    dirpath, _ = prepared(place())
    calls = traced(framework, dirpath)
    tried = points([call for call in calls if call.changing])

    def job(call):
        def attempt(dirpath, acknowledged):
            def work():
                with interposed(dirpath, kill_before(call.number)):
                    train(framework, dirpath, acknowledged)

            assert in_child(work) in (0, 9)  # 0: it looked for SAVE_NOW less often
            check_resumes(framework, dirpath, acknowledged)

        return tried_at(place, dirpath, call, attempt)

    losses = side_by_side(job(call) for call in tried)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} points tried of {len(calls)} calls, losses = 0")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_error_at_calls_of_every_kind(place, figures, framework):
    load_framework(framework)
    dirpath, _ = prepared(place())
    calls = traced(framework, dirpath)
    begins = next(call.number for call in calls if call.name == "mkdir" and call.path.endswith("/staging"))
    tried = [(call, errno.EIO) for call in points(calls)]
    tried += [(call, errno.ENOSPC) for call in points([call for call in calls if call.changing])]

    def job(call, error):
        def attempt(dirpath, acknowledged):
            fault = interposed(dirpath, fail(call.number, error))
            starting = call.number < begins
            alone(lambda: trains_in_spite_of(fault, framework, dirpath, acknowledged, starting=starting))
            check_resumes(framework, dirpath, acknowledged, EPOCHS + 1)

        return tried_at(place, dirpath, call, attempt)

    losses = side_by_side(job(*each) for each in tried)
    assert not losses, f"{len(losses)} of {len(tried)}\n" + "\n".join(losses)
    figures(f"{len(tried)} faults tried at {len(calls)} calls, losses = 0")


NATIVE = {
    ".ckpt": ("lightning", {}),
    ".keras": ("keras", {}),
    ".weights.h5": ("keras", {"contents": "weights"}),
    ".h5": ("keras", {"format": "h5"}),
}


@pytest.mark.parametrize("suffix", NATIVE)
def test_forty_flipped_bits(place, figures, suffix):
    framework, settings = NATIVE[suffix]
    load_framework(framework)
    dirpath, policy = place() / "run", Policy(Every(epochs=1), KeepAll())
    assert in_child(lambda: train(framework, dirpath, policy=policy, **settings)) == 0
    *_, before, newest = Manifest.read(dirpath).live()
    assert newest.file.endswith(suffix)
    whole, random_ = newest.path.read_bytes(), random.Random(1)
    noticed = 0
    for _ in range(40):
        content = bytearray(whole)
        content[random_.randrange(len(content))] ^= 1 << random_.randrange(8)
        newest.path.write_bytes(content)
        with pytest.raises(VerifyError):
            verify(newest)
        noticed += 1
        if newest.resumable:
            assert next(new_run(dirpath).view.verified_resumable()).id == before.id

    def resumed():
        callback = train(framework, dirpath, epochs=4, policy=policy, **settings)
        assert run_of(callback).directory.manifest.attempts[-1].parent == before.id
        assert callback.last().epoch == 4

    if newest.resumable:
        alone(resumed)
    figures(f"{noticed} of 40 flipped bits in {len(whole)} bytes noticed ({newest.file})")

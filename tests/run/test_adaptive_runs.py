"""Adaptive intervals in a real `Run`: measured costs of saves reach the decisions and the records."""

import json

from ckpt_callbacks import EventKind, Every, Policy
from ckpt_callbacks.config import Config
from ckpt_callbacks.testing import FakeClock, FakeWriter
from tests.support.command import ckpt
from tests.support.training import new_run, report, start

POLICY = Policy(save=Every(overhead=0.01))
BLOCKED = 0.5


class Stage(FakeWriter):
    """Blocks training for a while at each save, and stores what the checkpoint would embed."""

    def __init__(self, run, clock):
        super().__init__()
        self.run, self.clock, self.carried = run, clock, None

    def snapshot(self, embedded):
        self.clock.advance(BLOCKED)
        self.carried = json.loads(json.dumps(embedded.run))
        return self


def train(dirpath, steps, snapshot=None):
    """Steps of a second each. Returns the run and its stage."""
    clock = FakeClock()
    described = Config(POLICY).to_mapping()
    run = new_run(dirpath, POLICY, suffix=".ckpt", described=described, clock=clock)
    run.open()
    if snapshot is not None:
        run.restore(snapshot)
    stage = Stage(run, clock)
    start(run, step=run.state.step, epoch=0)
    for step in range(run.state.step + 1, steps + 1):
        clock.advance(1.0)
        report(run, EventKind.STEP_END, step=step, epoch=0, stage=stage)
        run.wait()
    run.close()
    return run, stage


def test_a_run_keeps_to_its_share_over_a_resume(tmp_path):
    run, stage = train(tmp_path, steps=240)
    assert [record.time for record in run.view.records()] == [1.0, 100.5, 151.0, 201.5]
    assert run.state.costs.blocked == 4 * BLOCKED
    again, _ = train(tmp_path, steps=400, snapshot=stage.carried)
    resumed = [record.time for record in again.view.records() if record.attempt == 2]
    assert resumed == [251.5, 302.0, 352.5, 403.0]  # it knows what a save costs, and when the last one was asked for
    last = ckpt("log", tmp_path).stdout.splitlines()[-1]
    assert last == POLICY.adaptive[0].pace.explain(again.state.costs)
    assert last == "overhead 1%: every 50 s, because a save blocks 0.5 s"

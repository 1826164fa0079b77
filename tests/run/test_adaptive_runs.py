"""Adaptive intervals in a real `Run`: what saves cost finds its way from the clock to the decisions and the records."""

import json

from click.testing import CliRunner

from ckpt_callbacks import EventKind, Every, Policy
from ckpt_callbacks.cli import main
from ckpt_callbacks.config import Config
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.testing import FakeClock, FakeWriter

POLICY = Policy(save=Every(overhead=0.01))
BLOCKED = 0.5


class Stage(FakeWriter):
    """Blocks the training for a while each time, and keeps what the checkpoint would carry."""

    def __init__(self, run, clock):
        super().__init__()
        self.run, self.clock, self.snapshot = run, clock, None

    def __call__(self):
        self.clock.advance(BLOCKED)
        self.snapshot = json.loads(json.dumps(self.run.snapshot()))
        return self


def train(dirpath, steps, snapshot=None):
    """Steps of a second each. Returns the run and its stage."""
    clock = FakeClock()
    described = Config(POLICY).to_mapping()
    run = Run(POLICY, Settings(dirpath), format=".ckpt", name="Test", described=described, clock=clock)
    run.open()
    if snapshot is not None:
        run.restore(snapshot)
    stage = Stage(run, clock)
    run.start(step=run.state.step, epoch=0)
    for step in range(run.state.step + 1, steps + 1):
        clock.advance(1.0)
        run.observe(EventKind.STEP_END, step=step, epoch=0, stage=stage)
        run.wait()
    run.close()
    return run, stage


def test_a_run_keeps_to_its_share_over_a_resume(tmp_path):
    run, stage = train(tmp_path, steps=240)
    assert [record.time for record in run.records()] == [1.0, 100.5, 151.0, 201.5]
    assert run.state.costs.blocked == 4 * BLOCKED
    again, _ = train(tmp_path, steps=400, snapshot=stage.snapshot)
    resumed = [record.time for record in again.records() if record.attempt == 2]
    assert resumed == [251.5, 302.0, 352.5, 403.0]  # it knows what a save costs, and when the last one was asked for
    last = CliRunner().invoke(main, ["log", str(tmp_path)]).stdout.splitlines()[-1]
    assert last == POLICY.adaptive[0].pace.explain(again.state.costs)
    assert last == "overhead 1%: every 50 s, because a save blocks 0.5 s"

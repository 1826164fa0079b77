"""Proofs that the recipes of CONTRIBUTING.md work: scripts that are run against the edited copy of the package."""

# A training without a framework, as an adapter would drive it. `play` saves into ``runs/a``.
_PLAY = """
import json
from pathlib import Path
from ckpt_callbacks import *
from ckpt_callbacks.config import Config
from ckpt_callbacks.run.run import Run
from ckpt_callbacks.settings import Settings
from ckpt_callbacks.store.manifest import Manifest
from ckpt_callbacks.testing import FakeWriter

VAL = Metric("val_loss", mode="min")

def play(policy, curve, *, listeners=(), source=None, suffix=".bin", end=True, mirrors=()):
    run = Run(policy, Settings(dirpath="runs/a", mirrors=mirrors), suffix=suffix, framework="test", name="Test")
    run.listeners.extend(listeners)
    run.open()
    run.start(source or FakeWriter(), step=0, epoch=0)
    for epoch, value in enumerate(curve, start=1):
        run.observe(Event.epoch_end(step=10 * epoch, epoch=epoch, metrics={"val_loss": value}))
        run.wait()
    if end:
        run.observe(Event.end(step=10 * len(curve), epoch=len(curve)))
    run.end()
    return run
"""

# What each recipe may touch, from the package's folder.
FILES = {
    "A trigger": ("policy/triggers.py", "config/rule_names.py", "__init__.py"),
    "A retention rule": ("policy/retention.py", "config/rule_names.py", "__init__.py"),
    "A kind of mirror": ("remote/*.py",),
    "8-bit floats, and other contents": (
        "policy/contents.py", "policy/contents_order.py", "config/rule_contents.py", "formats/reduction.py",
        "formats/*/rounding.py", "formats/*/thin.py",
    ),
    "A file format, such as a sharded directory": (
        "formats/__init__.py", "formats/dcp/*.py", "run/collective.py", "torch/sharded.py",
    ),
    "An adapter for another framework": ("torch/callback.py", "hf/*.py"),
    "A command, such as `ckpt tags`": ("cli/tags.py", "run/outside_requests.py"),
    "Replay": ("replay/*.py", "cli/replay.py"),
    "A report": ("report/*.py", "cli/report.py", "store/manifest.py"),
    "A tracker, such as W&B": ("trackers/*.py",),
    "A corrected decision of a drop-in": ("lightning/drop_ins/*.py", "keras/drop_ins/*.py"),
    "A setting": ("settings.py", "config/schema.py", "lightning/callback.py", "keras/callback.py"),
}  # fmt: skip

PROOFS = {
    "A trigger": _PLAY
    + """
policy = Policy(Below(VAL, 0.5), KeepAll())
Path("ckpt.yaml").write_text(policy.to_yaml())
assert "below:" in policy.to_yaml() and Policy.from_yaml("ckpt.yaml") == policy
run = play(policy, [0.7, 0.4, 0.6, 0.3], end=False)
assert [(r.step, r.reasons) for r in run.view.records()] == [
    (20, ("val_loss is below 0.5",)), (40, ("val_loss is below 0.5",))]
""",
    "A retention rule": _PLAY
    + """
policy = Policy(Every(epochs=1), KeepFirst(2) | KeepLast(1))
Path("ckpt.yaml").write_text(policy.to_yaml())
assert Policy.from_yaml("ckpt.yaml") == policy
run = play(policy, [0.7, 0.4, 0.6, 0.3], end=False)
assert [r.step for r in run.view.records()] == [10, 20, 40]
assert run.view.plan().reasons[1] == ("first 2",)
""",
    "A kind of mirror": _PLAY
    + """
import shutil
mirror, policy = Mirror(f"sqlite://{Path.cwd()}/mirror.db"), Policy(Every(epochs=1), KeepLast(1))
run = play(policy, [0.7, 0.4], mirrors=(mirror,))
last = run.view.last()
run.close()
shutil.rmtree("runs")
again = Run(policy, Settings(dirpath="runs/a", mirrors=(mirror,)), suffix=".bin", framework="test", name="Test")
again.open()
found = again.directory.mirrors.bring_back()
assert (found.step, found.digest) == (last.step, last.digest) and found.path.read_bytes() == b"checkpoint"
""",
    "8-bit floats, and other contents": _PLAY
    + """
import torch
from ckpt_callbacks import Contents
from ckpt_callbacks.torch.staging import TorchStaging

class Source:
    def snapshot(self, embedded):
        state = {"weight": torch.ones(3), "count": torch.tensor(2)}
        return TorchStaging().stage({"state_dict": state, "ckpt_callbacks": {"record": dict(embedded.record)}})

    def metadata(self):
        return {}

rules = "save: {every: {epochs: 1}}, dirpath: runs/a"
Path("ckpt.yaml").write_text("{" + rules + ", contents: {kind: weights, dtype: fp8}}")
config = Config.from_yaml("ckpt.yaml")
assert Config.from_mapping(config.to_mapping()) == config
run = Run(config.policy, config.settings, suffix=".ckpt", framework="test", name="Test")
run.open()
run.start(Source(), step=0, epoch=0)
run.observe(Event.epoch_end(step=10, epoch=1))
run.end()
run.close()
(record,) = run.view.records()
found = torch.load(record.path, weights_only=True)["state_dict"]
assert found["weight"].dtype is torch.float8_e4m3fn and found["count"].dtype is torch.int64
assert not record.resumable and record.reduced["dtype"] == "fp8"
""",
    "A file format, such as a sharded directory": _PLAY
    + """
from ckpt_callbacks.errors import VerifyError
from ckpt_callbacks.formats import format_of
from ckpt_callbacks.formats.dcp import format as dcp
from ckpt_callbacks.run.snapshot import LiveSnapshot
from ckpt_callbacks.store.digest import verify

class Sharded:
    def snapshot(self, embedded):
        facts = {"record": dict(embedded.record), "run": dict(embedded.run)}
        return LiveSnapshot(lambda path: dcp.write(path, [b"first", b"second"], facts))

    def metadata(self):
        return {}

run = play(Policy(Every(epochs=1), KeepLast(1)), [0.7, 0.4, 0.3], source=Sharded(), suffix=".dcp", end=False)
(record,) = run.view.records()
assert record.path.is_dir() and record.path.suffix == ".dcp" and record.size > 0
verify(record)
assert [p.name for p in Path("runs/a").glob("*.dcp") if not p.is_symlink()] == [record.file]
assert format_of(record.path).facts(record.path)["record"]["step"] == 30
(record.path / "__1_0.distcp").unlink()
try:
    format_of(record.path).check(record.path, ())
except VerifyError as error:
    assert "has 1 shards; expected 2" in str(error)
else:
    raise AssertionError("a lost shard was not noticed")
""",
    "An adapter for another framework": """
import torch
from ckpt_callbacks import Every, KeepLast, Policy
from ckpt_callbacks.torch.callback import TorchCheckpoint

def train(until):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 1)
    optimizer = torch.optim.Adam(model.parameters())
    checkpoint = TorchCheckpoint("runs/a", Policy(Every(steps=5), KeepLast(2)), model, optimizer)
    begun = step = checkpoint.start()
    while step < until:
        optimizer.zero_grad()
        loss = model(torch.full((4, 3), float(step))).square().mean()
        loss.backward()
        optimizer.step()
        step += 1
        checkpoint.step_end(step, loss=float(loss))
    checkpoint.end(step)
    return begun, model.state_dict()

train(7)
begun, resumed = train(12)
assert begun == 7, begun
import shutil
shutil.rmtree("runs")
begun, whole = train(12)
assert begun == 0 and all(torch.equal(whole[name], resumed[name]) for name in whole)
""",
    "A command, such as `ckpt tags`": _PLAY
    + """
from click.testing import CliRunner
from ckpt_callbacks.cli import main

play(Policy(Every(epochs=1), KeepAll()), [0.7, 0.4, 0.6, 0.3], end=False)
manifest = Manifest.read("runs/a")
for id_ in (2, 4):
    manifest.change(id_, tags=("release",))
assert "tags" in CliRunner().invoke(main, ["--help"]).output
done = CliRunner().invoke(main, ["tags", "runs/a"])
files = [manifest.records[id_].file for id_ in (2, 4)]
assert (done.exit_code, done.output) == (0, f"release: {', '.join(files)}\\n"), done.output
done = CliRunner().invoke(main, ["tags", "runs/a", "--json"])
assert json.loads(done.output) == {"tag": "release", "files": files}
""",
    "Replay": _PLAY
    + """
from ckpt_callbacks.replay import replay
policy = Policy(Improves(VAL), KeepLast(2), stop=Patience(VAL, checks=2))
curve = [0.7, 0.4, 0.6, 0.5, 0.1]
events = [Event.epoch_end(step=10 * n, epoch=n, metrics={"val_loss": v}) for n, v in enumerate(curve, start=1)]
found = replay(policy, events)
assert [r.step for r in found.plan.keep] == [10, 20] and found.stopped.epoch == 4
""",
    "A report": _PLAY
    + """
from click.testing import CliRunner
from ckpt_callbacks.cli import main

play(Policy(Every(epochs=1) | Improves(VAL), KeepAll()), [0.7, 0.4], end=False)
done = CliRunner().invoke(main, ["report", "runs/a"])
assert done.exit_code == 0, done.output
assert done.output.count("<tr>") == 3
assert "<td>val_loss=0.4</td><td>every 1 epoch; val_loss improved to 0.4</td>" in done.output
""",
    "A tracker, such as W&B": _PLAY
    + """
from ckpt_callbacks.trackers.wandb import WandbTracker

class FakeRun:
    logged = []
    def log(self, data, step=None):
        self.logged.append((step, data["checkpoint/reasons"]))

play(Policy(Every(epochs=1), KeepLast(1)), [0.7, 0.4], listeners=[WandbTracker(FakeRun())], end=False)
assert FakeRun.logged == [(10, "every 1 epoch"), (20, "every 1 epoch")]
""",
    "A corrected decision of a drop-in": """
from ckpt_callbacks.keras import EarlyStopping

stopping = EarlyStopping("accuracy", mode="max")
stopping.on_train_begin()
stopping._set_monitor_op()
assert stopping._is_improvement(0.5, 0.4) and not stopping._is_improvement(0.4, 0.5)
assert not stopping._is_improvement(float("inf"), 0.5) and not stopping._is_improvement(float("nan"), 0.5)
""",
    "A setting": _PLAY
    + """
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.keras import KerasCheckpoint

policy = Policy(Every(epochs=1))
config = Config(policy, Settings(dirpath="runs/a", tries=3))
Path("ckpt.yaml").write_text(config.to_yaml())
assert "tries: 3" in config.to_yaml() and Config.from_yaml("ckpt.yaml") == config
for callback in (LightningCheckpoint, KerasCheckpoint):
    assert callback("runs/b", policy, tries=4)._run.settings.tries == 4
    assert callback.from_yaml("ckpt.yaml")._run.settings.tries == 3
try:
    Settings(tries=0)
except PolicyError as error:
    assert "tries is 0" in str(error)
else:
    raise AssertionError
""",
}

"""Snapshots of a training run: consistent, and in reused memory."""

import logging

import pytest
import torch

from ckpt_callbacks.formats.torch import writer as torch_file
from ckpt_callbacks.lightning import LightningCheckpoint, checkpoint_io
from ckpt_callbacks.memory import arena
from ckpt_callbacks.torch import staging as staging_module
from ckpt_callbacks.torch.staging import TorchStaging, expected_size
from tests.adapters.lightning.task import EACH_EPOCH, Model, fit, loaders, trainer
from tests.torch.trainings import SAID, Plugin, Together, lives

LARGE = 100_000  # floats


def loaded(snapshot, path):
    snapshot.write(path)
    snapshot.release()
    return torch.load(path)


def test_an_arena_is_used_again_once_its_snapshot_is_released(tmp_path):
    staging, value = TorchStaging(), torch.zeros(LARGE)
    for step in range(3):
        value.fill_(step)
        snapshot = staging.stage({"a": value})
        assert not staging._arenas._free
        value.fill_(-1)
        assert torch.equal(loaded(snapshot, tmp_path / f"{step}.ckpt")["a"], torch.full((LARGE,), float(step)))
        assert len(staging._arenas._free) == 1


def test_several_snapshots_are_alive_at_once(tmp_path):
    staging, value, snapshots = TorchStaging(), torch.zeros(LARGE), []
    for step in range(3):
        value.fill_(step)
        snapshots.append(staging.stage({"a": value}))
    for step, snapshot in enumerate(snapshots):
        assert loaded(snapshot, tmp_path / f"{step}.ckpt")["a"].unique().tolist() == [step]


def test_a_layout_that_changes_between_saves_is_followed(tmp_path):
    staging, model = TorchStaging(), torch.nn.Linear(300, 300)
    adam = torch.optim.Adam(model.parameters())
    for step in range(3):
        state = {"state_dict": model.state_dict(), "optimizer": adam.state_dict()}
        expected = [t.clone() for t in (*model.state_dict().values(), *(s["exp_avg"] for s in adam.state.values()))]
        snapshot = staging.stage(state)
        model.extra = torch.nn.Linear(300 * (step + 1), 400)  # as LoRA does
        model(torch.ones(2, 300)).sum().backward()
        adam.step()
        held = loaded(snapshot, tmp_path / f"{step}.ckpt")
        found = [*held["state_dict"].values(), *(s["exp_avg"] for s in held["optimizer"]["state"].values())]
        assert len(found) == len(expected) and all(map(torch.equal, found, expected))


def test_a_failed_write_can_be_repeated(tmp_path):
    snapshot = TorchStaging().stage({"a": torch.ones(LARGE)})
    (tmp_path / "a.ckpt").touch()
    with pytest.raises(FileExistsError):
        snapshot.write(tmp_path / "a.ckpt")
    assert torch.equal(loaded(snapshot, tmp_path / "b.ckpt")["a"], torch.ones(LARGE))


def test_too_little_memory_is_logged_once_and_nothing_is_copied(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(arena, "available_memory", lambda: 1 << 20)
    staging = TorchStaging()
    staging.prepare(1 << 20)
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b"):
            snapshot = staging.stage({"a": torch.ones(LARGE)})
            assert snapshot.live
            assert torch.equal(loaded(snapshot, tmp_path / name)["a"], torch.ones(LARGE))
    assert caplog.text.count("training waits until each checkpoint is written") == 1


def test_memory_is_given_back(tmp_path):
    staging = TorchStaging()
    staging.prepare(LARGE * 4)
    staging._arenas.give_back(kept := staging._arenas.take())
    snapshot = staging.stage({"a": torch.ones(LARGE)})
    staging.release()
    assert torch.equal(loaded(snapshot, tmp_path / "a.ckpt")["a"], torch.ones(LARGE))
    assert kept.size == 0 and not staging._arenas._free


def test_what_is_prepared_is_what_a_checkpoint_needs():
    module, fitter = Model(width=20_000), trainer(max_steps=1, enable_checkpointing=False)
    fitter.fit(module, *loaders())
    staging, size = TorchStaging(), expected_size(module, fitter.optimizers)
    staging.prepare(size)
    staging._arenas.give_back(arena := staging._arenas.take())
    before = arena._memory
    staging.stage(fitter._checkpoint_connector.dump_checkpoint(weights_only=False)).release()
    assert arena._memory is before and size > 3 * (expected_size(module) - 4096) > 0


@pytest.mark.parametrize("staging", ["memory", "none"])
def test_a_run_is_saved_and_resumed_from_snapshots(tmp_path, staging):
    module, _, callback = fit(tmp_path, EACH_EPOCH, max_epochs=2, arguments={"staging": staging})
    held = torch.load(callback.last().path, weights_only=True)["state_dict"]
    assert all(torch.equal(held[name], value) for name, value in module.state_dict().items())
    _, fitter, _ = fit(tmp_path, EACH_EPOCH, max_epochs=3, resume=True, arguments={"staging": staging})
    assert fitter.global_step == 30


def test_an_optimizer_keeps_no_memory_of_a_file(tmp_path):
    fit(tmp_path, EACH_EPOCH, max_epochs=2)
    _, fitter, callback = fit(tmp_path, EACH_EPOCH, max_epochs=2, resume=True)
    inode = callback.last().path.stat().st_ino
    with open("/proc/self/maps") as maps:
        assert not [line for line in maps if line.split()[4] == str(inode)], "the file is still mapped"
    assert fitter.optimizers[0].state


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"plugins": [Plugin()]}, "Plugin writes the files"),
        ({"strategy": Together("cpu")}, "Together has its own way to save"),
        ({}, f"the internals of torch {torch.__version__} are not as expected"),
    ],
    ids=["a plugin", "a strategy", "an unknown torch"],
)
def test_if_no_copy_can_be_made_no_memory_is_taken_and_that_is_logged_once(
    tmp_path, monkeypatch, caplog, settings, why
):
    if not settings:
        monkeypatch.setattr(checkpoint_io, "is_known", lambda: False)
        monkeypatch.setattr(torch_file, "is_known", lambda: False)
    assert lives(tmp_path, **settings) == []
    assert caplog.text.count(SAID) == caplog.text.count(f"{why}; {SAID}") == 1


@pytest.mark.parametrize("settings", [{}, {"strategy": Together("cpu")}], ids=["a copy", "a strategy"])
def test_a_checkpoint_carries_the_save_that_made_it(tmp_path, settings):
    callback = LightningCheckpoint(tmp_path, EACH_EPOCH)
    trainer(callback, max_epochs=2, **settings).fit(Model(), *loaders())
    for record in callback.records():
        run = torch.load(record.path)["callbacks"][callback.state_key]["snapshot"]
        assert (run["record"], run["run"]) == (record.id, record.run)
        assert run["save"] is not None


@pytest.mark.parametrize("arguments", [{"staging": "none"}, {"background": False}], ids=str)
def test_nothing_is_logged_if_no_copy_was_requested(tmp_path, caplog, arguments):
    assert lives(tmp_path / "a", arguments) == lives(tmp_path / "b", arguments, plugins=[Plugin()]) == []
    assert SAID not in caplog.text


def test_if_a_copy_can_be_made_its_memory_is_held_and_nothing_is_logged(tmp_path, caplog):
    assert len(lives(tmp_path)) == 1
    assert SAID not in caplog.text


def test_a_device_that_cannot_be_copied_is_named_and_what_cannot_be_saved_at_all_is_not(tmp_path, monkeypatch, caplog):
    staging = TorchStaging()
    with pytest.raises(Exception, match=r"pickle|local object"):
        staging.stage({"a": lambda: None}).write(tmp_path / "a.ckpt")
    assert SAID not in caplog.text
    monkeypatch.setattr(staging_module, "DEVICES", ("cuda",))
    (tmp_path / "a.ckpt").unlink()
    assert torch.equal(loaded(staging.stage({"a": torch.ones(3)}), tmp_path / "a.ckpt")["a"], torch.ones(3))
    assert f"a storage on cpu cannot be copied; {SAID}" in caplog.text


def test_two_callbacks_of_one_trainer_both_copy_and_both_leave_it_as_it_was(tmp_path, caplog):
    callbacks = [LightningCheckpoint(tmp_path / name, EACH_EPOCH) for name in "ab"]
    fitter = trainer(*callbacks, max_epochs=2)
    plugin = fitter.strategy.checkpoint_io
    fitter.fit(Model(), *loaders())
    assert fitter.strategy.checkpoint_io is plugin
    assert all([record.epoch for record in callback.records()] == [1, 2] for callback in callbacks)
    assert SAID not in caplog.text

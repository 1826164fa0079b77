"""Rules that need only the weights: Lightning evaluates the reduced files, and resumes from the whole ones."""

import shutil

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging

from ckpt_callbacks import Contents, Every, KeepAll, KeepBest, KeepLast, Policy, Status
from ckpt_callbacks.errors import ResumeError
from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.reduced_runs import resumed_exactly
from tests.adapters.lightning.task import VAL, Model, digest, fit, loaders, trainer
from tests.support.command import ckpt

BEST_WEIGHTS = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents="weights"))
EACH_WEIGHTS = Policy(Every(epochs=1), KeepAll(contents="weights"))


def test_a_reduced_best_is_evaluated_and_loaded_as_any_other(tmp_path):
    module, fitter, callback = fit(tmp_path, EACH_WEIGHTS)
    first, second, last = callback.records()
    assert [record.status for record in (first, second, last)] == [Status.THINNED, Status.THINNED, Status.VERIFIED]
    assert first.size < 0.8 * last.size
    found = torch.load(second.path, weights_only=True)
    assert "optimizer_states" not in found and found["hyper_parameters"] == {"width": 8}
    assert Model.load_from_checkpoint(first.path).net[0].weight.shape == (8, 10)
    scores = [fitter.validate(module, loaders()[1], ckpt_path=str(r.path), verbose=False)[0]["val_loss"]
              for r in (first, second)]  # fmt: skip
    assert scores == pytest.approx([first.metrics["val_loss"], second.metrics["val_loss"]])


def test_best_is_reduced_and_a_killed_run_resumes_exactly(tmp_path):
    whole = fit(tmp_path / "whole", BEST_WEIGHTS, max_epochs=5)
    fit(tmp_path / "run", BEST_WEIGHTS, max_epochs=3)
    resumed = fit(tmp_path / "run", BEST_WEIGHTS, max_epochs=5, resume=True)
    assert digest(*resumed[:2]) == digest(*whole[:2])
    callback = resumed[2]
    best = callback.best()
    assert best.path == whole[2].best().path.parent.parent / "run" / whole[2].best().file
    score = resumed[1].test(resumed[0], loaders()[1], ckpt_path="best", verbose=False)[0]["test_loss"]
    assert score == pytest.approx(best.metrics["val_loss"])


class Table(Model):
    """A module whose hyperparameters hold an object that `torch.load` refuses without the script's own code."""

    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"kind": Kind()})


class Kind:
    """A class of the script."""


def test_a_file_that_only_the_script_can_read_stays_whole_with_a_line(tmp_path, caplog):
    lightning.seed_everything(7, verbose=False)
    callback = LightningCheckpoint(tmp_path, EACH_WEIGHTS)
    trainer(callback, max_epochs=2).fit(Table(), *loaders())
    assert [record.contents for record in callback.records()] == ["full", "full"]
    (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
    assert "Kind" in line and str(callback.records()[0].path) in line


HALVED = Contents("weights", "bf16")
BEST_HALVED = Policy(Every(epochs=1), KeepLast(1) | KeepBest(2, by=VAL, contents=HALVED))


def test_best_in_half_precision_loads_into_the_model_and_the_run_resumes_exactly(tmp_path):
    whole, module, fitter, thinned = resumed_exactly(tmp_path, BEST_HALVED, EACH_WEIGHTS)
    assert thinned and all(record.reduced["dtype"] == "bf16" for record in thinned)
    for record in thinned:
        before = next(r for r in whole.records() if r.epoch == record.epoch)
        state = torch.load(record.path, weights_only=True)["state_dict"]
        exact = torch.load(before.path, weights_only=True)["state_dict"]
        assert all(torch.equal(state[name], value.bfloat16()) for name, value in exact.items())
        loaded = Model.load_from_checkpoint(record.path)
        assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
        score = fitter.validate(module, loaders()[1], ckpt_path=str(record.path), verbose=False)[0]["val_loss"]
        assert score == pytest.approx(record.metrics["val_loss"], rel=0.02)
    assert ckpt("verify", tmp_path / "run").exit_code == 0
    assert "weights, bf16" in ckpt("ls", tmp_path / "run").stdout


def test_a_part_that_is_left_out_is_filled_by_the_model_that_it_is_loaded_into(tmp_path, caplog):
    contents = Contents("weights", drop=("net.0", "nte.3"), reference="hub/diabetes")
    _, _, callback = fit(tmp_path, Policy(Every(epochs=1), KeepAll(contents=contents)), max_epochs=2)
    record, _ = callback.records()
    state = torch.load(record.path, weights_only=True)["state_dict"]
    assert set(state) == {"net.3.weight", "net.3.bias"} and record.reduced["dropped"]["tensors"] == 2
    module = Model()
    first = module.net[0].weight.detach().clone()
    assert module.load_state_dict(state, strict=False).missing_keys == ["net.0.weight", "net.0.bias"]
    assert torch.equal(module.net[0].weight, first) and torch.equal(module.net[3].weight, state["net.3.weight"])
    (line,) = [message for message in caplog.messages if "drop has names" in message]
    assert "'nte.3' (did you mean 'net.3'?)" in line
    shown = ckpt("show", tmp_path, str(record.id)).stdout
    assert "contents: weights, without net.0\n" in shown and "reference: hub/diabetes" in shown


def test_the_contents_of_a_whole_policy_hold_for_each_of_its_rules(tmp_path):
    policy = Policy(Every(epochs=1), KeepLast(2) | KeepBest(1, by=VAL, contents="weights"))
    _, _, callback = fit(tmp_path, policy, arguments={"contents": HALVED})
    kinds = {(record.contents, record.reduced.get("dtype")) for record in callback.records()}
    best = callback.best()
    assert best.reduced == {} and kinds == {("weights", "bf16"), ("weights", None)}
    assert ckpt("thin", tmp_path).stdout == f"{tmp_path}: nothing to reduce\n", "the manifest holds the policy"


class Adapter(Model):
    """A network whose first layer is frozen."""

    def __init__(self):
        super().__init__()
        self.net[0].requires_grad_(False)

    def configure_optimizers(self):
        return torch.optim.Adam(self.net[3].parameters(), 0.02)


def test_the_trained_parameters_alone_are_kept_and_name_their_base(tmp_path):
    lightning.seed_everything(7, verbose=False)
    contents = Contents("weights", weights="trainable", reference="hub/base")
    callback = LightningCheckpoint(tmp_path, Policy(Every(epochs=1), KeepAll(contents=contents)))
    module = Adapter()
    trainer(callback, max_epochs=3).fit(module, *loaders())
    first, second, last = callback.records()
    state = torch.load(first.path, weights_only=True)["state_dict"]
    assert set(state) == {"net.3.weight", "net.3.bias"}
    assert first.reduced["base"] == second.reduced["base"] and first.reduced["base"].startswith("xxh3_128:")
    assert last.contents == "full" and module.load_state_dict(state, strict=False).unexpected_keys == []
    assert "reference: hub/base" in ckpt("show", tmp_path, str(first.id)).stdout


SLOW = pytest.mark.slow


@pytest.mark.parametrize("source", ["ema", *(pytest.param(source, marks=SLOW) for source in ("model", None, "swa"))])
def test_the_averages_or_the_trained_weights_are_kept(tmp_path, caplog, source):
    each = Policy(Every(epochs=1), KeepAll(contents=Contents("weights", "fp32", source=source)))
    average = EMAWeightAveraging(decay=0.9)
    whole = fit(tmp_path / "whole", Policy(Every(epochs=1), KeepAll()), extra=[EMAWeightAveraging(decay=0.9)])[2]
    _, _, callback = fit(tmp_path / "run", each, extra=[average])
    first, full = callback.records()[0], whole.records()[0]
    if source == "swa":
        assert first.contents == "full"
        (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
        assert "expected source='ema', because EMAWeightAveraging made its averages; the file stays whole" in line
        return
    state = torch.load(full.path, weights_only=True)
    expected = state["current_model_state"] if source == "model" else state["state_dict"]
    found = torch.load(first.path, weights_only=True)["state_dict"]
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)
    assert first.reduced.get("source") == source and "current_model_state" in state


@SLOW
def test_the_averages_of_stochastic_weight_averaging_are_kept_once_there_are_any(tmp_path, caplog):
    contents = Contents("weights", source="swa")
    policy = Policy(Every(epochs=1), KeepAll(contents=contents))
    averaging = StochasticWeightAveraging(0.01, swa_epoch_start=2, annealing_epochs=1)
    _, _, callback = fit(tmp_path, policy, extra=[averaging], max_epochs=5)
    kinds = [(record.contents, record.reduced.get("source")) for record in callback.records()]
    assert kinds[0] == ("full", None) and ("weights", "swa") in kinds
    assert [m for m in caplog.messages if "cannot be reduced" in m and "averaging had not begun" in m]


def test_a_run_without_averages_leaves_its_checkpoints_whole(tmp_path, caplog):
    contents = Contents("weights", source="ema")
    _, _, callback = fit(tmp_path, Policy(Every(epochs=1), KeepLast(2)), arguments={"contents": contents}, max_epochs=2)
    assert [record.contents for record in callback.records()] == ["full", "full"]
    (line,) = [message for message in caplog.messages if "cannot be reduced" in message]
    assert "it holds no averages for source='ema'" in line


def test_a_reduced_one_that_is_named_to_resume_from_is_one_clear_line(tmp_path):
    _, _, callback = fit(tmp_path / "run", EACH_WEIGHTS, max_epochs=3)
    first, _, last = callback.records()
    shutil.copy(first.path, tmp_path / "copy.ckpt")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").glob("[a-z]*.ckpt")}
    for path, by_trainer in [(first.path, True), (first.path, False), (tmp_path / "copy.ckpt", True)]:
        again = LightningCheckpoint(tmp_path / "run", EACH_WEIGHTS, resume="auto" if by_trainer else path)
        with pytest.raises(ResumeError) as caught:
            trainer(again, max_epochs=5).fit(Model(), *loaders(), ckpt_path=path if by_trainer else None)
        line = str(caught.value)
        assert line.startswith(f"{path}: holds only weights, so a run cannot be resumed from it; expected ")
        assert f"such as {last.path}, or " in line and "\n" not in line
    assert {path.name: path.read_bytes() for path in (tmp_path / "run").glob("[a-z]*.ckpt")} == before


def test_a_reduced_one_begins_a_new_run_that_asks_for_weights_alone(tmp_path):
    first = fit(tmp_path / "run", EACH_WEIGHTS, max_epochs=2)[2].records()[0]
    module = Model()
    callback = LightningCheckpoint(tmp_path / "new", EACH_WEIGHTS, resume={"optimizer": False, "step": False})
    trainer(callback, max_epochs=1).fit(module, *loaders(), ckpt_path=first.path)
    assert [record.epoch for record in callback.records()] == [1]

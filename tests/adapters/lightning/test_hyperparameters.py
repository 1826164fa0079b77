"""Hyperparameters of all kinds: saved as they are, bounded in records, and searched once."""

import dataclasses
import enum
import json
import sys
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.formats.torch import check
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.lightning.hyperparameters import Hyperparameters
from ckpt_callbacks.run import process_fits
from tests.adapters.lightning.task import EACH_EPOCH, Model, loaders, trainer

EACH_STEP = Policy(Every(steps=1), KeepAll())


@dataclasses.dataclass
class Settings:
    rate: float = 0.1


class Kind(enum.Enum):
    A = 1


class With(Model):
    def __init__(self, value):
        super().__init__()
        self.save_hyperparameters({"value": value, "lr": 0.5})


def train(dirpath, module, steps=3):
    callback = LightningCheckpoint(dirpath, EACH_STEP)
    trainer(callback, max_steps=steps).fit(module, *loaders())
    return callback


def cyclic():
    value = {"a": 1, "child": {"b": 2}}
    value["child"]["parent"] = value
    return value


def cyclic_with_a_path():
    return cyclic() | {"path": Path("/data")}


def in_a_tuple():
    value = []
    value.append((value, Path("/data")))
    return value


def deep():
    value = leaf = []
    for _ in range(sys.getrecursionlimit() // 3):
        leaf.append([])
        leaf = leaf[0]
    return value


@pytest.mark.parametrize("make", [cyclic, cyclic_with_a_path, in_a_tuple, deep])
def test_what_pickle_can_take_is_saved_at_each_step(tmp_path, caplog, make):
    callback = train(tmp_path, With(make()))
    assert [record.step for record in callback.records()] == [1, 2, 3]
    assert "was not saved" not in caplog.text
    found = torch.load(callback.last().path, weights_only=make is not deep)["hyper_parameters"]["value"]
    if make is cyclic:
        assert found["child"]["parent"] is found
    elif make is cyclic_with_a_path:
        assert found["path"] == "/data" and found["child"]["parent"]["child"]["parent"]["a"] == 1
    elif make is in_a_tuple:
        assert found[0][1] == "/data" and found[0][0][0][1] == "/data"


def test_what_hyperparameters_share_stays_shared():
    inner = [Path("/data")]
    checkpoint = {"hyper_parameters": {"a": inner, "b": [inner], "c": OrderedDict(p=Path("/x"))}}
    Hyperparameters().convert(checkpoint)
    found = checkpoint["hyper_parameters"]
    assert found["a"] == ["/data"] and found["b"][0] is found["a"]
    assert found["c"] == OrderedDict(p="/x") and type(found["c"]) is OrderedDict
    assert inner == [Path("/data")], "the module's own are not touched"


def test_what_is_large_and_known_is_not_looked_through_again_and_its_changes_are_saved():
    hyperparameters, value, looked = Hyperparameters(), {"words": ["a"] * 3000}, []
    for number in range(3):
        checkpoint = {"hyper_parameters": {"value": value, "lr": number}}
        hyperparameters.convert(checkpoint)
        assert checkpoint["hyper_parameters"]["value"] is value, "pickle reads the values as they are now"
        looked.append(hyperparameters._loadable["hyper_parameters", "value"])
    assert looked[0] is looked[1] is looked[2]
    value["path"] = Path("/data")
    hyperparameters.convert(checkpoint := {"hyper_parameters": {"value": value}})
    assert checkpoint["hyper_parameters"]["value"]["path"] == "/data"


def test_a_part_that_changes_in_place_is_converted_and_described(tmp_path):
    class Scheduled(With):
        def on_train_batch_end(self, *_):
            cycle = self.hparams["value"]
            cycle["child"]["b"] += 1
            cycle["folders"][0] = Path(f"/data/{cycle['child']['b']}")

    callback = train(tmp_path, Scheduled(cyclic() | {"folders": ["/data"]}))
    for record in callback.records():
        value = torch.load(record.path, weights_only=True)["hyper_parameters"]["value"]
        assert (value["child"]["b"], value["folders"]) == (record.step + 2, [f"/data/{record.step + 2}"])
        described = record.metadata["hyperparameters"]["value"]
        assert described["child"]["b"] == record.step + 2 and described["folders"] == value["folders"]


def test_a_large_value_is_described_once():
    class Large:
        asked = 0

        def __str__(self):
            Large.asked += 1
            return "x" * 1_000_000

    hyperparameters, large = Hyperparameters(), Large()
    for rate in (0.1, 0.2):
        assert hyperparameters.describe({"large": large, "rate": rate}) == {"large": "x" * 200, "rate": rate}
    assert Large.asked == 1
    assert hyperparameters.describe({"large": Large()}) and Large.asked == 2, "another object is described anew"


LARGE = {
    "words": [f"word{i}" for i in range(20_000)],
    "vocabulary": {f"word{i}": i for i in range(20_000)},
    "table": [(i, [float(i)]) for i in range(20_000)],
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_large_hyperparameters_are_whole_in_the_file_and_short_in_the_records(tmp_path, name):
    callback = train(tmp_path, With(LARGE[name]))
    assert torch.load(callback.last().path, weights_only=True)["hyper_parameters"]["value"] == LARGE[name]
    assert sum(path.stat().st_size for path in (tmp_path / ".run").rglob("*") if path.is_file()) < 100_000
    metadata = callback.last().metadata["hyperparameters"]
    assert metadata["lr"] == 0.5 and "more" in json.dumps(metadata)


@pytest.mark.parametrize("value", [Settings(), Kind.A, np.float64(0.1), Namespace(a=Settings())], ids=repr)
def test_torch_itself_opens_one_file_of_each_kind_also_if_it_refuses_it(tmp_path, monkeypatch, value):
    opened, real = [], check.load_known
    monkeypatch.setattr(check, "_refused", {})
    monkeypatch.setattr(check, "load_known", lambda path: opened.append(path) or real(path))
    callback = train(tmp_path, With(value), steps=4)
    assert len(callback.records()) == 4 and len(opened) == 1


def test_an_error_that_occurs_at_each_save_is_reported_as_permanent(tmp_path, caplog):
    class Unpicklable(Model):
        def on_save_checkpoint(self, checkpoint):
            checkpoint["mine"] = lambda: 0

    train(tmp_path, Unpicklable())
    assert "each save will fail until the script is changed" in caplog.text and "tries again" not in caplog.text


def test_an_error_that_occurs_twice_is_reported_as_likely_to_recur(tmp_path, caplog):
    class Failing(Model):
        def on_save_checkpoint(self, checkpoint):
            raise ValueError("no")

    train(tmp_path, Failing())
    first, second = [line for line in caplog.messages if "was not saved" in line][:2]
    assert "the next save tries again" in first and "failed in the same way" in second


class Tuned(Model):
    def __init__(self, rate):
        super().__init__()
        self.save_hyperparameters()


def test_what_has_changed_since_the_checkpoint_is_named_with_the_optimizers_rate(tmp_path, caplog):
    def train(rate, epochs, **arguments):
        module = Tuned(rate)
        ours = LightningCheckpoint(tmp_path, EACH_EPOCH, **arguments)
        fitter = trainer(ours, max_epochs=epochs)
        fitter.fit(module, *loaders(), ckpt_path=None if arguments else ours.resume_path())
        assert fitter.global_step == 10 * epochs and not any(record.superseded for record in ours.records())

    train(0.02, 1)
    train(0.02, 2)
    assert "have changed" not in caplog.text
    train(0.5, 3)
    assert caplog.text.count("have changed since this checkpoint: rate 0.02 -> 0.5; the optimizer is restored") == 1
    assert "with the learning rate 0.01;" in caplog.text, "as its schedule has left it"
    caplog.clear()
    process_fits._fits.clear()  # as in a new process
    train(0.7, 4, resume={"optimizer": False})
    assert "starts from scratch" not in caplog.text, "the message leads to a resume"
    assert "have changed since" not in caplog.text, "a new optimizer follows them"

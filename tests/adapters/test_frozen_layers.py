"""Models of which 90 % are frozen, trained with Lightning and Keras on a file system with reflinks."""

import warnings

import pytest

from ckpt_callbacks import Every, KeepAll, Policy
from ckpt_callbacks.store.digest import verify
from tests.support.reflinks import mounted, used

pytestmark = pytest.mark.slow
FROZEN, WIDTH = 10, 700
EACH = Policy(Every(epochs=1), KeepAll())


@pytest.fixture(params=["btrfs", "xfs"])
def top(request, tmp_path):
    with mounted(request.param, tmp_path, 640 << 20) as folder:
        yield folder


def train_lightning(dirpath, **given):
    import lightning
    import torch

    from ckpt_callbacks.lightning import LightningCheckpoint

    class Model(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layers = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(FROZEN + 1))
            self.layers[:FROZEN].requires_grad_(False)

        def training_step(self, batch, index):
            return self.layers[FROZEN](batch[0]).square().mean()

        def configure_optimizers(self):
            return torch.optim.SGD(self.layers[FROZEN].parameters(), 0.1)

    ours = LightningCheckpoint(dirpath, **given)
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.randn(4, WIDTH)))
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lightning.Trainer(max_epochs=10, callbacks=[ours], **quiet).fit(Model(), data)
    return ours.records()


def train_keras(dirpath, **given):
    import keras
    import numpy as np

    from ckpt_callbacks.keras import KerasCheckpoint

    layers = [keras.layers.Dense(WIDTH) for _ in range(FROZEN + 1)]
    model = keras.Sequential([keras.Input((WIDTH,)), *layers])
    for layer in layers[:FROZEN]:
        layer.trainable = False
    model.compile("sgd", "mse")
    data = np.random.default_rng(0).random((4, WIDTH), np.float32)
    ours = KerasCheckpoint(dirpath, **given)
    model.fit(data, data, epochs=10, batch_size=1, verbose=0, callbacks=[ours])
    return ours.records()


@pytest.mark.parametrize(
    ("train", "given"),
    [
        (train_lightning, {"contents": "weights"}),
        (train_lightning, {"contents": "weights", "background": False, "staging": "none"}),
        (train_keras, {"contents": "weights"}),
        (train_keras, {"contents": "weights", "format": "h5"}),
    ],
)
def test_ten_weights_files_take_less_than_two(top, train, given):
    train(top / "before", policy=EACH, **given)  # what the file system itself needs grows at first
    before = used(top)
    records = train(top / "run", policy=EACH, **given)
    assert len(records) == 10 and all(verify(record) is None for record in records)
    # The share of 1/11 that is trained changes each time: 1 + 9/11 = 1.82.
    assert used(top) - before <= 1.9 * records[0].size


@pytest.mark.parametrize("train", [train_lightning])
def test_ten_files_of_which_nine_were_reduced_do_so_too(top, train):
    train(top / "before", policy=EACH)
    policy, before = Policy(Every(epochs=1), KeepAll(contents="weights")), used(top)
    records = train(top / "run", policy=policy)
    assert [record.contents for record in records] == 9 * ["weights"] + ["full"]
    assert all(verify(record) is None for record in records)
    assert used(top) - before <= 1.9 * records[0].size

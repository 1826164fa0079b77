"""One whole run with a bucket, in the quick suite; all others are in `make test-mirrors`."""

import shutil

import pytest
import torch

from tests.adapters.lightning.task import EACH_EPOCH, digest, fit
from tests.system.mirrors.places import PLACES

PLACE = "s3" if "s3" in PLACES else "folder"


@pytest.mark.parametrize("place", [PLACE], indirect=True)
def test_training_continues_from_a_bucket_after_the_loss_of_its_directory(place, tmp_path):
    torch.set_num_threads(1)
    whole, trainer, _ = fit(tmp_path / "whole", max_epochs=2)
    settings = {"arguments": {"mirrors": [place.mirror]}, "num_sanity_val_steps": 0}
    fit(tmp_path / "run", EACH_EPOCH, max_epochs=1, **settings)
    shutil.rmtree(tmp_path / "run")
    module, resumed, callback = fit(tmp_path / "run", EACH_EPOCH, resume=True, max_epochs=2, **settings)
    assert resumed.global_step == trainer.global_step == 20
    assert digest(module, resumed) == digest(whole, trainer)
    assert len(callback.records()) == 2

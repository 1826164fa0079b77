"""Calls of `fit` with an `initial_epoch` of the script's own."""

import pytest

from ckpt_callbacks import Every, KeepAll, OnPreempt, Policy
from tests.adapters.keras.stops import At, fingerprint, terminate
from tests.adapters.keras.task import checkpoint, epochs_of, fit, quick

EACH = Policy(Every(epochs=1) | OnPreempt(), KeepAll())


def places(callback):
    return [(record.step, record.epoch) for record in callback.records()]


@pytest.mark.parametrize(
    ("every", "saved"),
    [
        pytest.param(5, [(12, 10), (20, 12)], marks=pytest.mark.slow),
        pytest.param(3, [(8, 9), (20, 12)], marks=pytest.mark.slow),
        (1, [(4, 8), (8, 9), (12, 10), (16, 11), (20, 12)]),
    ],
)
def test_the_epochs_before_it_make_no_rule_due(tmp_path, every, saved):
    ours = checkpoint(tmp_path, Policy(Every(epochs=every), KeepAll()))
    fit(quick(), ours, initial_epoch=7, epochs=12)
    assert places(ours) == saved


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_a_script_that_passes_it_again_continues_where_it_was(tmp_path, caplog, batch):
    settings = {"initial_epoch": 2, "epochs": 4}
    whole = quick()
    fit(whole, checkpoint(tmp_path / "whole", EACH), **settings)
    with pytest.raises(SystemExit):
        fit(quick(), At("on_train_batch_begin", batch, terminate), checkpoint(tmp_path / "cut", EACH), **settings)
    resumed, ours = quick(), checkpoint(tmp_path / "cut", EACH)
    assert epochs_of(resumed, ours, **settings) == [2, 3][batch // 5 :]
    assert fingerprint(resumed) == fingerprint(whole)
    assert "but the run continues" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "epoch"), [(3, 0), pytest.param(6, 1, marks=pytest.mark.slow)])
def test_a_later_one_does_not_skip_what_was_not_trained(tmp_path, caplog, batch, epoch):
    whole = quick()
    fit(whole, checkpoint(tmp_path / "whole", EACH))
    with pytest.raises(SystemExit):
        fit(quick(), At("on_train_batch_begin", batch, terminate), checkpoint(tmp_path / "cut", EACH))
    resumed = quick()
    assert epochs_of(resumed, checkpoint(tmp_path / "cut", EACH), initial_epoch=2) == list(range(epoch, 3))
    assert fingerprint(resumed) == fingerprint(whole)
    said = f"fit() got initial_epoch=2, but the run continues at epoch {epoch}, where its checkpoint was taken"
    assert caplog.text.count(said) == 1
    assert epochs_of(resumed, initial_epoch=4, epochs=5) == [4], "the next fit is not affected"

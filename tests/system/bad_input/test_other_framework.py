"""A run directory of one framework in the hands of the other framework's callback."""

import pytest

from ckpt_callbacks import StoreError
from ckpt_callbacks.keras import KerasCheckpoint
from ckpt_callbacks.lightning import LightningCheckpoint
from ckpt_callbacks.record import Attempt, Record, Status
from ckpt_callbacks.store.manifest import Manifest


@pytest.mark.parametrize(
    "theirs, ours", [(KerasCheckpoint, LightningCheckpoint), (LightningCheckpoint, KerasCheckpoint)]
)
@pytest.mark.parametrize("facts", ["framework", "holder"])  # earlier versions wrote only the latter
def test_no_path_to_resume_from_is_given_to_another_framework(tmp_path, theirs, ours, facts):
    written = {"holder": theirs.__name__}
    if facts == "framework":
        written["framework"] = theirs.__name__.removesuffix("Checkpoint").lower()
    manifest = Manifest(tmp_path)
    manifest.start(Attempt("a", 1, None, 0.0, written))
    (tmp_path / "X.ckpt").write_bytes(b"x")
    manifest.put(Record(1, "X.ckpt", run="a", size=1, status=Status.VERIFIED))
    callback = ours(tmp_path, monitor="val_loss")
    for _ in range(2):
        with pytest.raises(StoreError, match=f"holds a run of {theirs.__name__}, whose files {ours.__name__} cannot"):
            callback.resume_path()

"""``ckpt check`` of what ``ckpt explain`` has printed."""

from pathlib import Path

from tests.cli.command_line import ckpt

SCRIPT = """
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

ModelCheckpoint(args.out + "/best", monitor=args.monitor, mode="min")
EarlyStopping(args.monitor, mode="min")
"""


def test_check_names_what_stands_in_for_arguments_that_were_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    _, _, whole = ckpt("explain", "train.py")[1].rpartition("together: ")
    text = "".join(f"{line[4:]}\n" for line in whole.splitlines() if line.startswith("    "))
    text += 'filename: "{epoch}-<args.tag>"\n'
    Path("ckpt.yaml").write_text(text)
    code, out, err = ckpt("check", "ckpt.yaml")
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        "ckpt.yaml: dirpath: got '<args.out>/best', a placeholder; expected the run directory, or none if the script "
        "gives it",
        "ckpt.yaml: filename: got '{epoch}-<args.tag>', a placeholder; expected a template, such as '{epoch}'",
        "ckpt.yaml: monitor: got '<args.monitor>', a placeholder; expected the name of a metric",
    ]
    text = text.replace("<args.out>", "runs").replace("<args.tag>", "a").replace("<args.monitor>", "val_loss")
    Path("ckpt.yaml").write_text(text)
    assert ckpt("check", "ckpt.yaml")[0] == 0

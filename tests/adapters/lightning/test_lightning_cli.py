"""Lightning's command line and plugins."""

import functools
import json
import signal

import lightning
import pytest

from tests.adapters.lightning.task import Model, fit, loaders
from tests.support.forks import forks_of


def test_an_asynchronous_plugin_is_refused(tmp_path):
    from lightning.pytorch.plugins.io import AsyncCheckpointIO

    with pytest.raises(Exception, match=r"AsyncCheckpointIO.*remove the plugin"):
        fit(tmp_path, plugins=[AsyncCheckpointIO()])


class DataModule(lightning.LightningDataModule):
    def train_dataloader(self):
        return loaders()[0]

    def val_dataloader(self):
        return loaders()[1]


def test_lightning_cli(tmp_path):
    from lightning.pytorch.cli import LightningCLI

    config = {
        "trainer": {
            "max_epochs": 1, "logger": False, "accelerator": "cpu", "enable_progress_bar": False,
            "callbacks": [
                {
                    "class_path": "ckpt_callbacks.lightning.LightningCheckpoint",
                    "init_args": {
                        "dirpath": str(tmp_path / "inline"),
                        "policy": {"save": [{"every": {"epochs": 1}}], "keep": [{"last": 2}]},
                    },
                }
            ],
        }
    }  # fmt: skip
    text = "save: [{every: {steps: 5}}]\nkeep: all\n"
    (tmp_path / "ckpt.yaml").write_text(text)

    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert [p.name for p in (tmp_path / "inline").glob("Model*")] == ["Model-001-10.ckpt"]
    callback = config["trainer"]["callbacks"][0]
    callback["init_args"] = {"dirpath": str(tmp_path / "file"), "policy": str(tmp_path / "ckpt.yaml")}
    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert len(list((tmp_path / "file").glob("Model*"))) == 2
    callback["init_args"] = {"dirpath": str(tmp_path / "short"), "monitor": "val_loss", "patience": 5}
    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert (tmp_path / "short" / "best.ckpt").exists()


SCRIPT = """
import os, pathlib, signal
from lightning.pytorch.cli import LightningCLI
from tests.adapters.lightning.test_lightning_cli import DataModule, Model

class Victim(Model):
    def on_train_batch_start(self, batch, index):
        if self.trainer.global_step == 15 and (armed := pathlib.Path("armed")).exists():
            armed.unlink()
            self.trainer.checkpoint_callback.wait()
            os.kill(os.getpid(), signal.SIGKILL)
    def on_train_start(self):
        self.began = self.trainer.global_step

cli = LightningCLI(Victim, DataModule, save_config_callback=None, seed_everything_default=7)
print(f"began at {cli.model.began}, ended at {cli.trainer.global_step}")
"""


@pytest.mark.parametrize(
    ("resume", "option"), [("auto", []), pytest.param("never", ["--ckpt_path=last"], marks=pytest.mark.slow)]
)
def test_one_command_starts_and_after_a_kill_resumes(tmp_path, resume, option):
    arguments = {"dirpath": "run", "policy": {"save": [{"every": {"epochs": 1}}], "keep": "all"}, "resume": resume}
    callback = {"class_path": "ckpt_callbacks.lightning.LightningCheckpoint", "init_args": arguments}
    facts = {"max_epochs": 2, "logger": False, "accelerator": "cpu", "callbacks": [callback]}
    _write(tmp_path, {"trainer": facts})
    (tmp_path / "armed").touch()
    run = functools.partial(forks_of().complete_code, SCRIPT, "fit", "--config=cli.yaml", *option, cwd=tmp_path)
    assert run().returncode == -signal.SIGKILL
    resumed = run()
    assert "began at 10, ended at 20" in resumed.stdout, resumed.stdout + resumed.stderr
    assert "no last checkpoint" not in resumed.stderr


def _write(tmp_path, config):
    path = tmp_path / "cli.yaml"
    path.write_text(json.dumps(config))
    return path

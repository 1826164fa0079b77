"""Lightning's command line and plugins."""

import lightning
import pytest

from tests.adapters.lightning.task import Model, fit, loaders


def test_an_asynchronous_plugin_is_refused(tmp_path):
    from lightning.pytorch.plugins.io import AsyncCheckpointIO

    with pytest.raises(Exception, match=r"AsyncCheckpointIO.*remove the plugin"):
        fit(tmp_path, plugins=[AsyncCheckpointIO()])


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

    class DataModule(lightning.LightningDataModule):
        def train_dataloader(self):
            return loaders()[0]

        def val_dataloader(self):
            return loaders()[1]

    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert [p.name for p in (tmp_path / "inline").glob("Model*")] == ["Model-001-10.ckpt"]
    callback = config["trainer"]["callbacks"][0]
    callback["init_args"] = {"dirpath": str(tmp_path / "file"), "policy": str(tmp_path / "ckpt.yaml")}
    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    assert len(list((tmp_path / "file").glob("Model*"))) == 2


def _write(tmp_path, config):
    import json

    path = tmp_path / "cli.yaml"
    path.write_text(json.dumps(config))
    return path

"""Lightning's command line and plugins."""

import functools
import json
import signal

import lightning
import pytest
import torch
from lightning.pytorch.cli import LightningCLI

from ckpt_callbacks.lightning import LightningCheckpoint
from tests.adapters.lightning.task import Model, fit, loaders
from tests.support.forks import forks_of

NAME = "ckpt_callbacks.lightning.LightningCheckpoint"


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
    contents = {"kind": "weights", "dtype": "bf16", "drop": ["net.3"]}
    callback["init_args"] = {
        "dirpath": str(tmp_path / "short"), "monitor": "val_loss", "patience": 5, "contents": contents,
    }  # fmt: skip
    LightningCLI(Model, DataModule, args=["fit", f"--config={_write(tmp_path, config)}"], save_config_callback=None)
    saved = torch.load(tmp_path / "short" / "best.ckpt", weights_only=True)["state_dict"]
    assert {name: value.dtype for name, value in saved.items()} == dict.fromkeys(
        ["net.0.weight", "net.0.bias"], torch.bfloat16
    )


@pytest.mark.parametrize(
    "mirrors",
    [
        "{tmp}/a",
        ["{tmp}/a", {"url": "{tmp}/b", "keep": [{"best": 1}, {"last": 1}], "contents": "weights", "every": "10 min"}],
        {"url": "memory://a", "max_upload_rate": "10 MB", "storage_options": {"secret_access_key": "canary-4711"}},
    ],
)
def test_mirrors_in_a_config_are_those_of_the_callback(tmp_path, mirrors):
    mirrors = json.loads(json.dumps(mirrors).replace("{tmp}", str(tmp_path)))
    given = {"dirpath": str(tmp_path / "run"), "monitor": "val_loss", "mirrors": mirrors}
    config = {"trainer": {"accelerator": "cpu", "callbacks": [{"class_path": NAME, "init_args": given}]}}
    arguments = [f"--config={_write(tmp_path, config)}"]
    cli = LightningCLI(Model, DataModule, args=arguments, save_config_callback=None, run=False)
    expected = LightningCheckpoint(tmp_path / "run", monitor="val_loss", mirrors=mirrors)._settings.mirrors
    assert cli.trainer.checkpoint_callback._settings.mirrors == expected and expected


@pytest.mark.parametrize("folder", ["", "conf/"])
@pytest.mark.parametrize(
    "callback",
    [
        {"class_path": f"{NAME}", "init_args": {"dirpath": None, "policy": "ckpt.yaml"}},
        {"class_path": f"{NAME}.from_yaml", "init_args": {"path": "ckpt.yaml"}},
    ],
    ids=["policy", "from_yaml"],
)
def test_a_policy_file_is_looked_for_beside_the_file_that_names_it(tmp_path, monkeypatch, callback, folder):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "ckpt.yaml").write_text("dirpath: run\nsave: on_preempt\nkeep: all\n")
    arguments = {name: value and f"{'' if folder else 'conf/'}{value}" for name, value in callback["init_args"].items()}
    config = {"trainer": {"accelerator": "cpu", "callbacks": [{**callback, "init_args": arguments}]}}
    path = _write(tmp_path / folder, config).relative_to(tmp_path)
    cli = LightningCLI(Model, DataModule, args=[f"--config={path}"], save_config_callback=None, run=False)
    assert cli.trainer.checkpoint_callback.dirpath == str(tmp_path / "run")


@pytest.mark.parametrize(
    ("callback", "lines"),
    [
        (
            {"class_path": NAME, "init_args": {"dirpath": "run", "policy": {"save": {"every": {"epoch": 1}}}}},
            ["LightningCheckpoint: policy: save.every: unknown field 'epoch'; expected one of "],
        ),
        (
            {"class_path": NAME, "init_args": {"dirpath": "run", "monitor": "quality"}},
            ["LightningCheckpoint: monitor: 'quality' does not say whether less or more is better; expected mode="],
        ),
        (
            {"class_path": NAME, "init_args": {"dirpath": "run", "monitor": "val_loss", "mirrors": [{"url": 3}]}},
            ["LightningCheckpoint: mirrors[0]: url is 3; expected a URL or a path, such as "],
        ),
        (
            {"class_path": NAME, "init_args": {"policy": "wrong.yaml"}},
            ["LightningCheckpoint: policy: unknown field 'keeep'; ", ": policy: save: unknown field 'on_premt'; "],
        ),
        (
            {"class_path": f"{NAME}.from_yaml", "init_args": {"path": "wrong.yaml"}},
            ["LightningCheckpoint: policy: unknown field 'keeep'; ", ": policy: save: unknown field 'on_premt'; "],
        ),
    ],
    ids=["inline", "monitor", "mirrors", "file", "from_yaml"],
)
def test_a_mistake_ends_the_command_with_its_own_lines(tmp_path, monkeypatch, capsys, callback, lines):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "wrong.yaml").write_text("dirpath: run\nsave: on_premt\nkeeep: all\n")
    config = _write(tmp_path, {"trainer": {"accelerator": "cpu", "callbacks": [callback]}})
    make = functools.partial(
        LightningCLI, Model, DataModule, args=[f"--config={config}"], save_config_callback=None, run=False
    )
    with pytest.raises(SystemExit, match=r"^2$"):
        make()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines)
    for line, expected in zip(said, lines, strict=True):
        assert line.startswith("error: ") and expected in line
    monkeypatch.setenv("JSONARGPARSE_DEBUG", "true")
    with pytest.raises(ValueError, match="Does not validate against any of the Union subtypes"):
        make()


def test_the_help_shows_choices(capsys):
    with pytest.raises(SystemExit):
        LightningCLI(Model, DataModule, args=["fit", f"--trainer.callbacks.help={NAME}"], save_config_callback=None)
    printed = " ".join(capsys.readouterr().out.split())
    for choices in ("'full', 'weights'", "'warn', 'raise'", "'wait', 'skip'", "'memory', 'none'", "'auto', 'never'"):
        assert f"Literal[{choices}]" in printed
    assert "callbacks.staging" in printed and "callbacks.clock" not in printed


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


@pytest.mark.slow
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

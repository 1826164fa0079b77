"""Checks of the documents: Python and YAML blocks, `ckpt` commands and examples run; names and quotes are right."""

import ast
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from ckpt_callbacks import Contents, Event, Policy, PolicyError, Record, State, Status, decide, load_weights, plan
from ckpt_callbacks.config import Config
from ckpt_callbacks.policy.ranking import best_record
from ckpt_callbacks.policy.smoothed_ranking import smoothed_ranking
from ckpt_callbacks.store.manifest import Manifest
from tests.formats.reducible import reduced
from tests.formats.splitting import split
from tests.support.forks import forks_of
from tests.support.processes import ROOT

PACKAGE = ROOT / "ckpt_callbacks"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PRELUDE = """
import logging, warnings
logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.filterwarnings("ignore")
from sklearn.datasets import load_diabetes
features, target = load_diabetes(return_X_y=True)
x, x_val, y, y_val = features[:100], features[100:140], target[:100, None] / 100, target[100:140, None] / 100
import lightning, torch
from torch.utils.data import DataLoader, TensorDataset
class Model(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(10, 1)
    def training_step(self, batch, index):
        loss = (self.layer(batch[0]) - batch[1]).square().mean()
        self.log("train_loss", loss)
        return loss
    def validation_step(self, batch, index):
        self.log("val_loss", (self.layer(batch[0]) - batch[1]).square().mean())
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 0.01)
model = Model()
def loader(a, b):
    return DataLoader(TensorDataset(torch.tensor(a).float(), torch.tensor(b).float()), 20)
train_loader, val_loader = loader(x, y), loader(x_val, y_val)
"""
KERAS_PRELUDE = """
import keras
model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(1)])
model.compile("adam", "mse")
"""


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.M | re.S)


def test_readme_runs(tmp_path):
    """Run all blocks of the README, in order, in one folder; then its `ckpt` commands, beside its YAML file."""
    program = PRELUDE
    for block in blocks(ROOT / "README.md", "python"):
        program += (KERAS_PRELUDE if "model.fit" in block else "") + block
    done = forks_of().complete_code(program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    commands = [
        line for block in blocks(ROOT / "README.md", "console") for line in block.splitlines() if line[:1] == "$"
    ]
    assert len(commands) >= 3
    (text,) = [block for block in blocks(ROOT / "README.md", "yaml") if "ema" in block]
    (tmp_path / "ckpt.yaml").write_text(text)
    for command in commands:
        words = shlex.split(command.lstrip("$ "), comments=True)
        done = subprocess.run([Path(sys.executable).with_name(words[0]), *words[1:]], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, (command, done.stderr)


YAML = [
    pytest.param(block, id=f"{path.name}-{n}") for path in DOCUMENTS for n, block in enumerate(blocks(path, "yaml"), 1)
]


@pytest.mark.parametrize("block", YAML)
def test_yaml_blocks_are_valid(block, tmp_path):
    (tmp_path / "ckpt.yaml").write_text(block)
    Config.from_yaml(tmp_path / "ckpt.yaml")


def test_the_shortest_file_of_the_readme_is_the_default_policy(tmp_path):
    (text,) = [block for block in blocks(ROOT / "README.md", "yaml") if "metrics:" not in block]
    (tmp_path / "short.yaml").write_text(text)
    assert Policy.from_yaml(tmp_path / "short.yaml") == Policy.default("val_loss")


@pytest.mark.parametrize("framework", ["keras", "lightning"])
def test_the_readme_says_which_argument_both_callbacks_need(framework):
    assert "\n\nBoth callbacks need `monitor=` or a [policy]" in (ROOT / "README.md").read_text()
    name = f"{framework.title()}Checkpoint"
    kind = getattr(pytest.importorskip(f"ckpt_callbacks.{framework}"), name)
    with pytest.raises(PolicyError, match=f"^{name}: policy is missing; expected a Policy, or monitor='val_loss'"):
        kind("runs/b")


def test_the_two_examples_of_one_policy_agree(tmp_path):
    """The README's Python policy and its YAML file are equal."""
    (source,) = [block for block in blocks(ROOT / "README.md", "python") if "EMA" in block]
    namespace = {}
    exec(source, namespace)
    (text,) = [block for block in blocks(ROOT / "README.md", "yaml") if "ema" in block]
    (tmp_path / "ckpt.yaml").write_text(text)
    assert Policy.from_yaml(tmp_path / "ckpt.yaml") == namespace["policy"]


# By EMA(0.3), the best epoch is the eleventh, with a loss of 0.32.
CURVE = [1.0, 0.6, 0.4, 0.3, 0.20, 0.26, 0.28, 0.29, 0.30, 0.31, 0.32, 0.33, 0.34, 0.36, 0.38, 0.4, 0.42]


def documented_policies():
    """The policies of README and of the examples, by their place."""
    python = [block for block in blocks(ROOT / "README.md", "python") if "Policy(" in block]
    for source in python:
        exec(source, namespace := {})
        yield "README.md", namespace["policy"]
    yield "README.md, the short form", Policy.default("val_loss", patience=5)
    yield "examples/ckpt.yaml", Policy.from_yaml(ROOT / "examples" / "ckpt.yaml")


@pytest.mark.parametrize("place, policy", [*documented_policies()])
def test_documented_policies_keep_the_best_model_and_stop_after_it(place, policy):
    """They keep the checkpoint of the fifth epoch, whose validation loss was the least, until they end the run."""
    state, records, stopped = State(), [], None
    for epoch, loss in enumerate(CURVE, 1):
        event = Event.epoch_end(step=epoch * 10, epoch=epoch, time=epoch * 60.0, metrics={"val_loss": loss})
        state, decision = decide(policy, state, event)
        if decision.save is not None:
            facts = {"step": event.step, "epoch": epoch, "metrics": event.metrics, "status": Status.VERIFIED}
            scores = decision.save.scores
            records.append(Record(decision.save.id, f"{epoch}.ckpt", **facts, scores=scores))
            state, _ = decide(policy, state, Event.saved(decision.save.id))
            records = list(plan(policy.keep, records, best=policy.best_metric).keep)
        stopped = stopped or decision.stop
    assert best_record(records, policy.best_metric).metrics == {"val_loss": 0.20}
    assert stopped is not None and smoothed_ranking(policy) is None


@pytest.mark.parametrize("script", ["train_lightning.py", "train_keras.py"])
def test_examples_train_and_continue(script, tmp_path):
    for epochs in ("2", "4"):
        forks_of().run(ROOT / "examples" / script, tmp_path / "run", epochs)
    manifest = Manifest.read(tmp_path / "run")
    assert [attempt.number for attempt in manifest.attempts] == [1, 2]
    assert max(record.epoch for record in manifest.live()) == 4


def test_the_picture_of_a_resumed_run_is_drawn_from_a_resumed_run(tmp_path):
    """The script trains, kills and resumes; it fails if a loss or a weight of the resumed run differs."""
    forks_of().run(ROOT / "docs" / "draw_resume.py", tmp_path / "resume.svg")
    committed, drawn = (ElementTree.parse(folder / "resume.svg") for folder in (ROOT / "docs", tmp_path))
    assert len(list(committed.iter())) == len(list(drawn.iter()))


def test_the_map_of_the_package_is_right():
    """docs/architecture.md lists all rooms on their floors, and names only files that exist."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rooms = {path.name for path in PACKAGE.glob("[a-z]*.py")} | {
        f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")
    }
    assert set(re.findall(r"^[├└]── (\S+)", text, re.M)) == rooms
    floors = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["FLOORS"]
    rows = sorted(re.findall(r"^\| (\d) \| ([^|]+) \|", text, re.M))
    assert [set(re.findall(r"\w+", names)) for _, names in rows] == [set(rooms) for rooms in floors]
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


@pytest.mark.parametrize("dtype", ["int8", "int4"])
def test_the_python_blocks_about_contents_run(tmp_path, monkeypatch, dtype):
    path, model = tmp_path / "runs" / "a" / "best.ckpt", torch.nn.Linear(33, 5)
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "old.ckpt")
    reduced(tmp_path / "old.ckpt", Record(1, "old.ckpt"), Contents("weights", dtype))[0].rename(path)
    (tmp_path / "best.ckpt").write_bytes((tmp_path / "old.ckpt").read_bytes())
    split(tmp_path / "best.ckpt", 400).rename(path.with_name("best.ckpt.shards"))
    monkeypatch.chdir(tmp_path)
    program = "".join(blocks(ROOT / "docs" / "contents.md", "python"))
    exec(program, namespace := {"model": torch.nn.Linear(33, 5)})
    found = load_weights(path)["weight"]
    assert torch.equal(namespace["model"].weight, found) and torch.equal(namespace["state"]["weight"], found)
    assert namespace["weights"].keys() == model.state_dict().keys()
    assert all(namespace["weights"][name].equal(value) for name, value in model.state_dict().items())
    (tmp_path / "ckpt.yaml").write_text(next(iter(blocks(ROOT / "docs" / "contents.md", "yaml"))))
    assert Policy.from_yaml(tmp_path / "ckpt.yaml") == namespace["policy"]


@pytest.mark.slow
def test_the_example_of_weights_alone_runs_and_continues(tmp_path):
    for epochs in (4, 6):
        *records, last = forks_of().run(ROOT / "examples" / "best_as_weights.py", tmp_path / "run", epochs).splitlines()
        assert [line.split()[1] for line in records] == ["weights", "weights", "full"], records
        loss = float(records[-1].split()[-1].rstrip("}"))  # the last epoch is the best one
        assert float(last.rpartition(":")[2]) == pytest.approx(loss, rel=1e-4)


@pytest.mark.slow
def test_the_example_of_smaller_contents_runs(tmp_path):
    done = forks_of().run(ROOT / "examples" / "best_in_bf16.py", tmp_path / "run", 4)
    printed = done.splitlines()
    assert len([line for line in printed if " weights torch.bfloat16 " in line]) >= 2, done
    assert printed[-1] == "the best model is torch.float32" and " full torch.float32 " in printed[-2]


@pytest.mark.slow
def test_the_example_of_whole_numbers_runs(tmp_path):
    printed = forks_of().run(ROOT / "examples" / "best_in_int8.py", tmp_path / "run", 4).splitlines()
    small = [line.split() for line in printed if " weights int8 " in line]
    (whole,) = [line.split() for line in printed if " full None " in line]
    assert len(small) >= 2 and all(int(line[3]) < int(whole[3]) / 6 for line in small)
    assert len([line for line in printed if "loss with these weights" in line]) == len(small) + 1


@pytest.mark.slow
def test_the_example_of_a_budget_runs(tmp_path):
    for epochs, least in ((8, 3), (12, 1)):  # the second run also keeps the file that it has continued from
        *records, total = forks_of().run(ROOT / "examples" / "budget.py", tmp_path / "run", epochs).splitlines()
        assert total.startswith("together ") and int(total.split()[1]) <= 1_200_000
        contents = [line.split()[1] for line in records]
        assert contents[-1] == "full" and least <= contents.count("weights") < epochs - 2


@pytest.mark.slow
def test_the_example_of_a_mirror_continues_on_an_empty_machine(tmp_path):
    def run(name, epochs):
        script = ROOT / "examples" / "mirror.py"
        return forks_of().run(script, tmp_path / name, tmp_path / f"mirror of {name}", epochs).splitlines()[-1]

    whole = run("whole", 4)
    run("lost", 2)
    shutil.rmtree(tmp_path / "lost")
    assert run("lost", 4) == whole and whole.startswith("weights ")


def test_quoted_messages_are_logged():
    """Each message that docs/exact-resume.md quotes is text in the package."""
    nodes = [node for path in PACKAGE.rglob("*.py") for node in ast.walk(ast.parse(path.read_text()))]
    texts = "\n".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
    lines = (ROOT / "docs" / "exact-resume.md").read_text().splitlines()
    quotes = [quote for line in lines if line.startswith("| ") for quote in re.findall(r'\| "([^"]+)"', line)]
    assert len(quotes) > 10
    assert [quote for quote in quotes if re.sub(r"\d+", "%d", quote) not in texts] == []


LINKS = [(path, target) for path in DOCUMENTS for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text())]


@pytest.mark.parametrize("path, target", LINKS, ids=lambda part: getattr(part, "name", part))
def test_links_between_documents_exist(path, target):
    assert (path.parent / target).exists()


@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_an_example_without_arguments_says_what_it_takes(script):
    text = (ROOT / "examples" / script).read_text()
    usage = re.search(rf"``python {script} (\S.*?)``", text)
    if usage is None:  # it needs none
        assert script == "demo.py"
        return
    needed = sum(not word.startswith("[") for word in usage[1].split())
    assert f"    if len(sys.argv) < {needed + 1}:\n        sys.exit(__doc__)\n" in text


def test_the_usage_of_an_example_is_no_traceback():
    done = forks_of().complete(ROOT / "examples" / "train_lightning.py")
    assert done.returncode == 1 and "train_lightning.py RUN_DIR [EPOCHS]" in done.stderr
    assert "Traceback" not in done.stderr

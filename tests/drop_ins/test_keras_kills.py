"""Processes that are killed while a Keras drop-in saves."""

import os
import signal
import subprocess
import sys

import keras
import pytest

from tests.drop_ins.train_keras import KILLED
from tests.support.processes import ROOT

pytestmark = pytest.mark.slow


def train(folder, kind, where, epochs=3):
    command = [sys.executable, "-m", "tests.drop_ins.train_keras", folder, kind, where, str(epochs)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("where", KILLED)
def test_a_kill_during_a_save_leaves_a_whole_file_under_the_name(tmp_path, where):
    assert train(tmp_path, "model", where).returncode == -signal.SIGKILL
    keras.saving.load_model(tmp_path / "m.keras")
    assert train(tmp_path, "model", "nowhere", 1).returncode == 0
    assert os.listdir(tmp_path) == ["m.keras"]  # nothing is left beside it


def test_a_backup_at_a_signal_continues_where_the_process_ended(tmp_path):
    whole = train(tmp_path / "whole", "backup", "nowhere")
    ended = train(tmp_path / "a", "backup", "6")
    assert ended.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM) and not ended.stdout
    resumed = train(tmp_path / "a", "backup", "nowhere")
    assert resumed.stdout == whole.stdout != "" and "resumed from" in resumed.stderr
    assert os.listdir(tmp_path / "a") == []

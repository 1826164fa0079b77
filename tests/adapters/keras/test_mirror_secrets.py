"""No trace of the options of mirrors after a fit that used them, and one that was refused."""

import logging

from tests.adapters.keras.task import EACH_EPOCH, ONCE, checkpoint, fit, quick
from tests.support.secrets import CANARY, OPTIONS, files_with


@ONCE
def test_the_options_of_mirrors_are_in_no_file_and_no_line(tmp_path, caplog, capfd):
    mirrors = [{"url": f"{kind}://keras", "storage_options": OPTIONS} for kind in ("memory", "talkative")]
    callback = checkpoint(tmp_path / "run", EACH_EPOCH, mirrors=mirrors)
    with caplog.at_level(logging.DEBUG):
        fit(quick(), callback, epochs=2)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(line.startswith("talkative://keras") and "***" in line for line in lines)
    said = capfd.readouterr()
    assert CANARY not in f"{caplog.text}{said.out}{said.err}{callback._settings!r}"
    assert files_with(CANARY, tmp_path) == []

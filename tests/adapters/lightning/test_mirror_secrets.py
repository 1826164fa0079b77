"""No trace of the options of mirrors after a fit that used them, and one that was refused."""

import logging

from tests.adapters.lightning.task import EACH_EPOCH, fit
from tests.support.secrets import CANARY, OPTIONS, files_with


def test_the_options_of_mirrors_are_in_no_file_and_no_line(tmp_path, caplog, capfd):
    mirrors = [{"url": f"{kind}://lightning", "storage_options": OPTIONS} for kind in ("memory", "talkative")]
    with caplog.at_level(logging.DEBUG):
        _, _, callback = fit(tmp_path / "run", EACH_EPOCH, arguments={"mirrors": mirrors}, max_epochs=2)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any(line.startswith("talkative://lightning") and "***" in line for line in lines)
    said = capfd.readouterr()
    assert CANARY not in f"{caplog.text}{said.out}{said.err}{callback._settings!r}"
    assert files_with(CANARY, tmp_path) == []

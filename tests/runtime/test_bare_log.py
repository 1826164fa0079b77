"""Log lines in a process that has not configured logging."""

import logging
import subprocess
import sys

import pytest

from ckpt_callbacks.runtime.bare_log import announce

SCRIPT = """
import logging, sys
from ckpt_callbacks.runtime.bare_log import announce, log
{configure}
log.warning("%d saves", 2)
log.info("hidden")
announce("%s begins", "a run")
"""


@pytest.mark.parametrize(
    ("configure", "lines"),
    [
        ("", ["ckpt_callbacks: 2 saves", "ckpt_callbacks: a run begins"]),
        (r"log.warning('%s', 'a\nb'); announce('%s', 'c\x1b')",
         [r"ckpt_callbacks: a\nb", r"ckpt_callbacks: c\x1b",
          "ckpt_callbacks: 2 saves", "ckpt_callbacks: a run begins"]),
        ("logging.basicConfig()", ["WARNING:ckpt_callbacks:2 saves"]),
        pytest.param("log.addHandler(logging.StreamHandler())", ["2 saves"], marks=pytest.mark.slow),
        pytest.param("log.setLevel('ERROR'); log.propagate = False; log.addHandler(logging.NullHandler())", [],
                     marks=pytest.mark.slow),
        pytest.param("sys.stderr = None", [], marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_lines_name_the_package_unless_logging_is_configured(configure, lines):
    code = SCRIPT.format(configure=configure)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == lines


def test_control_characters_are_escaped_and_a_line_stays_one(caplog):
    log = logging.getLogger("ckpt_callbacks")
    log.warning("%s: 100%% saved", "runs/\x1b[31ma\nb\u2028\u202e")
    announce("%s: begins", "runs/\rä")
    assert caplog.messages == [r"runs/\x1b[31ma\nb\u2028\u202e: 100% saved"]
    caplog.set_level(logging.INFO)
    announce("%s: begins", "runs/\rä")
    assert caplog.messages[-1] == r"runs/\rä: begins"

"""The deliberate differences that the drop-ins name, and the tables in docs/drop-ins.md."""

import re

from ckpt_callbacks.keras.drop_ins import differences as keras
from ckpt_callbacks.lightning.drop_ins import differences as lightning
from tests.support.processes import ROOT


def documented(section):
    """The names in the first table after a heading of the document."""
    text = (ROOT / "docs" / "drop-ins.md").read_text()
    part = re.split(r"^#+ ", text.split(f"### {section}\n", 1)[1], maxsplit=1, flags=re.M)[0]
    return [row.split("|")[1].strip() for row in part.splitlines() if row.startswith("| ")][1:]


def test_the_document_has_the_names_of_the_code():
    names = dict.fromkeys(one.name for one in (*keras.MODEL_CHECKPOINT, *keras.BACKUP, *keras.EARLY_STOPPING))
    assert documented("Deliberate differences") == list(names)
    for section, known in (
        ("ModelCheckpoint", lightning.MODEL_CHECKPOINT),
        ("EarlyStopping", lightning.EARLY_STOPPING),
    ):
        assert documented(f"Deliberate differences in {section}") == [one.name for one in known]

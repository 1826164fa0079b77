"""The table of rules: one row for each, which reading and writing share."""

import inspect
import re
from pathlib import Path

import pytest

import ckpt_callbacks
from ckpt_callbacks import Retention, Stopping, Trigger
from ckpt_callbacks.config import rule_names, schema
from ckpt_callbacks.policy.smoothing import Smoothing

# Lists of a file stand for these two, and the others are bases.
WITHOUT_A_NAME = {"AnyKeep", "AnyStop", "Retention", "Smoothing", "Stopping", "Trigger"}
PUBLIC = {
    name: value
    for name, value in vars(ckpt_callbacks).items()
    if inspect.isclass(value)
    and issubclass(value, Trigger | Retention | Stopping | Smoothing)
    and name not in WITHOUT_A_NAME
}
TABLES = ("TRIGGERS", "RETENTIONS", "STOPPINGS", "SMOOTHINGS")


def test_every_public_rule_has_one_row():
    rows = [rule.kind.__name__ for table in TABLES for rule in getattr(rule_names, table)]
    assert sorted(rows) == sorted(PUBLIC)


@pytest.mark.parametrize("table", TABLES)
def test_no_two_rules_of_a_table_have_one_name(table):
    names = [rule.name for rule in getattr(rule_names, table)]
    assert len(names) == len(set(names))


def test_the_fields_of_a_row_are_those_of_its_class():
    for rule in rule_names.RULES.values():
        if isinstance(rule.value, rule_names.Fields):
            given = {rule.renamed.get(name, name) for name in rule.value.types}
            assert given <= set(inspect.signature(rule.kind).parameters), rule.name


@pytest.mark.parametrize("name", sorted(PUBLIC.keys() - {"AnyOf", "NonFinite"}))
def test_only_the_table_names_a_rule(name):
    """Except for lists in a file, which are `AnyOf`, and templates, which may name what `NonFinite` watches."""
    folder = Path(schema.__file__).parent
    importing = re.compile(rf"^from .* import .*\b{name}\b", re.MULTILINE)
    assert [path.name for path in folder.glob("*.py") if importing.search(path.read_text())] == ["rule_names.py"]

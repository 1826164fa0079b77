"""A grace period that has no effect."""

from ckpt_callbacks import Every, OnPreempt, Policy
from tests.support.training import new_run


def test_a_grace_period_without_a_rule_for_signals_is_named_once(tmp_path, caplog):
    new_run(tmp_path, Policy(Every(epochs=1)), grace="5 s")
    assert caplog.text.count("grace is 5 s, but has no effect, because the policy saves for no signal") == 1
    caplog.clear()
    new_run(tmp_path, Policy(Every(epochs=1)))
    new_run(tmp_path, Policy(Every(epochs=1) | OnPreempt()), grace="5 s")
    assert "grace" not in caplog.text

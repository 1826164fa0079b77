"""The arguments of both callbacks."""

import copy
import dataclasses
import inspect
import pickle
import re

import pytest

import ckpt_callbacks
from ckpt_callbacks import (
    EMA,
    AllOf,
    AnyOf,
    ConfigError,
    Every,
    KeepBest,
    KeepLast,
    Metric,
    Mirror,
    Not,
    OnDeadline,
    OnPreempt,
    Optimal,
    Patience,
    Policy,
    PolicyError,
    Reaches,
    Retention,
    Smoothing,
    Stopping,
    Trigger,
)
from ckpt_callbacks.config.arguments import build_config
from ckpt_callbacks.config.peer_arguments import suggests_arguments
from ckpt_callbacks.policy.argument_names import suggests_names

POLICY = Policy(OnPreempt())
SAVE = {"save": "on_preempt"}


@pytest.mark.parametrize(
    ("policy", "settings", "grace", "min_free"),
    [
        (POLICY, {}, 30, 0),
        (POLICY, {"grace": None, "min_free": None}, 30, 0),
        (POLICY, {"grace": 5, "min_free": 7}, 5, 7),
        (POLICY, {"grace": "30 s", "min_free": "5 GB"}, 30, 5 * 10**9),
        ({**SAVE, "grace": "2 min", "min_free": "1 KiB"}, {}, 120, 1024),
        ({**SAVE, "grace": "2 min", "min_free": "1 KiB"}, {"grace": 5.5, "min_free": "0 B"}, 5.5, 0),
    ],
)
def test_quantities_become_numbers(policy, settings, grace, min_free):
    found = build_config("LightningCheckpoint", "runs/a", policy, **settings)
    assert (found.settings.grace, found.settings.min_free) == (grace, min_free)
    assert isinstance(found.settings.grace, float) and isinstance(found.settings.min_free, int)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"grace": "soon"},
            "KerasCheckpoint: grace is 'soon'; expected a duration above 0: seconds, or text such as 30 s",
        ),
        ({"grace": 0}, "KerasCheckpoint: grace is 0; expected a duration above 0"),
        ({"grace": True}, "KerasCheckpoint: grace is True"),
        (
            {"min_free": "5 gb"},
            "KerasCheckpoint: min_free is '5 gb'; expected a size: whole bytes, or text such as 500 MB",
        ),
        ({"min_free": 0.5}, "KerasCheckpoint: min_free is 0.5; expected a size"),
    ],
)
def test_a_quantity_that_is_none_is_one_clear_line(settings, message):
    with pytest.raises(PolicyError) as caught:
        build_config("KerasCheckpoint", "runs/a", POLICY, **settings)
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


def test_a_quantity_in_a_mapping_has_its_place():
    with pytest.raises(ConfigError, match=r"^KerasCheckpoint: policy: grace: got 'soon'; expected a duration above 0"):
        build_config("KerasCheckpoint", "runs/a", {**SAVE, "grace": "soon"})


def test_the_policy_on_record_holds_its_deadlines():
    found = build_config("KerasCheckpoint", "runs/a", Policy(OnDeadline("10 min", "2026-11-24T23:00:00Z")))
    assert found.described["save"] == [{"on_deadline": {"before": 600, "end": "2026-11-24T23:00:00Z"}}]


def test_arguments_in_the_wrong_places_are_one_clear_line():
    with pytest.raises(
        PolicyError, match=r"^KerasCheckpoint: dirpath is Policy\(.*\); expected the run directory as the "
    ):
        build_config("KerasCheckpoint", POLICY, "runs/a")
    with pytest.raises(PolicyError, match=r"expected a Policy, such as Policy\(save=Every\(epochs=1\)\), the path of"):
        build_config("KerasCheckpoint", "runs/a", Every(epochs=1))


def test_the_names_of_arguments_are_checked_and_a_near_one_is_suggested():
    class Checked:
        @suggests_names()
        def __init__(self, dirpath, *, monitor=None):
            self.given = dirpath, monitor

    assert Checked("a", monitor="b").given == Checked(dirpath="a", monitor="b").given == ("a", "b")
    assert list(inspect.signature(Checked).parameters) == ["dirpath", "monitor"]
    with pytest.raises(TypeError, match="Checked: got an unknown argument 'moniter'; did you mean 'monitor'"):
        Checked("a", moniter="b")
    with pytest.raises(TypeError, match="Checked: got an unknown argument 'x'; expected one of dirpath, monitor"):
        Checked("a", x="b")
    with pytest.raises(TypeError) as caught:
        Checked("a", moniter="b", x="c", dirpat="d")
    assert str(caught.value) == (
        "Checked: got unknown arguments: 'moniter' (did you mean 'monitor'?), 'x', 'dirpat' (did you mean 'dirpath'?); "
        "expected one of dirpath, monitor"
    )


def test_an_argument_for_tests_is_taken_and_not_shown():
    @suggests_names(hidden=("clock",))
    def checked(self, dirpath, clock=None):
        return dirpath, clock

    assert checked(None, "a", clock=1) == ("a", 1)
    assert list(inspect.signature(checked).parameters) == ["self", "dirpath"]


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("keep", "policy=Policy(...) with its keep"),
        ("save_top_k", "KeepBest(k, by=...) in the keep of a policy"),
        ("double_checkpoint", "KeepLast(2) in the keep of a policy"),
        ("save_freq", "Every(epochs=1) or Every(steps=n) in the save of a policy"),
        ("strict", "nothing: a metric that is missing for ten epochs is always an error"),
    ],
)
def test_what_has_another_place_here_is_named(name, instead):
    class Checked:
        @suggests_arguments
        def __init__(self, dirpath, clock=None):
            """Take arguments."""

    with pytest.raises(
        TypeError, match=re.escape(f"Checked: got an unknown argument {name!r}; instead, write {instead}")
    ):
        Checked("a", **{name: 1})
    with pytest.raises(TypeError) as caught:
        Checked("a", **{name: 1, "dirpaht": 2, "filepath": 3})
    assert str(caught.value) == (
        f"Checked: got unknown arguments: {name!r} (instead, write {instead}), 'dirpaht' (did you mean 'dirpath'?), "
        "'filepath' (instead, write dirpath and filename)"
    )


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: Policy(OnPreempt(), kepe=KeepLast(1)), "Policy: got an unknown argument 'kepe'; did you mean 'keep'?"),
        (lambda: Policy.default("val_loss", patiense=3), "Policy.default: got .* 'patiense'; did you mean 'patience'?"),
        (lambda: Metric("val_loss", smothing=EMA(0.3)), "Metric: got .* 'smothing'; did you mean 'smoothing'?"),
        (lambda: Every(epoch=1), "Every: got an unknown argument 'epoch'; did you mean 'epochs'?"),
        (
            lambda: Every(epoch=1, minute=20),
            "Every: got unknown arguments: 'epoch' .did you mean 'epochs'?., 'minute' .did you mean 'minutes'?.",
        ),
        (lambda: OnPreempt(grace=3), "OnPreempt: got an unknown argument 'grace'; expected no argument"),
        (
            lambda: KeepBest(k=2, by="val_loss"),
            "KeepBest: got an unknown argument 'k'; expected one of n, by, contents",
        ),
        (lambda: Patience("val_loss", check=2), "Patience: got an unknown argument 'check'; did you mean 'checks'?"),
        (lambda: Reaches("val_loss", valeu=2), "Reaches: got an unknown argument 'valeu'; did you mean 'value'?"),
        (lambda: EMA(alfa=0.3), "EMA: got an unknown argument 'alfa'; did you mean 'alpha'?"),
        (lambda: Mirror("/a", evry=3), "Mirror: got an unknown argument 'evry'; did you mean 'every'?"),
        (lambda: Optimal(mtbff="6 h"), "Optimal: got an unknown argument 'mtbff'; did you mean 'mtbf'?"),
    ],
)
def test_a_policy_and_its_rules_suggest_the_names_of_arguments(call, line):
    with pytest.raises(TypeError, match=f"^{line.replace('?', '[?]')}$"):
        call()


def test_every_rule_and_metric_of_the_package_suggests_names():
    bases = (Policy, Metric, Trigger, Retention, Stopping, Smoothing)
    public = [kind for kind in vars(ckpt_callbacks).values() if isinstance(kind, type) and issubclass(kind, bases)]
    composed = {AllOf, AnyOf, Not, Trigger, Retention, Stopping, Smoothing}  # operators make them
    assert len(set(public) - composed) > 20
    for kind in set(public) - composed:
        with pytest.raises(TypeError, match=f"^{kind.__name__}: got an unknown argument 'x_y_z'"):
            kind(x_y_z=1)


def test_a_rule_that_suggests_names_is_a_dataclass_as_before():
    rule = Patience("val_loss", checks=2)
    assert pickle.loads(pickle.dumps(rule)) == copy.deepcopy(rule) == rule == dataclasses.replace(rule)
    assert list(inspect.signature(Patience).parameters) == ["metric", "checks", "start_from_epoch"]

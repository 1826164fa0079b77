"""Monitored metrics that come late, never, or under another name."""

import json

import pytest

from ckpt_callbacks import Event, Every, Improves, KeepBest, Metric, NonFinite, Patience, Policy, State, decide, fold
from ckpt_callbacks.errors import MetricError
from ckpt_callbacks.policy.engine import decide_before_error
from ckpt_callbacks.policy.missing_metrics import problem_of_validation, unwatched, warnings
from ckpt_callbacks.policy.resemblance import containing, nearest, resembling

MAP = Metric("val_map", mode="max")
AUC = Metric("val_auc", mode="max")


def epochs(policy, logged, state=None):
    """Train one epoch for each of ``logged``, from a start; return the state and the warnings."""
    state, _ = decide(policy, state or State(), Event.start())
    seen = []
    for number, names in enumerate(logged, 1):
        metrics = {name: 1.0 for name in names}
        state, _ = decide(policy, state, Event.epoch_end(step=number, epoch=number, metrics=metrics))
        seen.append([*warnings(policy, state)])
    return state, seen


def resumed(state):
    return State.from_json(json.loads(json.dumps(state.to_json())))


def test_a_metric_of_every_third_epoch_causes_one_warning_and_no_error():
    policy = Policy(Every(epochs=1) | Improves(MAP), stop=Patience(MAP, checks=9))
    state, seen = epochs(policy, [["loss"], ["loss"], ["loss", "val_map"]] * 4)
    assert [len(lines) for lines in seen] == [1] + [0] * 11
    assert seen[0] == [
        "the metric 'val_map' was never logged; logged names: loss; the rules that read it are waiting for it, "
        "and until then, no checkpoint is the best; this is an error after 10 epochs without it; does "
        "training have validation data?"
    ]
    assert [len(lines) for lines in epochs(policy, [["loss"], ["loss"], ["loss", "val_map"]], resumed(state))[1]] == [
        0,
        1,
        0,
    ]


def test_a_save_is_asked_for_before_the_error_and_names_of_batches_are_listed():
    event = Event.epoch_end(step=9, epoch=1, metrics={"loss": 1.0}, others=frozenset({"val/auc"}))
    _, decision = decide_before_error(Policy(Improves(AUC)), State(), event)
    assert decision.save.reasons == ("before an error about a metric",)
    assert (
        decision.error == "the metric 'val_auc' was never logged; logged names: loss, val/auc; did you mean 'val/auc'?"
    )


@pytest.mark.parametrize(
    ("monitor", "logged", "wrong"),
    [
        ("val_acc", ["val/acc"], True), (["val_auc", "val_acc"], ["val/acc"], True),
        ({"val_acc": 1}, ["val/acc"], True), ("valid_loss", ["val_loss"], True),
        ("val_acc", ["val_f1"], False), ("acc", ["val_accuracy"], False),
        (["val_acc", "val/acc"], ["val/acc"], False), ("val_acc", [], False),
        # a module may log the mean of several loaders later
        ("val_acc", ["val_acc_1", "val_acc/dataloader_idx_0"], False),
    ],
)  # fmt: skip
def test_a_first_validation_shows_which_names_are_wrong(monitor, logged, wrong):
    policy = Policy(Every(epochs=1), stop=Patience(Metric(monitor, mode="max"), checks=3))
    assert bool(problem_of_validation(policy, logged)) == wrong


def test_a_warm_up_determines_how_long_the_policy_waits_for_a_metric():
    policy = Policy(Improves(MAP), stop=Patience(MAP, checks=3, start_from_epoch=14))
    state, _ = epochs(policy, [["loss"]] * 14)
    with pytest.raises(MetricError, match="15 epochs have ended since the start"):
        epochs(policy, [["loss"]] * 15)
    assert epochs(policy, [["loss"]] * 14, resumed(state))[0].fresh_epochs == 14, "each start counts anew"


def test_the_last_error_keeps_the_hint_of_the_first_warning():
    for metric, logged, end in (
        (MAP, "loss", "; does training have validation data?"),
        (Metric("acc", mode="max"), "val_acc", "; did you mean 'val_acc'?"),
    ):
        _, [[line]] = epochs(policy := Policy(Improves(metric)), [[logged]])
        assert line.endswith(f"10 epochs without it{end}")
        with pytest.raises(MetricError, match="10 epochs have ended") as caught:
            epochs(policy, [[logged]] * 10)
        assert str(caught.value).endswith(end)


@pytest.mark.parametrize("logged", [["loss", "val_auc_1"], ["loss", "VAL/auc"]])
def test_a_metric_that_is_renamed_after_a_resume_is_an_error_at_once(logged):
    policy = Policy(Every(epochs=1), KeepBest(1, by=AUC), stop=Patience(AUC, checks=3))
    state, _ = epochs(policy, [["loss", "val_auc"]] * 2)
    message = f"'val_auc' was not logged since the start; logged names: .*; did you mean '{logged[1]}'"
    with pytest.raises(MetricError, match=message):
        epochs(policy, [logged], resumed(state))


def test_a_metric_that_stays_away_after_a_resume_is_an_error_after_some_epochs():
    policy = Policy(Every(epochs=1), stop=Patience(AUC, checks=3))
    state, _ = epochs(policy, [["loss", "val_auc"]] * 2)
    with pytest.raises(MetricError, match="'val_auc' was not logged since the start; logged names: loss; 10 epochs"):
        epochs(policy, [["loss"]] * 10, resumed(state))


def test_the_policy_waits_for_parts_of_a_sum_as_for_other_metrics():
    policy = Policy(Improves(Metric({"a": 1, "b": 2}, mode="min")))
    _, seen = epochs(policy, [["a"], ["a"], ["a", "b"]])
    assert [len(lines) for lines in seen] == [1, 0, 0]
    state, _ = epochs(policy, [["a", "b"]])
    with pytest.raises(MetricError, match="10 epochs"):
        epochs(policy, [["a"]] * 10, resumed(state))


def test_a_state_of_an_earlier_version_counts_from_its_start():
    policy = Policy(Improves(AUC))
    facts = epochs(policy, [["val_auc"]])[0].to_json()
    del facts["fresh"]
    assert fold(policy, [Event.start(), Event.epoch_end(epoch=2)], State.from_json(facts))[0].fresh_epochs == 1


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("val_auc", "val_auc_1"), ("val_auc_2", "val_auc_1"), ("val_auc_12", "val_auc"), ("val_loss", "val/loss"),
        ("val_loss", "valid_loss"), ("vall_loss", "val_loss"), ("val_los", "val_loss"), ("val_acuracy", "val_accuracy"),
        ("val_acc", "val_accuracy"), ("val_accuracy", "val_acc"), ("val_accurcy", "val_accuracy"),
        ("vla_loss", "val_loss"), ("val_loss", "val_loss/dataloader_idx_0"), ("val_lss", "val_loss"),
        ("val/oss", "val_loss"), ("train_loss", "train_loss_epoch"), ("valLoss", "val_loss"),
    ],
)  # fmt: skip
def test_names_that_mean_the_same(name, other):
    assert resembling(name, ["loss", other, "other"]) == other


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("val_map", "val_mae"), ("val_mse", "val_msle"), ("val_rmse", "val_mse"), ("val_map", "val_map_50"),
        ("val_map", "val_mape"), ("val_iou", "val_miou"), ("val_loss", "loss"), ("val_loss", "train_loss"),
        ("g_loss", "d_loss"), ("val_top_1", "val_top_5_acc"), ("val_accuracy", "val_categorical_accuracy"),
        ("precision", "recall"), ("val_f1", "val_f2"), ("val_auc", "val_auc"),
    ],
)  # fmt: skip
def test_names_that_mean_different_metrics(name, other):
    assert resembling(name, [other]) is None


@pytest.mark.parametrize(
    ("name", "others", "meant"),
    [
        ("acc", ["train_acc", "val_acc"], "val_acc"), ("loss", ["train/loss", "lr"], "train/loss"),
        ("acc", ["val_accuracy"], "val_accuracy"), ("top_1", ["val_top_1_acc"], "val_top_1_acc"),
        ("val_precision", ["val_loss", "precision"], None), ("acc", ["vacc", "exact_rate"], None), ("", ["a"], None),
    ],
)  # fmt: skip
def test_a_name_that_is_a_part_of_a_logged_one_is_a_suggestion(name, others, meant):
    assert containing(name, others) == meant


@pytest.mark.parametrize(
    ("name", "others", "meant"),
    [
        ("val_lsos", ["val_acc", "val_loss"], "val_loss"), ("val_dce", ["val_dice", "loss"], "val_dice"),
        ("vl_loss", ["val_loss", "train_loss"], "val_loss"), ("loss_val", ["loss", "val_loss"], "val_loss"),
        ("val_iou", ["val_miou"], "val_miou"), ("val_mse", ["val_rmsle", "val_msle"], "val_msle"),
        ("val_loss", ["train_loss", "val_acc", "loss"], None), ("val_acc", ["val_auc", "val_f1"], None),
        ("reward", ["loss", "val_loss"], None), ("", ["a", "b_c"], None), ("val_f1", ["val_f2"], None),
    ],
)  # fmt: skip
def test_a_name_that_is_written_alike_is_a_suggestion(name, others, meant):
    assert nearest(name, others) == meant


@pytest.mark.parametrize(
    ("name", "logged", "meant"),
    [("val_dce", ["loss", "val_dice"], "val_dice"), ("loss_val", ["loss", "val_loss"], "val_loss")],
)
def test_the_policy_waits_for_a_metric_with_a_suggestion_and_repeats_it_in_the_error(name, logged, meant):
    policy = Policy(Improves(Metric(name, mode="min")))
    _, seen = epochs(policy, [logged])
    [[line]] = seen
    assert line.endswith(f"; did you mean {meant!r}?")
    with pytest.raises(MetricError, match=f"10 epochs have ended .*; did you mean '{meant}'"):
        epochs(policy, [logged] * 10)


def test_a_loss_that_lacks_a_letter_is_an_error_at_once():
    with pytest.raises(MetricError, match=r"'val_lss' was never logged; .*; did you mean 'val_loss'"):
        epochs(Policy(Improves(Metric("val_lss", mode="min"))), [["loss", "val_loss"]])


@pytest.mark.parametrize(
    ("rule", "logged", "strange"),
    [
        (NonFinite(["train_loss", "loss"]), ["loss"], ()),
        (NonFinite(["train_loss", "loss"]), ["train_loss"], ()),
        (NonFinite("train/loss") | NonFinite("loss"), ["train/loss"], ()),
        (NonFinite("loss"), ["loss_step"], ()),  # the value of each batch
        (NonFinite(["train_loss", "loss"]), ["acc"], ("train_loss", "loss")),
        (NonFinite(["loss", "vall_loss"]), ["loss", "val_loss"], ("vall_loss",)),
        (NonFinite(["loss", "val_loss"]), ["loss"], ("val_loss",)),
        (Patience(MAP, checks=1), ["loss"], ()),
    ],
)
def test_of_the_names_of_one_metric_in_several_frameworks_one_is_enough(rule, logged, strange):
    state, _ = epochs(policy := Policy(Every(epochs=1), stop=rule), [logged])
    assert unwatched(policy, state) == strange

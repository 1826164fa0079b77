"""The direction of a metric, where its name says it; and what names stand for in a policy."""

import pickle
import time

import pytest

from ckpt_callbacks import (
    Every,
    Improves,
    KeepBest,
    KeepLast,
    Metric,
    OnPreempt,
    Patience,
    Policy,
    PolicyError,
    Reaches,
)
from ckpt_callbacks.policy.direction import direction_of

MIN = [
    "loss", "val_loss", "val/loss", "Loss", "valid.loss", "train/loss_epoch", "train_loss_step",
    "val_loss/dataloader_idx_0", "val_loss_1", "loss@10", "eval-mae", "mean_squared_error", "val_RMSE",
    "val_perplexity", "sparse_categorical_crossentropy", "dice_loss", "val_acc_loss", "avg_err",
    "val_loss_mean", "top1_error",
]  # fmt: skip
MAX = [
    "acc", "val/acc", "val_top1_acc", "val_acc_top5", "accuracy", "Acc@1", "val_auc", "auc_2", "f1",
    "val_f1_score", "f1_macro", "macro_f1", "precision_at_5", "recall@k", "val_mAP", "map_50", "map50", "IoU",
    "dice_score", "bleu4", "rouge1", "test/auroc/dataloader_idx_1", "binary_accuracy_epoch",
]  # fmt: skip
REVERSING = [
    "no", "not", "non", "anti", "neg", "inverse", "without", "drop_in", "gap", "diff", "delta", "signal_to", "lost",
    "reduction_of", "improvement_in", "distance_from", "acc_per", "time_to", "complement", "less",
]  # fmt: skip
IN_DOUBT = [
    "score", "val_score", "gap", "lr", "epoch", "step", "loss_scale", "loss_dice", "loss_map", "neg_log_loss",
    "negative_mse", "inverse_loss", "-loss", "1-acc", "1_minus_acc", "error_score", "reward", "wer", "top1",
    "1", "accidents", "map_time", "lossless",
]  # fmt: skip


@pytest.mark.parametrize(("names", "direction"), [(MIN, "min"), (MAX, "max"), ([*IN_DOUBT, ""], None)])
def test_the_last_word_of_a_name_says_the_direction_or_nothing_does(names, direction):
    assert {name: direction_of(name) for name in names} == dict.fromkeys(names, direction)


@pytest.mark.parametrize("separator", ["_", "-", "/", " "])
def test_a_word_that_denies_or_compares_leaves_every_name_in_doubt(separator):
    names = [separator.join((word.replace("_", separator), name)) for word in REVERSING for name in MIN + MAX]
    assert [name for name in names if direction_of(name) is not None] == []
    parts = [f"x{word}{separator}{name}" for word in ("no", "to", "in") for name in ("loss", "acc")]
    assert [name for name in parts if direction_of(name) is None] == [], "only whole words count"


def test_a_name_stands_for_its_metric_wherever_a_policy_takes_one():
    loss, acc = Metric("val_loss", mode="min"), Metric("val/acc", mode="max")
    assert Improves("val_loss") == Improves(loss)
    assert KeepBest(2, by="val/acc") == KeepBest(2, by=acc)
    assert Patience("val_loss", checks=5).metric == loss
    assert Reaches("val/acc", 0.9).metric == acc
    assert Policy(OnPreempt(), best_by="val/acc").best_metric == acc
    assert Improves(["train_loss", "loss"]) == Improves(Metric(["train_loss", "loss"], mode="min"))
    assert Policy(Improves("val_loss"), KeepBest(1, by=loss)).tracks.keys() == {loss}


@pytest.mark.parametrize("value", ["reward", ["loss", "acc"], {"loss": 1, "mae": -1}])
def test_a_name_in_doubt_asks_for_a_mode_in_one_line(value):
    with pytest.raises(
        PolicyError, match=r"^Improves: '.*' does not say .*; expected mode='min' or mode='max'"
    ) as caught:
        Improves(value)
    assert len(str(caught.value).splitlines()) == 1
    assert Policy.default(value, mode="max") == Policy.default(Metric(value, mode="max"))


def test_auto_is_the_direction_that_the_name_says_as_in_keras():
    assert Metric("val_acc", mode="auto") == Metric("val_acc", mode="max")
    assert repr(Metric(["val_loss", "loss"], mode="auto")) == "Metric(('val_loss', 'loss'), mode='min')"
    assert Policy.default("val_loss", mode="auto") == Policy.default("val_loss")
    assert Policy.default(Metric("reward", mode="max"), mode="auto") == Policy.default("reward", mode="max")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val_los", "val_loss"), ("val_lss", "val_loss"), ("val/acuracy", "val/accuracy"), ("Val_Los", "Val_loss"),
        ("val_los_epoch", "val_loss_epoch"), (["val_prec", "quality"], "val_precision"), ("val_mape", None),
        ("val_miou", None), ("reward", None), ("drop_in_acuracy", None), ({"los": 1}, None),
    ],
)  # fmt: skip
def test_a_misspelt_word_is_corrected_in_the_first_message(name, meant):
    with pytest.raises(PolicyError) as caught:
        Metric(name)
    assert str(caught.value).partition("; did you mean ")[2] == (f"{meant!r}?" if meant else "")
    assert pickle.loads(pickle.dumps(caught.value)).in_yaml == caught.value.in_yaml


def test_the_default_policy():
    val = Metric("val_loss", mode="min")
    policy = Policy.default("val_loss")
    assert policy == Policy(
        Every(epochs=1) | Every(minutes=20) | Improves(val) | OnPreempt(), KeepLast(2) | KeepBest(1, by=val)
    )
    assert Policy.default("val_loss", patience=3) == Policy(policy.save, policy.keep, Patience(val, checks=3))
    assert Policy.default("val_loss", mode="max").best_metric == Metric("val_loss", mode="max")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("reward",), "Policy.default: monitor: 'reward' does not say whether less or more is better; expected mode="),
        (("loss", "least"), "Policy.default: monitor: mode is 'least'; expected 'min' or 'max'"),
        (("reward", "auto"), "Policy.default: monitor: 'reward' does not say whether less or more is better; expected"),
        ((Metric("loss", mode="min"), "max"), "Policy.default: monitor: got Metric.* and mode='max'; expected"),
        ((None,), "Policy.default: monitor: got None; expected"),
        (("",), "Policy.default: monitor: got ''; expected"),
        (("loss", None, 0), "Policy.default: patience is 0; expected a whole number of at least 1"),
        (("loss", None, True), "Policy.default: patience is True"),
    ],
)
def test_a_default_that_makes_no_sense_is_refused_in_one_line(arguments, message):
    with pytest.raises(PolicyError, match=f"^{message}"):
        Policy.default(*arguments)


@pytest.mark.parametrize(
    "parts", [{"save": [Every(epochs=1), Improves("loss")]}, {"save": Every(epochs=1), "keep": [KeepLast(1)]}]
)
def test_a_list_of_rules_is_told_to_use_the_bar(parts):
    with pytest.raises(PolicyError, match=r"expected a .*; combine several with \|, as in a \| b"):
        Policy(**parts)


def test_a_text_that_was_pasted_as_a_name_is_refused_at_once():
    begun = time.process_time()
    with pytest.raises(PolicyError, match="does not say whether less or more is better"):
        Policy.default("word " * 4000)
    assert time.process_time() - begun < 10

"""File names. All expectations are worked out by hand."""

import math

import pytest

from ckpt_callbacks.errors import PolicyError
from ckpt_callbacks.policy.filename import DEFAULT, FileName
from ckpt_callbacks.record import Record

WALL = 1_767_323_045.0  # 2026-01-02 03:04:05 UTC
METADATA = {"model": "resnet", "dataset": "digits-v1", "seed": 42}


def record(**facts):
    facts = {"step": 1200, "epoch": 7, "wall": WALL, "run": "4f2a", "attempt": 2, "metadata": METADATA, **facts}
    return Record(1, "", **facts)


def name(template, **facts):
    return FileName(template, metadata=facts.get("metadata", METADATA)).render(record(**facts))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        (DEFAULT, "resnet-007-1200"),
        ("{model}-{epoch:03d}-{val_loss:.3f}", "resnet-007-0.457"),
        ("{dataset}_{seed}_{run}_{attempt}", "digits-v1_42_4f2a_2"),
        ("{date}-{time}", "20260102-030405"),
        ("{step:08d}", "00001200"),
        ("{step:,}", "1,200"),
        ("epoch={epoch}-loss={val/loss:.2f}", "epoch=7-loss=0.25"),
        ("{val.acc:.1%}", "91.5_"),
        ("{val_loss}", "0.45678"),
        ("{lr:.0e}", "1e-03"),
        ("{negative:+.1f}", "2.0"),  # a name never starts with a dash
        ("x{negative:+.1f}", "x-2.0"),
        ("plain", "plain"),
        ("{{epoch}}-{epoch}", "_epoch_-7"),
    ],
)
def test_a_name_follows_its_template(template, text):
    metrics = {"val_loss": 0.45678, "val/loss": 0.25, "val.acc": 0.915, "lr": 0.001, "negative": -2.0}
    assert name(template, metrics=metrics) == text


@pytest.mark.parametrize(
    ("template", "metrics", "text"),
    [
        ("m-{val_loss:.3f}", {}, "m-no_val_loss"),
        ("m-{val/loss:.3f}", {"loss": 1.0}, "m-no_val_loss"),
        ("m-{val_loss:.3f}", {"val_loss": math.nan}, "m-nan"),
        ("m-{val_loss:.3f}", {"val_loss": math.inf}, "m-inf"),
        ("m-{val_loss:08.3f}", {"val_loss": math.nan}, "m-nan"),  # not padded with zeros
        ("m-{val_loss:.3f}", {"val_loss": -math.inf}, "m--inf"),
        ("m-{val_loss:.3f}", {"val_loss": 0.0}, "m-0.000"),
        ("m-{val_loss:.3f}", {"val_loss": 0}, "m-0.000"),
    ],
)
def test_a_value_that_is_not_there_is_named_so_and_never_0(template, metrics, text):
    assert name(template, metrics=metrics) == text


def test_a_metadata_key_without_a_value_is_named_so():
    assert name("{owner}", metadata={"owner": None}) == "no_owner"
    assert FileName("{seed}", metadata=("seed",)).render(record(metadata={})) == "no_seed"


def test_a_model_without_a_name_is_called_model():
    assert name("{model}-{step}", metadata={}) == "model-1200"


def test_built_in_names_win_over_metrics_and_metadata():
    assert name("{epoch}-{step}-{run}", metrics={"epoch": 99.0}, metadata={"step": "x", "run": "y"}) == "7-1200-4f2a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("../../etc/passwd", "____etc_passwd"),
        ("a/b\\c", "a_b_c"),
        ("/abs", "_abs"),
        ("my model (v2)", "my_model_v2_"),
        ("mod\u00e8le-\u6a21\u578b", "mod_le-_"),
        ("a\nb\0c", "a_b_c"),
        ('a:b*c?d|e<f>g"h', "a_b_c_d_e_f_g_h"),
        ("$(rm -rf ~); `x`", "_rm_-rf_x_"),
        (".hidden", "hidden"),
        ("--flag", "flag"),
        ("a..b....c", "a_b__c"),
        ("...", "_."),
        ("", "checkpoint"),
        (".", "checkpoint"),
        ("..", "_"),
        ([1, 2], "_1,_2_"),
        (True, "True"),
    ],
)
def test_an_unsafe_value_becomes_a_safe_name(value, text):
    assert name("{model}", metadata={"model": value}) == text


def test_pieces_that_are_safe_alone_stay_safe_together():
    assert name("{a}{b}", metadata={"a": "x.", "b": ".y"}) == "x_y"
    assert name(".{a}.", metadata={"a": "."}) == "_."


@pytest.mark.parametrize("alias", ["last", "best", "final", "LAST"])
def test_a_name_is_not_that_of_an_alias(alias):
    assert name(alias) == f"{alias}-1200"
    assert name("{model}", metadata={"model": alias}) == f"{alias}-1200"
    assert name(f"{alias}-{{epoch}}") == f"{alias}-7"


def test_a_long_name_is_cut():
    assert name("{model}-{step}", metadata={"model": "m" * 500}) == "m" * 180


@pytest.mark.parametrize(
    ("template", "metadata", "text"),
    [
        ("{size:03d}", {"size": "large"}, "large"),
        ("{size:.2f}", {"size": [1]}, "_1_"),
        ("{size:.2f}", {"size": 10**400}, "1" + "0" * 179),
        ("{size:>5}", {"size": 7}, "_7"),
    ],
)
def test_a_format_that_does_not_fit_a_value_leaves_the_value(template, metadata, text):
    assert name(template, metadata=metadata) == text


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{epohc}", r"unknown name \{epohc\}; did you mean \{epoch\}\?"),
        ("{steps}", r"unknown name \{steps\}; did you mean \{step\}\?"),
        ("{Model}", r"did you mean \{model\}\?"),
        ("{dataset}", r"\{dataset\} is not known; give metadata=\{'dataset': ...\}"),
        ("{seed}", r"\{seed\} is not known; give metadata="),
        ("{}", r"\{\} has no name"),
        ("{:03d}", r"\{\} has no name"),
        ("{epoch", "expected '}' before end of string"),
        ("epoch}", "Single '}' encountered"),
        ("{epoch:03q}", r"\{epoch:03q\}: "),
        ("{step:%Y}", r"\{step:%Y\}: "),
        ("{model:03d}", r"\{model:03d\}: "),
        ("{epoch:{width}}", r"\{epoch:\{width\}\}: "),
        ("{val_loss:03d}", r"\{val_loss:03d\}: "),  # a metric is a float
        ("{acc:.3x}", r"\{acc:.3x\}: "),
        ("{epoch!r}", r"!r is not known; use \{epoch:format\}"),
        ("sub/{epoch}", "must not contain a path separator; put folders in dirpath"),
        ("sub\\{epoch}", "must not contain a path separator"),
    ],
)
def test_a_template_that_makes_no_sense_is_refused_when_it_is_built(template, message):
    with pytest.raises(PolicyError, match=f"^filename .*{message}"):
        FileName(template, metrics=("val_loss",))


@pytest.mark.parametrize("template", [5, None, ["{epoch}"]])
def test_a_template_is_a_text(template):
    with pytest.raises(PolicyError, match="expected a template such as"):
        FileName(template)


@pytest.mark.parametrize("template", ["{val_loss}", "{rate}-{date}", "{my_metric:.2f}", "{steps}"])
def test_expected_metrics_and_metadata_may_have_any_name(template):
    FileName(template, metrics=("val_loss", "rate", "steps"))
    FileName(template, metadata=("rate", "steps"))


def test_a_name_is_never_looked_up_in_an_object():
    facts = {"metadata": {"model": "m", "model.__class__": "plain key"}}
    assert name("{model.__class__}", **facts) == "plain_key"
    assert name("{loss.real}-{step}", metrics={"loss": 0.5}) == "no_loss.real-1200"


def test_a_template_is_a_value():
    assert FileName("{step}", ["a"]) == FileName("{step}", ("a",)) != FileName("{epoch}", ("a",))
    assert hash(FileName("{step}", ["a"])) == hash(FileName("{step}", ("a",)))

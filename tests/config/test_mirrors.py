"""Mirrors in a file, and as an argument of the callbacks."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ckpt_callbacks import ConfigError, Improves, KeepBest, KeepLast, Metric, Mirror, Policy, PolicyError
from ckpt_callbacks.config import Config, json_schema
from ckpt_callbacks.config.arguments import build_config
from ckpt_callbacks.settings import Settings
from tests.config.documents import parse, problems_of, read
from tests.support import strategies
from tests.support.command import ckpt

CANARY = "canary-4711"
VAL = Metric("val_loss", mode="min")
BEST = "metrics: {val: {monitor: val_loss, mode: min, smoothing: {ema: 0.3}}}\nsave: {improves: val}\n"
LIST = """
mirrors:
- s3://bucket/run
- url: /nfs/run
  every: 10 min
  keep: [{best: 1}, {last: 1}]
  contents: weights
  max_upload_rate: 10 MB
  storage_options: {endpoint_url: http://127.0.0.1:9000}
"""


def test_a_file_names_mirrors_and_their_rules(tmp_path):
    config = read(tmp_path, BEST + LIST)
    by = config.policy.best_metric
    assert by is not None and by.smoothing is not None
    assert config.settings.mirrors == (
        Mirror("s3://bucket/run"),
        Mirror(
            "/nfs/run", keep=KeepBest(1, by=by) | KeepLast(1), contents="weights", every=600,
            max_upload_rate=10**7, storage_options={"endpoint_url": "http://127.0.0.1:9000"},
        ),
    )  # fmt: skip
    assert parse(config.to_yaml())["mirrors"] == [
        "s3://bucket/run",
        {
            "url": "/nfs/run",
            "keep": [{"best": {"n": 1, "by": "val_loss"}}, {"last": 1}],
            "contents": "weights",
            "every": 600,
            "max_upload_rate": 10**7,
            "storage_options": {"endpoint_url": "http://127.0.0.1:9000"},
        },
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/run", (Mirror("s3://bucket/run"),)),
        ("{url: /nfs/run, every: 0, keep: null, storage_options: null}", (Mirror("/nfs/run"),)),
        ("[]", ()),
        ("{url: /a, keep: {best: {n: 2, by: val}}}", (Mirror("/a", keep=KeepBest(2, by=VAL)),)),
        ("{url: /a, keep: {best: {by: val_loss}}}", (Mirror("/a", keep=KeepBest(1, by=VAL)),)),
        ("{url: /a, keep: {last: 1, contents: weights}}", (Mirror("/a", keep=KeepLast(1, contents="weights")),)),
    ],
)
def test_one_mirror_needs_no_list(tmp_path, text, expected):
    head = "metrics: {val: {monitor: val_loss, mode: min}}\nsave: {improves: val}\nmirrors: "
    assert read(tmp_path, head + text).settings.mirrors == expected


@pytest.mark.parametrize(
    "rules",
    ["monitor: val_loss", "save: {improves: val_loss}", "{save: on_preempt, best_by: val_loss}",
     "{save: on_preempt, keep: {best: {by: val_loss}}}"],
)  # fmt: skip
def test_the_best_alone_are_those_of_the_run(rules):
    config = Config.from_mapping({**parse(rules), "mirrors": {"url": "/a", "keep": {"best": 2}}})
    assert config.settings.mirrors[0].keep == KeepBest(2, by=config.policy.best_metric) == KeepBest(2, by=VAL)


PARTS = "url, keep, contents, every, max_upload_rate, storage_options"
SECONDS = "a duration of at least 0: seconds, or text such as 30 s, 10 min, 1.5 h or 2 d"
RETENTIONS = "all, last, best, every, within, tagged"
MISTAKES = [
    ("", f"mirrors: got nothing; expected a URL or a path, or a mapping with {PARTS}"),
    ("3", f"mirrors: got 3; expected a URL or a path, or a mapping with {PARTS}"),
    ("[[/a]]", f"mirrors[0]: got a list; expected a URL or a path, or a mapping with {PARTS}"),
    ("''", "mirrors: url is ''; expected a URL or a path, such as 's3://bucket/run' or '/nfs/run'"),
    ("[/a, {every: 1 h}]", "mirrors[1].url: missing; expected text"),
    ("{url: 3}", "mirrors.url: got 3; expected text"),
    ("{url: /a, evry: 1 h}", f"mirrors: unknown field 'evry'; expected one of {PARTS}; did you mean 'every'?"),
    ("[/a, {url: /b, every: -1}]", f"mirrors[1].every: got -1; expected {SECONDS}"),
    ("{url: /a, every: }", f"mirrors.every: got nothing; expected {SECONDS}"),
    (
        "{url: /a, max_upload_rate: 10 mb}",
        "mirrors.max_upload_rate: got '10 mb'; expected a rate above 0: whole bytes per second, or text such as 500 kB "
        "or 10 MB/s",
    ),
    (
        "{url: /a, contents: {dtyp: bf16}}",
        "mirrors.contents: unknown field 'dtyp'; expected one of kind, dtype, drop, reference, compression, source, "
        "weights, shards; did you mean 'dtype'?",
    ),
    (
        "{url: /a, keep: []}",
        "mirrors.keep: got an empty list, which would delete every checkpoint; expected at least one item: a mapping "
        f"with one of {RETENTIONS}",
    ),
    (
        "{url: /a, keep: [{lst: 1}]}",
        f"mirrors.keep[0]: unknown field 'lst'; expected one of {RETENTIONS}, contents; did you mean 'last'?",
    ),
    ("{url: /a, keep: {best: 0}}", "mirrors.keep.best: got 0; expected a whole number of at least 1"),
    (
        "{url: /a, keep: {best: true}}",
        "mirrors.keep.best: got True; expected a whole number of at least 1, or a mapping with n, by",
    ),
    (
        "{url: /a, keep: {best: {by: vall}}}",
        "mirrors.keep.best.by: unknown metric 'vall'; defined metrics: val; did you mean 'val'?",
    ),
    ("[s3://a, s3://a/]", "mirrors: 's3://a' is there twice; expected each place once"),
    (
        f"s3://ada:{CANARY}@bucket",
        "mirrors: url is 's3://***@bucket', which holds a password, a key or a query; expected a URL without it, and "
        "the secret in storage_options or where the store's own client looks for it, such as its environment variables",
    ),
    (
        f"{{url: /a, storage_options: {CANARY}}}",
        "mirrors.storage_options: got a value of the type str; expected a mapping of names to values",
    ),
    (
        f"{{url: /a, storage_options: {{1: {CANARY}}}}}",
        "mirrors.storage_options: got a name that is no text; expected a mapping of names to values",
    ),
    (
        "{url: /a, storage_options: {since: 2026-11-24}}",
        "mirrors: storage_options: since is of the type date; expected text, a finite number, true, false, or a list or"
        " mapping of these",
    ),
    (
        "{url: /a, keep: {best: {by: accuracy}}}",
        "mirrors: keep ranks by 'accuracy', which no rule of the policy reads; expected one of ema(0.3) of val_loss, "
        "val_loss, or the metric in the policy as well, as best_by or in its keep",
    ),
]


@pytest.mark.parametrize(("text", "problem"), MISTAKES)
def test_a_mistake_has_one_line_without_secrets(tmp_path, text, problem):
    assert problems_of(tmp_path, f"{BEST}mirrors: {text}") == [problem]


def test_the_best_needs_a_metric(tmp_path):
    [line] = problems_of(tmp_path, "save: on_preempt\nmirrors: {url: /a, keep: {best: 1}}")
    assert line == (
        "mirrors.keep.best: got 1, but no rule of the policy says which checkpoint is the best; expected a mapping "
        "with n, by"
    )


@pytest.mark.parametrize(
    "rules",
    ["save: {improves: vall}", "save: on_preempt\nkeep: {lst: 1}", "save: on_preempt\nbest_by: los",
     "monitor: quality", "monitor: val_loss\npatience: 0", "metrics: {val: {monitr: x}}\nsave: {improves: val}"],
)  # fmt: skip
def test_a_mistake_in_the_rules_is_not_reported_for_the_mirrors_as_well(tmp_path, rules):
    lines = problems_of(tmp_path, f"{rules}\nmirrors: {{url: /a, keep: {{best: 1}}}}")
    assert len(lines) == 1 and "mirrors" not in lines[0]


@pytest.mark.parametrize("value", [f"!{CANARY}", f"*{CANARY}", f"!!int {CANARY}", f"!!timestamp {CANARY}", "9" * 5000])
def test_a_password_that_yaml_takes_for_something_else_is_not_shown(tmp_path, value):
    [line] = problems_of(tmp_path, f"{BEST}mirrors:\n  url: /a\n  storage_options:\n    password: {value}\n")
    assert line.startswith("line 6, column 15: ") and CANARY not in line and "999" not in line


def argument(value, **others):
    return build_config("KerasCheckpoint", "runs/a", Policy(Improves(VAL)), mirrors=value, **others).settings.mirrors


def test_callbacks_take_the_same_forms_and_objects():
    keep = KeepBest(1, by=VAL) | KeepLast(1)
    expected = (Mirror("s3://bucket/run"), Mirror("/nfs/run", keep=keep, every=600))
    for rules in (keep, list(keep.parts()), [{"best": 1}, {"last": 1}], [{"best": {"by": "val_loss"}}, {"last": 1}]):
        assert argument(["s3://bucket/run", {"url": "/nfs/run", "keep": rules, "every": "10 min"}]) == expected
    assert argument(expected) == argument(list(expected)) == expected
    assert argument({"url": "/a", "keep": "all"}) == argument([{"url": "/a", "keep": ["all"]}])


def test_an_argument_replaces_the_mirrors_of_a_file():
    document = {"save": "on_preempt", "mirrors": "s3://bucket/run"}

    def mirrors(**given):
        return build_config("KerasCheckpoint", "runs/a", document, **given).settings.mirrors

    assert mirrors() == mirrors(mirrors=None) == (Mirror("s3://bucket/run"),)
    assert (mirrors(mirrors="/nfs/run"), mirrors(mirrors=())) == ((Mirror("/nfs/run"),), ())


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"url": "/a", "keep": [{"bst": 1}]}, ConfigError, "mirrors.keep[0]: unknown field 'bst'; expected one of "),
        (
            ["/a", {"url": "/b", "keep": {"best": 0}}],
            ConfigError,
            "mirrors[1].keep.best: got 0; expected a whole ",
        ),
        (["/a", {"url": "/b", "evry": 1}], PolicyError, "mirrors[1]: got an unknown argument 'evry'; did you mean"),
        (
            {"url": "/a", "keep": [KeepLast(1), {"last": 1}]},
            PolicyError,
            "mirrors: keep is [KeepLast(), {'last': 1}]",
        ),
        (
            {"url": "/a", "keep": {"best": {"by": "val_acc"}}},
            PolicyError,
            "mirrors: keep ranks by 'val_acc', which ",
        ),
        (3, PolicyError, "mirrors is 3; expected a URL or a path"),
    ],
)
def test_a_wrong_argument_is_one_line(value, error, message):
    with pytest.raises(error) as caught:
        argument(value)
    assert str(caught.value).startswith(f"KerasCheckpoint: {message}")
    assert len(str(caught.value).splitlines()) == 1


def test_the_policy_on_record_holds_nothing_of_a_mirror():
    config = build_config(
        "KerasCheckpoint", "runs/a", Policy(Improves(VAL)),
        mirrors={"url": "s3://bucket/run", "storage_options": {"secret_access_key": CANARY}},
    )  # fmt: skip
    assert "mirrors" not in config.described and CANARY not in f"{config.described}{config!r}{config}"
    assert CANARY in config.to_yaml()  # the user's own file, which would otherwise read back as another one


def test_the_command_that_checks_a_file_shows_its_mirrors_without_secrets(tmp_path):
    path = tmp_path / "ckpt.yaml"
    path.write_text(f"save: on_preempt\nmirrors: [/nfs/a, {{url: memory://a, storage_options: {{key: {CANARY}}}}}]")
    done = ckpt("check", path)
    assert done.exit_code == 0 and CANARY not in done.output
    assert done.output.splitlines()[-2:] == [
        "mirror: Mirror('/nfs/a')",
        "mirror: Mirror('memory://a', storage_options={'key': '***'})",
    ]


def test_the_command_that_checks_a_file_names_a_kind_of_mirror_that_there_is_not(tmp_path):
    path = tmp_path / "ckpt.yaml"
    path.write_text("save: on_preempt\nmirrors: nowhere://bucket/run")
    done = ckpt("check", path)
    assert done.exit_code == 1
    (line,) = done.output.splitlines()
    assert line.startswith(f"{path}: mirrors: nowhere:// is not a kind of mirror; expected one of s3, ")


@pytest.fixture(scope="module")
def schema():
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    return validator(json_schema())


@pytest.mark.parametrize("head", [BEST, "monitor: val_loss\n"])
def test_the_schema_accepts(schema, head):
    schema.validate(parse(head + LIST))
    for text in ("s3://bucket/run", "[]", "{url: /a, keep: {best: 1}}", "{url: /a, every: 0, max_upload_rate: 1 MB/s}"):
        schema.validate(parse(f"{head}mirrors: {text}"))


IN_NO_SCHEMA = ("[s3://a, s3://a/]", "by: ", "ada:", "since:", "{1:")  # found only when a value is built


@pytest.mark.parametrize("text", [text for text, _ in MISTAKES if not any(part in text for part in IN_NO_SCHEMA)])
def test_the_schema_rejects(schema, text):
    assert not schema.is_valid(parse(f"{BEST}mirrors: {text}"))


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(Mirror)])
def test_the_schema_and_the_reader_agree_on_a_null(schema, field):
    document = {"save": "on_preempt", "mirrors": {"url": "/a", field: None}}
    is_default = field not in ("url", "every")
    assert schema.is_valid(document) is is_default
    if is_default:
        assert Config.from_mapping(document).settings.mirrors == (Mirror("/a"),)
    else:
        with pytest.raises(ConfigError):
            Config.from_mapping(document)


@st.composite
def configs(draw):
    policy = draw(strategies.policies())
    by = list(policy.tracks) or None
    rules = strategies.retentions(st.sampled_from(by)) if by else st.none()
    return Config(policy, Settings(mirrors=tuple(draw(strategies.mirrors(rules)))))


@settings(deadline=None, max_examples=40)
@given(configs())
def test_what_is_written_reads_back_and_the_schema_accepts_it(schema, tmp_path_factory, config):
    path = tmp_path_factory.getbasetemp() / "mirrors.yaml"
    text = config.to_yaml()
    path.write_text(text, encoding="utf-8")
    schema.validate(parse(text))
    again = Config.from_yaml(path, allow_code=True)
    assert again == config
    assert again.to_yaml() == text


def test_a_mirror_inside_the_run_directory_is_a_mistake_of_the_file(tmp_path):
    path = tmp_path / "ckpt.yaml"
    path.write_text("dirpath: runs/a\nsave: {every: 1 h}\nkeep: {last: 1}\nmirrors: runs/a/copy\n")
    done = ckpt("check", path)
    assert done.exit_code == 1 and "runs/a/copy' is in the run directory" in done.stderr and done.stdout == ""


@pytest.mark.parametrize(("mirrors", "is_said"), [
    ("[{url: /nfs/a, contents: weights}]", True),
    ("[{url: /nfs/a, contents: weights}, {url: /nfs/b, contents: {dtype: bf16}}]", True),
    ("[{url: /nfs/a, contents: weights}, /nfs/b]", False),
    ("[{url: /nfs/a, contents: {compression: auto}}]", False),
])  # fmt: skip
def test_mirrors_that_no_run_can_be_resumed_from_are_told(tmp_path, mirrors, is_said):
    path = tmp_path / "ckpt.yaml"
    path.write_text(f"dirpath: runs/a\nsave: {{every: 1 h}}\nkeep: {{last: 1}}\nmirrors: {mirrors}\n")
    done = ckpt("check", path)
    assert done.exit_code == 0 and ("no run can be resumed from /nfs/a" in done.stderr) == is_said

"""Mistakes in a YAML file, each with the line that reports it."""

EVERY = "epochs, steps, seconds, minutes, hours, overhead"
TRIGGERS = "every, optimal, at, improves, on_preempt, on_exception, on_deadline, any, all, not, predicate"
OR_DURATION = "expected a duration, such as 20 min, or a mapping with"
METRIC = "metrics: {val: {monitor: val_loss, mode: min}}\n"
WITH_SAVE = "save: on_preempt\n"
FIELDS = (
    "version, dirpath, metrics, save, keep, stop, best_by, contents, metadata, filename, on_error, grace, min_free, "
    "max_total_size, background, max_pending, when_busy, staging, resume, mirrors"
)
SECONDS = "a duration above 0: seconds, or text such as 30 s, 10 min, 1.5 h or 2 d"
BYTES = "a size: whole bytes, or text such as 500 MB, 5 GB or 2 GiB"
MOMENT = "a moment: UTC seconds since 1970, or a date and time with its offset, such as 2026-11-24T23:00:00Z"
MONITOR = "a metric's name, a list of names, or a mapping of names to weights"
CONTENTS = "full or weights, or a mapping with kind, dtype, drop, reference, compression, source, weights, shards"
RESUME = "auto, never, the path of a checkpoint, or a mapping with one of optimizer, step"
MISTAKES = [
    # the file
    ("", "is empty; expected a mapping with at least save or monitor"),
    ("# nothing\n", "is empty; expected a mapping with at least save or monitor"),
    ("[1]", f"got a list; expected a mapping with {FIELDS}"),
    ("just text", f"got 'just text'; expected a mapping with {FIELDS}"),
    ("save: [", "line 1, column 8: while parsing a flow node, expected the node content, but found '<stream end>'"),
    ("a: b: c", "line 1, column 5: mapping values are not allowed here"),
    (
        "save: *nope",
        "line 1, column 7: found undefined alias 'nope'",
    ),
    (
        "save: !!python/object/apply:os.abort []",
        "line 1, column 7: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.abort'",
    ),
    (
        "---\nsave: on_preempt\n---\nsave: on_preempt\n",
        "line 3, column 1: expected a single document in the stream, but found another document",
    ),
    (b"save: \xff", "byte 6 is not UTF-8; expected a text file"),
    ("save: " + "[" * 5000, "is nested too deeply"),
    # top level
    ("keep: {last: 1}", f"save: missing; expected a mapping with one of {TRIGGERS}"),
    (WITH_SAVE + "1: 2", f"unknown field 1; expected one of {FIELDS}"),
    (WITH_SAVE + "contnets: full", f"unknown field 'contnets'; expected one of {FIELDS}; did you mean 'contents'?"),
    (WITH_SAVE + "version: 2", "version: got 2; expected 1"),
    (WITH_SAVE + "version: true", "version: got True; expected 1"),
    (WITH_SAVE + "version: '1'", "version: got '1'; expected 1"),
    (WITH_SAVE + "contents: wieghts", f"contents: got 'wieghts'; expected {CONTENTS}; did you mean 'weights'?"),
    (WITH_SAVE + "contents: []", f"contents: got a list; expected {CONTENTS}"),
    (
        WITH_SAVE + "contents: {dtype: bf15}",
        "contents.dtype: got 'bf15'; expected fp32 or bf16 or fp16 or int8 or int4; did you mean 'bf16'?",
    ),
    (
        WITH_SAVE + "contents: {drop: ['']}",
        "contents: drop is ['']; expected names of weights or of parts of the model, such as 'backbone' or ('encoder', "
        "'*.running_mean')",
    ),
    (
        WITH_SAVE + "contents: {reference: hub}",
        "contents: reference is 'hub', but nothing is left out; expected drop, or weights='trainable', as well",
    ),
    (
        WITH_SAVE + "contents: {dtyp: bf16}",
        "contents: unknown field 'dtyp'; expected one of kind, dtype, drop, reference, compression, source, weights, "
        "shards; did you mean 'dtype'?",
    ),
    (
        WITH_SAVE + "contents: {kind: weights, shards: 5 GB}",
        "contents.shards: got '5 GB'; expected a mapping with max_size",
    ),
    (
        WITH_SAVE + "contents: {kind: weights, shards: {max_size: big}}",
        f"contents.shards.max_size: got 'big'; expected {BYTES}",
    ),
    (
        WITH_SAVE + "contents: {shards: {max_size: 5 GB}}",
        "contents: shards is {'max_size': '5 GB'} with kind='full'; expected kind='weights': a run resumes from one "
        "file",
    ),
    (WITH_SAVE + "on_error:", "on_error: got nothing; expected warn or raise"),
    (
        WITH_SAVE + "resume: atuo",
        "resume: got 'atuo'; expected 'auto', 'never' or the path of a checkpoint; did you mean 'auto'?",
    ),
    (WITH_SAVE + "resume: true", f"resume: got True; expected {RESUME}"),
    (WITH_SAVE + "resume: [auto]", f"resume: got a list; expected {RESUME}"),
    (WITH_SAVE + "resume: {weights: false}", "resume: unknown field 'weights'; expected one of optimizer, step"),
    (WITH_SAVE + "resume: {step: 0}", "resume.step: got 0; expected true or false"),
    (WITH_SAVE + "dirpath: 3", "dirpath: got 3; expected text"),
    (WITH_SAVE + "metadata: x", "metadata: got 'x'; expected a mapping"),
    (WITH_SAVE + "metadata: {1: 2}", "metadata: got 1 as a name; expected text"),
    (WITH_SAVE + "filename: '{epcoh}'", "filename: '{epcoh}': unknown name {epcoh}; did you mean {epoch}?"),
    *((WITH_SAVE + f"grace: {x}", f"grace: got {x}; expected {SECONDS}") for x in ("0", "-1", "'5'", "'5 M'")),
    (WITH_SAVE + "grace: .inf", f"grace: got inf; expected {SECONDS}"),
    (WITH_SAVE + "grace: true", f"grace: got True; expected {SECONDS}"),
    (WITH_SAVE + "grace:", f"grace: got nothing; expected {SECONDS}"),
    (WITH_SAVE + "grace: [30 s]", f"grace: got a list; expected {SECONDS}"),
    (WITH_SAVE + "min_free: -1", f"min_free: got -1; expected {BYTES}"),
    (WITH_SAVE + "min_free: 5.0", f"min_free: got 5.0; expected {BYTES}"),
    (WITH_SAVE + "max_total_size: 50 gb", f"max_total_size: got '50 gb'; expected {BYTES}"),
    (WITH_SAVE + "min_free: 5 gb", f"min_free: got '5 gb'; expected {BYTES}"),
    (WITH_SAVE + "min_free: {GB: 5}", f"min_free: got a mapping; expected {BYTES}"),
    (
        WITH_SAVE + "filename: a/b",
        "filename: 'a/b': a file name must not contain a path separator; put folders in dirpath",
    ),
    # metrics
    (WITH_SAVE + "metrics: [val]", "metrics: got a list; expected a mapping"),
    (WITH_SAVE + "metrics: {1: {monitor: a, mode: min}}", "metrics: got 1 as a name; expected text"),
    (
        WITH_SAVE + "metrics: {val: {monitor: val_gap}}",
        "metrics.val: 'val_gap' does not say whether less or more is better; expected mode: min or mode: max "
        "beside monitor",
    ),
    (
        WITH_SAVE + "metrics: {val: {monitor: val_gap, mode: auto}}",
        "metrics.val: 'val_gap' does not say whether less or more is better; expected mode: min or mode: max "
        "beside monitor",
    ),
    (
        WITH_SAVE + "metrics: {val: {monitor: val_loss, mode: least}}",
        "metrics.val.mode: got 'least'; expected min or max or auto",
    ),
    (WITH_SAVE + "metrics: {val: {mode: min}}", f"metrics.val.monitor: missing; expected {MONITOR}"),
    (WITH_SAVE + "metrics: {val: {monitor: 3, mode: min}}", f"metrics.val.monitor: got 3; expected {MONITOR}"),
    (
        WITH_SAVE + "metrics: {val: {monitor: [a, 3], mode: min}}",
        f"metrics.val.monitor: got a list; expected {MONITOR}",
    ),
    (
        WITH_SAVE + "metrics: {val: {monitor: {a: true}, mode: min}}",
        f"metrics.val.monitor: got a mapping; expected {MONITOR}",
    ),
    (
        METRIC.replace("}}", ", min_delta: true}}") + WITH_SAVE,
        "metrics.val.min_delta: got True; expected a finite number of at least 0",
    ),
    (
        METRIC.replace("}}", ", min_delta: -1}}") + WITH_SAVE,
        "metrics.val.min_delta: got -1; expected a finite number of at least 0",
    ),
    (
        METRIC.replace("}}", ", baseline: .nan}}") + WITH_SAVE,
        "metrics.val.baseline: got nan; expected a finite number",
    ),
    (
        METRIC.replace("}}", ", start_from_epoch: -1}}") + WITH_SAVE,
        "metrics.val.start_from_epoch: got -1; expected a whole number of at least 0",
    ),
    (
        METRIC.replace("}}", ", nan: skp}}") + WITH_SAVE,
        "metrics.val.nan: got 'skp'; expected stale or skip; did you mean 'skip'?",
    ),
    (
        METRIC.replace("}}", ", smoothing: {ema: 2}}}") + WITH_SAVE,
        "metrics.val.smoothing.ema: got 2; expected a number above 0 and at most 1",
    ),
    (
        METRIC.replace("}}", ", smoothing: ema}}") + WITH_SAVE,
        "metrics.val.smoothing.ema: got nothing; expected a number above 0 and at most 1",
    ),
    (
        METRIC.replace("}}", ", smoothing: {mean: 2, median: 3}}}") + WITH_SAVE,
        "metrics.val.smoothing: got mean, median; expected exactly one of ema, mean, median",
    ),
    (
        'metrics: {"a\\nb": {monitor: 1, mode: min}}\n' + WITH_SAVE,
        f"metrics.'a\\nb'.monitor: got 1; expected {MONITOR}",
    ),
    # save
    ("save:", f"save: got nothing; expected a mapping with one of {TRIGGERS}"),
    ("save: []", f"save: got an empty list; expected at least one item: a mapping with one of {TRIGGERS}"),
    ("save: {}", f"save: got no field; expected exactly one of {TRIGGERS}"),
    ("save: 5", f"save: got 5; expected a mapping with one of {TRIGGERS}"),
    ("save: [[on_preempt]]", f"save[0]: got a list; expected a mapping with one of {TRIGGERS}"),
    (
        "save: &a {not: *a}",
        f"save.not: got an alias of a part that contains it; expected a mapping with one of {TRIGGERS}",
    ),
    (
        "save: [on_exception, on_premt]",
        f"save[1]: unknown field 'on_premt'; expected one of {TRIGGERS}; did you mean 'on_preempt'?",
    ),
    ("save: {on_preempt: {}}", "save.on_preempt: got a mapping; expected no value"),
    (
        "save: [{every: {epochs: 1}, at: {steps: 1}}]",
        f"save[0]: got every, at; expected exactly one of {TRIGGERS}; for several, write a list: "
        "[{every: ...}, {at: ...}]",
    ),
    (
        "save: {improves: val, on_preempt: }\nmetrics: {val: {monitor: val_loss}}",
        f"save: got improves, on_preempt; expected exactly one of {TRIGGERS}; for several, write a list: "
        "[{improves: ...}, on_preempt]",
    ),
    (
        WITH_SAVE + "filename: {model}-{epoch}",
        "line 2, column 18: while parsing a block mapping, expected <block end>, but found '<scalar>'; quote it: "
        'filename: "{model}-{epoch}"',
    ),
    (WITH_SAVE + "filename: {epoch}", 'filename: got a mapping; expected text; quote it, as in "{epoch}"'),
    (
        "save: [{every: {epoch: 1}}]",
        f"save[0].every: unknown field 'epoch'; expected one of {EVERY}; did you mean 'epochs'?",
    ),
    (
        "save: {every: {epochs: 1, steps: 2}}",
        f"save.every: got epochs=1, steps=2; expected exactly one of {EVERY}",
    ),
    ("save: {every: 20 minuts}", f"save.every: got '20 minuts'; {OR_DURATION} one of {EVERY}"),
    ("save: {every: epoch}", f"save.every: got 'epoch'; {OR_DURATION} one of {EVERY}"),
    ("save: {every: 60}", f"save.every: got 60; {OR_DURATION} one of {EVERY}"),
    ("save: every", f"save.every: got nothing; {OR_DURATION} one of {EVERY}"),
    ("save: {every: [20 min]}", f"save.every: got a list; {OR_DURATION} one of {EVERY}"),
    (WITH_SAVE + "keep: {within: 5}", f"keep.within: got 5; {OR_DURATION} hours"),
    (WITH_SAVE + "keep: {within: 0 s}", f"keep.within: got '0 s'; {OR_DURATION} hours"),
    ("save: {every: {}}", f"save.every: got none; expected exactly one of {EVERY}"),
    ("save: {every: {epochs: 0}}", "save.every.epochs: got 0; expected a whole number of at least 1"),
    ("save: {every: {epochs: 1.0}}", "save.every.epochs: got 1.0; expected a whole number of at least 1"),
    ("save: {every: {epochs: true}}", "save.every.epochs: got True; expected a whole number of at least 1"),
    ("save: {every: {minutes: .inf}}", "save.every.minutes: got inf; expected a positive number"),
    ("save: {every: {minutes: '5'}}", "save.every.minutes: got '5'; expected a positive number"),
    (
        "save: {every: {overhead: 1}}",
        "save.every.overhead: got 1; expected a share above 0 and below 1, such as 0.01",
    ),
    ("save: optimal", "save.optimal: got nothing; expected a mapping with mtbf"),
    ("save: {optimal: {}}", f"save.optimal.mtbf: missing; expected {SECONDS}"),
    ("save: {optimal: {mtbf: 6 weeks}}", f"save.optimal.mtbf: got '6 weeks'; expected {SECONDS}"),
    ("save: {at: {steps: [1, x]}}", "save.at.steps[1]: got 'x'; expected a whole number of at least 1"),
    ("save: {at: {steps: x}}", "save.at.steps: got 'x'; expected a whole number of at least 1"),
    (
        "save: {at: {steps: 1, epochs: 1}}",
        "save.at: expected a list of steps or a list of epochs, such as At(steps=[100, 1000])",
    ),
    ("save: on_deadline", "save.on_deadline: got nothing; expected a mapping with before, end"),
    ("save: {on_deadline: 600}", "save.on_deadline: got 600; expected a mapping with before, end"),
    ("save: {on_deadline: {}}", f"save.on_deadline.before: missing; expected {SECONDS}"),
    ("save: {on_deadline: {before: 0}}", f"save.on_deadline.before: got 0; expected {SECONDS}"),
    ("save: {on_deadline: {before: soon}}", f"save.on_deadline.before: got 'soon'; expected {SECONDS}"),
    (
        "save: {on_deadline: {before: 5, ende: 5}}",
        "save.on_deadline: unknown field 'ende'; expected one of before, end; did you mean 'end'?",
    ),
    ("save: {on_deadline: {before: 5, end: 0}}", f"save.on_deadline.end: got 0; expected {MOMENT}"),
    ("save: {on_deadline: {before: 5, end: true}}", f"save.on_deadline.end: got True; expected {MOMENT}"),
    ("save: {on_deadline: {before: 5, end: tonight}}", f"save.on_deadline.end: got 'tonight'; expected {MOMENT}"),
    (
        "save: {on_deadline: {before: 5, end: 2026-11-24T23:00:00}}",
        f"save.on_deadline.end: got 2026-11-24 23:00:00; expected {MOMENT}",
    ),
    (
        "save: {on_deadline: {before: 5, end: '2026-11-24T23:00:00'}}",
        f"save.on_deadline.end: got '2026-11-24T23:00:00'; expected {MOMENT}",
    ),
    (
        "save: [{on_deadline: {before: 5, end: 2026-11-24}}]",
        f"save[0].on_deadline.end: got 2026-11-24; expected {MOMENT}",
    ),
    (
        "save: {improves: val}",
        "save.improves: unknown metric 'val'; defined metrics: none; to define it, write metrics: "
        "{val: {monitor: val, mode: min}}, or mode: max",
    ),
    ('save: {improves: "a: b"}', "save.improves: unknown metric 'a: b'; defined metrics: none"),
    (
        METRIC + "save: {improves: vall}",
        "save.improves: unknown metric 'vall'; defined metrics: val; did you mean 'val'?",
    ),
    (METRIC + "save: {improves: x.raw}", "save.improves: unknown metric 'x.raw'; defined metrics: val"),
    (METRIC + "save: {improves: 5}", "save.improves: got 5; expected the name of a metric"),
    (
        METRIC + "save: {all: [on_preempt, {any: [on_preempt, {not: {improves: x}}]}]}",
        "save.all[1].any[1].not.improves: unknown metric 'x'; defined metrics: val",
    ),
    ("save: {predicate: os}", "save.predicate: got 'os'; expected a function, such as pkg.mod:fn"),
    (
        "save: {predicate: 'os:stat'}",
        "save.predicate: got 'os:stat', which is code; pass allow_code=True to import it",
    ),
    # keep
    (
        WITH_SAVE + "keep: []",
        "keep: got an empty list, which would delete every checkpoint; expected at least one item: "
        "a mapping with one of all, last, best, every, within, tagged",
    ),
    (
        WITH_SAVE + "keep:",
        "keep: got nothing; expected a mapping with one of all, last, best, every, within, tagged",
    ),
    (
        WITH_SAVE + "keep: {contents: weights}",
        "keep: got contents; expected exactly one of all, last, best, every, within, tagged",
    ),
    (
        WITH_SAVE + "keep: {last: 1, contents: wieghts}",
        f"keep.contents: got 'wieghts'; expected {CONTENTS}; did you mean 'weights'?",
    ),
    (
        METRIC + WITH_SAVE + "keep: {best: {by: val, contents: weights}}",
        "keep.best: unknown field 'contents'; it stands beside the name of a rule in keep: "
        "{best: {...}, contents: weights}",
    ),
    (WITH_SAVE + "keep: {last: 1, contents: {kind: all}}", "keep.contents.kind: got 'all'; expected full or weights"),
    (WITH_SAVE + "keep: {last: 1, contents: 3}", f"keep.contents: got 3; expected {CONTENTS}"),
    (WITH_SAVE + "keep: {last: 0}", "keep.last: got 0; expected a whole number of at least 1"),
    (WITH_SAVE + "keep: {best: {n: 2}}", "keep.best.by: missing; expected the name of a metric"),
    (WITH_SAVE + "keep: {best: 2}", "keep.best: got 2; expected a mapping with n, by"),
    (
        WITH_SAVE + "keep: {every: {minutes: 5}}",
        "keep.every: unknown field 'minutes'; expected one of epochs, steps, hours",
    ),
    (WITH_SAVE + "keep: {within: {hours: 0}}", "keep.within.hours: got 0; expected a positive number"),
    (WITH_SAVE + "keep: {tagged: ''}", "keep.tagged: got ''; expected a tag, such as release"),
    # stop
    (
        WITH_SAVE + "stop: []",
        "stop: got an empty list; expected at least one item: "
        "a mapping with one of patience, reaches, diverges, non_finite",
    ),
    (
        METRIC + WITH_SAVE + "stop: [{patience: {by: val, checks: five}}]",
        "stop[0].patience.checks: got 'five'; expected a whole number of at least 1",
    ),
    (
        METRIC + WITH_SAVE + "stop: {patience: {by: val, checks: 0}}",
        "stop.patience.checks: got 0; expected a whole number of at least 1",
    ),
    (METRIC + WITH_SAVE + "stop: {reaches: {by: val}}", "stop.reaches.value: missing; expected a finite number"),
    (
        METRIC + WITH_SAVE + "stop: {diverges: {by: val, value: .inf}}",
        "stop.diverges.value: got inf; expected a finite number",
    ),
    (
        WITH_SAVE + "stop: {non_finite: {monitor: []}}",
        "stop.non_finite.monitor: got an empty list; expected at least one item: the name of a metric",
    ),
    (
        WITH_SAVE + "stop: {non_finite: {monitor: [a, 3]}}",
        "stop.non_finite.monitor[1]: got 3; expected the name of a metric",
    ),
    (METRIC + WITH_SAVE + "best_by: [val]", "best_by: got a list; expected the name of a metric"),
]

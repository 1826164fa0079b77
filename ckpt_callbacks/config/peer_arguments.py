"""Arguments of the frameworks' own callbacks, and what says the same here."""

from __future__ import annotations

from ..policy.argument_names import suggests_names

_EVERY_EPOCHS = ("Every(epochs=n) in the save of a policy", "save: {every: {epochs: n}}")
_EVERY_STEPS = ("Every(steps=n) in the save of a policy", "save: {every: {steps: n}}")
_BASELINE = ("Metric(..., baseline=...) in a policy", "metrics: {...: {monitor: ..., baseline: ...}}")
_NOTHING = "nothing: last is always there, as a link"
_ONE_EVENT = "nothing: an epoch's end and its validation are one event"
_VERSIONS = "nothing: a name that is taken always gets -v1, -v2, ..."
_STRICT = "nothing: a metric that is missing for ten epochs is always an error"

# By name: in Python, and in a file.
_SAME = {
    "filepath": ("dirpath and filename", "dirpath and filename"),
    "backup_dir": ("dirpath", "dirpath"),
    "save_top_k": ("KeepBest(k, by=...) in the keep of a policy", "keep: {best: {n: k, by: ...}}"),
    "save_last": (_NOTHING, _NOTHING),
    "save_best_only": (
        "a policy with save=Improves(...) and keep=KeepBest(1, by=...)",
        "save: {improves: ...} and keep: {best: {n: 1, by: ...}}",
    ),
    "save_weights_only": ("contents='weights'", "contents: weights"),
    "save_freq": ("Every(epochs=1) or Every(steps=n) in the save of a policy", _EVERY_EPOCHS[1]),
    "every_n_epochs": _EVERY_EPOCHS,
    "every_n_train_steps": _EVERY_STEPS,
    "train_time_interval": ("Every(minutes=n) in the save of a policy", "save: {every: {minutes: n}}"),
    "save_on_exception": ("OnException() in the save of a policy", "save: on_exception"),
    "min_delta": ("Metric(..., min_delta=...) in a policy", "metrics: {...: {monitor: ..., min_delta: ...}}"),
    "baseline": _BASELINE,
    "initial_value_threshold": _BASELINE,
    "start_from_epoch": (
        "Patience(..., start_from_epoch=...) in the stop of a policy",
        "stop: {patience: {by: ..., checks: n, start_from_epoch: n}}",
    ),
    "double_checkpoint": ("KeepLast(2) in the keep of a policy", "keep: {last: 2}"),
    "delete_checkpoint": ("KeepLast(1) in the keep of a policy", "keep: {last: 1}"),
    "storage_options": ("Mirror(..., storage_options=...) in mirrors", "mirrors: {url: ..., storage_options: {...}}"),
    "save_on_train_epoch_end": (_ONE_EVENT, _ONE_EVENT),
    "auto_insert_metric_name": ("filename", "filename"),
    "enable_version_counter": (_VERSIONS, _VERSIONS),
    "strict": (_STRICT, _STRICT),
    "stopping_threshold": ("Reaches(...) in the stop of a policy", "stop: {reaches: {by: ..., value: ...}}"),
    "divergence_threshold": ("Diverges(...) in the stop of a policy", "stop: {diverges: {by: ..., value: ...}}"),
    "check_finite": ("NonFinite(...) in the stop of a policy", "stop: {non_finite: {monitor: ...}}"),
}

_PARTS = ("save", "keep", "stop")  # of a policy, but fields of a file
IN_PYTHON = {name: python for name, (python, _) in _SAME.items()}
IN_PYTHON |= {name: f"policy=Policy(...) with its {name}" for name in _PARTS}
IN_A_FILE = {name: yaml for name, (_, yaml) in _SAME.items()}

suggests_arguments = suggests_names(IN_PYTHON, hidden=("clock",))  # the decorator of a callback's constructor

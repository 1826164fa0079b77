"""Arguments of the frameworks' own callbacks, and what says the same here."""

from __future__ import annotations

from ..policy.argument_names import suggests_names

_EVERY_EPOCHS = ("Every(epochs=n) in the save of a policy", "save: {every: {epochs: n}}")
_EVERY_STEPS = ("Every(steps=n) in the save of a policy", "save: {every: {steps: n}}")
_NOTHING = "nothing: last is always there, as a link"

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
    "save_freq": _EVERY_EPOCHS,
    "every_n_epochs": _EVERY_EPOCHS,
    "every_n_train_steps": _EVERY_STEPS,
    "train_time_interval": ("Every(minutes=n) in the save of a policy", "save: {every: {minutes: n}}"),
    "save_on_exception": ("OnException() in the save of a policy", "save: on_exception"),
    "min_delta": ("Metric(..., min_delta=...) in a policy", "metrics: {...: {monitor: ..., min_delta: ...}}"),
    "initial_value_threshold": (
        "Metric(..., baseline=...) in a policy",
        "metrics: {...: {monitor: ..., baseline: ...}}",
    ),
    "stopping_threshold": ("Reaches(...) in the stop of a policy", "stop: {reaches: {by: ..., value: ...}}"),
    "divergence_threshold": ("Diverges(...) in the stop of a policy", "stop: {diverges: {by: ..., value: ...}}"),
    "check_finite": ("NonFinite(...) in the stop of a policy", "stop: {non_finite: {monitor: ...}}"),
}

IN_PYTHON = {name: python for name, (python, _) in _SAME.items()}
IN_A_FILE = {name: yaml for name, (_, yaml) in _SAME.items()}

suggests_arguments = suggests_names(IN_PYTHON, hidden=("clock",))  # the decorator of a callback's constructor

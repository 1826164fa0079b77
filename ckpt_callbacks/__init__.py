"""One checkpoint policy for PyTorch Lightning and Keras: when to save, what to keep, when to stop.

The names below need no framework; `open_run` finds the checkpoints of any run. The callbacks are
`ckpt_callbacks.lightning.LightningCheckpoint` and `ckpt_callbacks.keras.KerasCheckpoint`; importing this module loads
no framework.
"""

import typing

from .errors import (
    Busy,
    CkptError,
    CommitError,
    ConfigError,
    DirectoryInUse,
    ExportDiffers,
    ExportError,
    MetricError,
    MirrorConflict,
    MirrorDamaged,
    MirrorError,
    MirrorUnreachable,
    MissingDependency,
    NotEnoughMemory,
    PolicyError,
    RecoveryError,
    ResumeError,
    StoreError,
    Unreadable,
    VerifyError,
    absent,
)
from .events import Event, EventKind
from .formats.load_weights import load_weights
from .formats.packed.opened import native_path
from .formats.packed.opened import open as open
from .policy.composition import AllOf, AnyOf, Not, Trigger
from .policy.contents import Contents
from .policy.decision import Decision, Save, Stop
from .policy.engine import decide, fold
from .policy.filename import FileName
from .policy.metric import Metric
from .policy.mirror import Mirror
from .policy.pace import Optimal
from .policy.plan import Plan, plan
from .policy.policy import Policy
from .policy.retention import KeepAll, KeepBest, KeepEvery, KeepLast, KeepTagged, KeepWithin, Retention
from .policy.smoothing import EMA, Mean, Median, Smoothing
from .policy.state import State
from .policy.stopping import Diverges, NonFinite, Patience, Reaches, Stopping
from .policy.triggers import At, Every, Improves, OnDeadline, OnException, OnPreempt, Predicate
from .record import Record, Status
from .run.saved_run import open_run
from .units import hours, minutes, seconds

# `open` is missing here, because `from ckpt_callbacks import *` must not hide Python's own.
__all__ = [
    "EMA",
    "AllOf",
    "AnyOf",
    "At",
    "Busy",
    "CkptError",
    "CommitError",
    "ConfigError",
    "Contents",
    "Decision",
    "DirectoryInUse",
    "Diverges",
    "Event",
    "EventKind",
    "Every",
    "ExportDiffers",
    "ExportError",
    "FileName",
    "Improves",
    "KeepAll",
    "KeepBest",
    "KeepEvery",
    "KeepLast",
    "KeepTagged",
    "KeepWithin",
    "Mean",
    "Median",
    "Metric",
    "MetricError",
    "Mirror",
    "MirrorConflict",
    "MirrorDamaged",
    "MirrorError",
    "MirrorUnreachable",
    "MissingDependency",
    "NonFinite",
    "Not",
    "NotEnoughMemory",
    "OnDeadline",
    "OnException",
    "OnPreempt",
    "Optimal",
    "Patience",
    "Plan",
    "Policy",
    "PolicyError",
    "Predicate",
    "Reaches",
    "Record",
    "RecoveryError",
    "ResumeError",
    "Retention",
    "Save",
    "Smoothing",
    "State",
    "Status",
    "Stop",
    "Stopping",
    "StoreError",
    "Trigger",
    "Unreadable",
    "VerifyError",
    "decide",
    "fold",
    "hours",
    "load_weights",
    "minutes",
    "native_path",
    "open_run",
    "plan",
    "seconds",
]

if not typing.TYPE_CHECKING:  # a type checker would take any name for an attribute

    def __getattr__(name: str) -> object:
        raise absent(__name__, name)

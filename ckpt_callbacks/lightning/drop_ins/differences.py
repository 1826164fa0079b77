"""The deliberate differences between Lightning's own callbacks and the drop-ins, as docs/drop-ins.md names them."""

from __future__ import annotations

from lightning.pytorch.callbacks import ModelCheckpoint

from ...config.meaning import Deviation

COUNTERS = ("step", "epoch")  # what ModelCheckpoint can monitor besides what is logged


def ranks(callback: ModelCheckpoint) -> bool:
    """Return whether a callback ranks by a logged value."""
    return callback.monitor is not None and callback.monitor not in COUNTERS


def keeps_newest_last(callback: ModelCheckpoint) -> bool:
    """Return whether a callback keeps a last checkpoint that is no link to another one."""
    return callback.save_last not in (None, False, "link")


MODEL_CHECKPOINT = (
    Deviation(
        "NaN ranks",
        "takes NaN for infinity, and saves it among the best while there are fewer than save_top_k",
        "NaN is never among the best",
        ranks,
    ),
    Deviation(
        "stale metric",
        "ranks a save at a step by the value of an earlier validation",
        "such a save waits for the next validation; at an epoch's end without one, nothing is ranked",
        ranks,
    ),
    Deviation(
        "lost wait",
        "forgets a save that waits for a validation where saves are made at the end of the training epoch",
        "makes it at the end of the epoch",
        lambda callback: ranks(callback) and not callback._every_n_epochs,
    ),
    Deviation(
        "stale last",
        "last.ckpt is the last one that was among the best",
        "each time the trigger is due, it is the newest state",
        keeps_newest_last,
    ),
    Deviation(
        "last over the best",
        "a resumed run writes newer states into the sharded checkpoint to which the link last.ckpt leads",
        "last.ckpt becomes a checkpoint of its own",
        lambda callback: callback.save_last == "link",
    ),
    Deviation(
        "second fit",
        "skips, in a later fit from the start, the step at which the callback saved last",
        "it saves there too",
    ),
    Deviation(
        "exception over the best",
        "save_on_exception overwrites a file of the same name",
        "the state of the failure gets a free name, and is saved only in fit",
        lambda callback: bool(callback.save_on_exception),
    ),
    Deviation(
        "full disk",
        "ends training, and attributes name a truncated file",
        "logs the failure; attributes and files are as before that save",
    ),
    Deviation(
        "damaged last",
        'ckpt_path="last" fails on a damaged last.ckpt',
        "the newest checkpoint that passes verification is loaded",
    ),
    Deviation("file beside the journal", "only its own files", "one hidden folder .run more"),
    Deviation(
        "listing at once",
        "a file exists when the hook of the save has ended",
        "it exists when its path is read, or at the end of fit",
    ),
    Deviation("two processes", "write into one directory", "the second one's first save is refused"),
    Deviation("text for a number", "some numbers that are text end training later", "they are refused at once"),
    Deviation(
        "end within an epoch",
        "resuming a fit that ended within an epoch leaves out the rest of that epoch if max_epochs ends the new one",
        "the rest is trained first",
    ),
    Deviation(
        "saved at an epoch's end",
        "resuming from a save of the script in on_train_epoch_end leaves out the hooks that come after it",
        "all hooks of the epoch's end run again",
    ),
    Deviation("refused file", "a file of another model is a RuntimeError, for example", "a ResumeError of one line"),
    Deviation(
        "fewer epochs", "a whole run ends at once if it is resumed with fewer epochs", "a MisconfigurationException"
    ),
)

EARLY_STOPPING = (
    Deviation("patience of the code", "the patience in the checkpoint counts after a resume", "that in the code does"),
    Deviation(
        "stays stopped", "a run that was stopped trains on after a resume", "a run that was stopped stays stopped"
    ),
)

"""The direction of a metric whose name leaves no doubt about it."""

from __future__ import annotations

import re

from .resemblance import resembling

_MIN = frozenset(("loss", "err", "error", "mae", "mse", "rmse", "perplexity", "crossentropy"))
_MAX = frozenset(
    ("acc", "accuracy", "auc", "auroc", "f1", "precision", "recall", "iou", "dice", "bleu", "rouge", "map")
)
_DECISIVE = frozenset(("loss", "err", "error"))  # the dice_loss is a loss

# What may follow the word that counts: a mean over something, a rank, a threshold, or what a framework appends.
_AFTER = frozenset(
    ("epoch", "step", "dataloader", "idx", "mean", "avg", "average", "macro", "micro", "weighted", "at", "k")
)
# Words that deny, or compare two things: less of a drop_in_accuracy is better, and who knows about signal_to_error.
_REVERSED = frozenset((
    "neg", "negative", "negated", "minus", "inv", "inverse", "inverted", "reverse", "reversed", "complement",
    "no", "not", "non", "anti", "un", "without", "false", "lost", "missed", "missing", "less", "more", "fewer",
    "drop", "decrease", "reduction", "gain", "increase", "improvement", "gap", "diff", "difference", "delta",
    "in", "to", "of", "from", "per", "over", "under", "vs", "versus", "against", "until", "time", "times", "steps",
    "epochs",
))  # fmt: skip
_FEW = 8  # words of a name that may be misspelt
_WORD, _DIGITS = re.compile(r"[a-z]+\d*|\d+"), re.compile(r"\d+$")


def direction_of(name: str) -> str | None:
    """Return ``"min"`` or ``"max"`` if the last word of a metric's name says so; otherwise None.

    A name is in doubt if it also has a word of the other direction (``loss_dice`` may be a part of the loss), or one
    that reverses it (``neg_log_loss``).
    """
    words = [_known(word) for word in _WORD.findall(name.lower()) if not _is_appended(word)]
    if name.startswith(("-", "1-", "1 -")) or _REVERSED.intersection(words):
        return None
    is_score = words[-1:] == ["score"]  # more of a score is better, so the name of an error contradicts it
    last = next(iter(words[-2 if is_score else -1 :]), "")
    if last in _MAX and not _MIN.intersection(words):
        return "max"
    if last in _MIN and not is_score and (last in _DECISIVE or not _MAX.intersection(words)):
        return "min"
    return None


def corrected(name: str) -> str | None:
    """Return a name that says its direction, as ``val_loss`` does, if ``name`` is probably that one, misspelt."""
    words = list(_WORD.finditer(name.lower()))[-_FEW:]  # what is pasted by mistake may have thousands
    spelt = [name[: word.start()] + known + name[word.end() :] for word in words for known in sorted(_MIN | _MAX)]
    alike = [other for other in spelt if direction_of(other) is not None and resembling(name, [other]) is not None]
    return max(alike, key=len, default=None)


def _known(word: str) -> str:
    """Return the word without the number of its variant, as in ``rouge2``; the 1 of ``f1`` belongs to the word."""
    return word if word in _MAX else _DIGITS.sub("", word)


def _is_appended(word: str) -> bool:
    return word.isdecimal() or _DIGITS.sub("", word) in (*_AFTER, "top")

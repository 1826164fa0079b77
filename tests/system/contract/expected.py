"""The expected results of one curve, worked out by hand, for any framework.

30 epochs of 4 batches; ``val_score`` is measured at each epoch's end. The smoothed value is the median of the last
three finite values. A value improves when it is smaller by more than 0.02 than the best that was *saved*.
"""

NAN = float("nan")
BATCHES = 4
# fmt: off
CURVE = [
    0.90, 0.80, 0.85, 0.61, 0.62, 0.605, NAN, 0.56, 0.50, 0.50,   # epochs 1 to 10
    0.50, 0.49, 0.70, 0.49, 0.47, NAN, NAN, 0.46, 0.40, 0.40,     # 11 to 20
    0.40, 0.39, 0.60, 0.61, 0.30, 0.62, 0.63, 0.64, 0.65, 0.66,   # 21 to 30
]
# fmt: on

# Patience looks at the smoothed value from epoch 4 on: best 0.40 at epoch 20, then stale from 21 to 28.
STOPPED_AFTER_EPOCH = 28
STOP = "median(3) of val_score did not improve in 8 checks (best 0.4)"


def improved(value: str) -> str:
    return f"val_score improved to {value}"


# (step, epoch, saved?, reasons)
ALL_SAVED = [
    (4, 1, True, [improved("0.9")]),
    (8, 2, True, [improved("0.8")]),  # 0.85 at epoch 3 is worse
    (16, 4, True, [improved("0.61")]),
    (20, 5, True, ["every 5 epochs"]),  # 0.605 at epoch 6 is better by too little; epoch 7 is NaN
    (32, 8, True, [improved("0.56")]),
    (36, 9, True, [improved("0.5")]),
    (40, 10, True, ["every 5 epochs"]),
    (60, 15, True, ["every 5 epochs", improved("0.47")]),
    (76, 19, True, [improved("0.4")]),  # 0.46 at epoch 18 is better by too little
    (80, 20, True, ["every 5 epochs"]),
    (100, 25, True, ["every 5 epochs", improved("0.3")]),
    (112, 28, True, ["end of training", f"stopped: {STOP}"]),
]
ALL_SAVED_SURVIVORS = {
    40: ["every 10 epochs"],
    76: ["best 2 by median(3) of val_score (#2)"],  # smoothed 0.46
    80: ["best 2 by median(3) of val_score (#1)", "every 10 epochs", "best"],  # smoothed 0.40
    100: ["last 2"],  # 0.30 was a spike: smoothed 0.60
    112: ["last 2", "last", "final", "newest resumable"],
}
ALL_SAVED_ALIASES = {"last": 112, "best": 80, "final": 112}

# Every second save fails. An interval stays owed and is tried again one step later; an improvement is compared again.
EVERY_SECOND_DROPPED = [
    (4, 1, True, [improved("0.9")]),
    (8, 2, False, [improved("0.8")]),
    (12, 3, True, [improved("0.85")]),  # worse than epoch 2, but better than what was saved
    (16, 4, False, [improved("0.61")]),
    (20, 5, True, ["every 5 epochs", improved("0.62")]),
    (32, 8, False, [improved("0.56")]),
    (36, 9, True, [improved("0.5")]),
    (40, 10, False, ["every 5 epochs"]),
    (41, 10, True, ["every 5 epochs"]),
    (60, 15, False, ["every 5 epochs", improved("0.47")]),
    (61, 15, True, ["every 5 epochs"]),
    (72, 18, False, [improved("0.46")]),  # 0.47 was not saved
    (76, 19, True, [improved("0.4")]),
    (80, 20, False, ["every 5 epochs"]),
    (81, 20, True, ["every 5 epochs"]),
    (100, 25, False, ["every 5 epochs", improved("0.3")]),
    (101, 25, True, ["every 5 epochs"]),
    (112, 28, False, ["end of training", f"stopped: {STOP}"]),
]
EVERY_SECOND_DROPPED_SURVIVORS = {
    36: ["best 2 by median(3) of val_score (#2)"],  # smoothed 0.56
    41: ["every 10 epochs"],
    76: ["best 2 by median(3) of val_score (#1)", "best"],  # smoothed 0.46
    81: ["last 2", "every 10 epochs"],
    101: ["last 2", "last", "newest resumable"],
}
EVERY_SECOND_DROPPED_ALIASES = {"last": 101, "best": 76, "final": None}

"""Placeholders, which `ckpt explain` prints for what only the running script knows, in a policy that is to be used."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from ...config import Config

_PLACEHOLDER = re.compile(r"<.+>")


def placeholders(config: Config) -> Iterator[str]:
    """Yield one line for each value of a file that still has a placeholder in it."""
    policy, settings = config.policy, config.settings
    names = dict.fromkeys((*(name for metric in policy.tracks for name in metric.names), *policy.non_finite_names))
    values = [
        ("dirpath", os.fspath(settings.dirpath or ""), "the run directory, or none if the script gives it"),
        ("filename", settings.filename or "", "a template, such as '{epoch}'"),
        *(("monitor", name, "the name of a metric") for name in names),
    ]
    for field, value, expected in values:
        if _PLACEHOLDER.search(value):
            yield f"{field}: got {value!r}, a placeholder; expected {expected}"

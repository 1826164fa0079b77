"""What the job scheduler says about the job that this process is."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping


def job_end(environ: Mapping[str, str] = os.environ) -> float | None:
    """When the job is going to be ended, in UTC seconds since 1970; None where nobody says so.

    Args:
        environ: The environment. SLURM puts the end of the job's time limit into ``SLURM_JOB_END_TIME``; what is no
            moment there counts as nothing, because no training should fail over it.
    """
    try:
        end = float(environ.get("SLURM_JOB_END_TIME", ""))
    except ValueError:
        return None
    return end if 0 < end < math.inf else None

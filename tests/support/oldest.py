"""The oldest versions that the installed package allows, as constraints for pip.

``python tests/support/oldest.py [torch==2.13.0 ...]``: arguments replace the constraints of the same name.
"""

import re
import sys
from importlib.metadata import requires

REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)[^;]*?>=(?P<oldest>[\w.]+)[^;]*(; extra == [\"']test[\"'])?$")


def oldest(requirements: list[str]) -> dict[str, str]:
    """Return the oldest version by name, of what the package and its tests need."""
    found = filter(None, map(REQUIREMENT.match, requirements))
    return {match["name"]: match["oldest"] for match in found}


if __name__ == "__main__":
    versions = oldest(requires("ckpt-callbacks")) | dict(argument.split("==") for argument in sys.argv[1:])
    print(*(f"{name}=={version}" for name, version in versions.items()), sep="\n")

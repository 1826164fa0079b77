"""The cost of a mirror in money, from a file of prices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ..remote.url import scheme_of
from ..units import is_finite

_OWN = Path(__file__).with_name("prices.yaml")
_GB, _DAY = 10**9, 86400.0
_MONTH = 30.4375 * _DAY
_EXPECTED = "a file such as prices.yaml of this package: currency, and prices by the beginning of a URL"


@dataclass(frozen=True)
class Price:
    """What a store charges.

    Attributes:
        gb_month: For 1 GB that is stored for a month.
        writes: For 1,000 requests that write or list.
        reads: For 1,000 requests that read.
        egress_gb: For 1 GB that is downloaded.
        date: When this was so.
        source: Who said so.
    """

    gb_month: float = 0.0
    writes: float = 0.0
    reads: float = 0.0
    egress_gb: float = 0.0
    date: str = ""
    source: str = ""

    def storage(self, size: int) -> float:
        """Return what bytes cost in a month."""
        return size / _GB * self.gb_month

    def requests(self, writes: int, reads: int, seconds: float) -> float:
        """Return what requests cost in a month.

        Args:
            writes: Those that wrote or listed.
            reads: Those that read.
            seconds: In which time they were sent; at least a day, so that the first hour is not taken for a habit.
        """
        return (writes * self.writes + reads * self.reads) / 1000 * _MONTH / max(seconds, _DAY)

    def download(self, size: int) -> float:
        """Return what it costs to download bytes once."""
        return size / _GB * self.egress_gb


class Prices:
    """The prices of stores.

    Args:
        path: A YAML file; by default, the one of this package.

    Attributes:
        currency: In which they are.

    Raises:
        ConfigError: The file is wrong.
    """

    def __init__(self, path: Path | None = None) -> None:
        from ..config import yaml_text  # here, because importing the YAML reader is slow

        source = path or _OWN
        found, duplicates = yaml_text.read(source)
        if duplicates:
            raise ConfigError([f"{source}: {line}" for line in duplicates])
        listed = found.get("prices") if isinstance(found, dict) else None
        if not isinstance(listed, dict) or not isinstance(currency := found.get("currency", ""), str):
            raise ConfigError([f"{source}: holds no prices; expected {_EXPECTED}"])
        self.currency = currency
        self._prices = {str(name): _price(f"{source}: {name}", facts) for name, facts in listed.items()}

    def of(self, url: str) -> Price | None:
        """Return the price of the store of a URL; None if it is not known."""
        scheme = scheme_of(url)
        fitting = [name for name in self._prices if name == scheme or (":" in name and url.startswith(name))]
        return self._prices[max(fitting, key=len)] if fitting else None


def _price(where: str, facts: Any) -> Price:
    kinds = {field.name: field.type for field in fields(Price)}
    if not isinstance(facts, Mapping):
        raise ConfigError([f"{where}: got {facts!r}; expected a mapping of {', '.join(kinds)}"])
    for name, value in facts.items():
        if name not in kinds:
            raise ConfigError([f"{where}.{name}: is not known; expected one of {', '.join(kinds)}"])
        if kinds[name] == "float" and not (is_finite(value) and value >= 0):
            raise ConfigError([f"{where}.{name}: got {value!r}; expected a number of at least 0"])
    given: dict[str, Any] = {n: float(v) if kinds[n] == "float" else str(v) for n, v in facts.items()}
    return Price(**given)

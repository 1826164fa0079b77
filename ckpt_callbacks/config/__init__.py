"""The YAML file of a policy: what it says becomes a `Config`, and a `Config` becomes YAML again."""

from .config import Config
from .schema import json_schema

__all__ = ["Config", "json_schema"]

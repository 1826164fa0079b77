"""The YAML file of a policy, read into a `Config` and written from one."""

from .config import Config
from .schema import json_schema

__all__ = ["Config", "json_schema"]

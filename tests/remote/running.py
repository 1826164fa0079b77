"""Servers that are started when a test needs them first."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class RunningServers:
    """Servers, each of which runs until all are killed.

    Args:
        folder: For their files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._running = folder, dict[str, Any]()

    def of(self, name: str, module: Any, start: Callable[[Path], Any]) -> Any:
        """Return a server, or skip the test if it cannot run here.

        Args:
            name: Its name.
            module: Says what is missing.
            start: Starts it, with a folder for its files.
        """
        if name not in self._running:
            if reason := module.missing():
                pytest.skip(reason)
            folder = self._folder / name
            folder.mkdir()
            self._running[name] = start(folder)
        return self._running[name]

    def close(self) -> None:
        """Kill all servers."""
        for running in self._running.values():
            running.server.kill()

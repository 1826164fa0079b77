"""Remotes of rclone: folders of this machine, and the other servers."""

import subprocess
import sys
from pathlib import Path

from . import webdav as dav
from .process import program
from .sshd import Sshd


def missing() -> str:
    """Return why rclone cannot run here; empty if it can."""
    return "" if _program() else "rclone is not installed"


def configured(config: Path, remotes: dict[str, dict[str, object]]) -> Path:
    """Write a configuration.

    Args:
        config: The file.
        remotes: The settings of each remote.
    """
    lines = []
    for name, settings in remotes.items():
        lines += [f"[{name}]", *(f"{key} = {value}" for key, value in settings.items()), ""]
    config.write_text("\n".join(lines))
    return config


def of_sshd(server: Sshd) -> dict[str, object]:
    """Return the settings of a remote over SFTP."""
    host = {"type": "sftp", "host": "127.0.0.1", "port": server.port, "user": server.user}
    return {**host, "key_file": server.key, "shell_type": "unix"}


def of_webdav(server: dav.Webdav) -> dict[str, object]:
    """Return the settings of a remote over WebDAV."""
    hidden = subprocess.run(
        [_program(), "obscure", dav.PASSWORD], capture_output=True, check=True, text=True, timeout=30
    )
    url = f"http://127.0.0.1:{server.port}/dav"
    return {"type": "webdav", "url": url, "vendor": "other", "user": dav.USER, "pass": hidden.stdout.strip()}


def _program() -> str | None:
    beside = Path(sys.executable).parent / "rclone"
    return str(beside) if beside.exists() else program("rclone")

"""OpenSSH's server, with its SFTP subsystem."""

import getpass
import os
import subprocess
from pathlib import Path

from .process import Server, free_port, program


def missing() -> str:
    """Return why the server cannot run here; empty if it can."""
    if not program("sshd"):
        return "sshd is not installed (Debian: openssh-server)"
    return "" if program("ssh-keygen") else "ssh-keygen is not installed"


class Sshd:
    """An SFTP server for the user who runs the tests.

    Args:
        folder: For its keys and its log.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        self.key, self.user = folder / "user", getpass.getuser()
        for name in ("host", "user"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, timeout=30
            )
        (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
        (folder / "authorized").chmod(0o600)
        self.port, config = free_port(), folder / "sshd_config"
        self.known = folder / "known_hosts"
        self.known.write_text(f"[127.0.0.1]:{self.port} {(folder / 'host.pub').read_text()}")
        config.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {folder}/authorized\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "UsePAM no\nSubsystem sftp internal-sftp\nPermitRootLogin prohibit-password\nMaxSessions 20\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it
        self.server = Server([program("sshd"), "-D", "-e", "-f", str(config)], self.port, folder / "log")

    def url(self, path: Path) -> str:
        """Return the URL of a folder of this machine."""
        return f"sftp://{self.user}@127.0.0.1:{self.port}{path}"

    @property
    def options(self) -> dict[str, object]:
        """The `storage_options` that a client needs."""
        alone = {"allow_agent": False, "look_for_keys": False}
        return {"key_filename": str(self.key), "known_hosts": str(self.known), **alone}

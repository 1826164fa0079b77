"""The keys by which SSH servers are known."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import paramiko

from ..errors import MirrorError

FILE, ACCEPT = "known_hosts", "accept_unknown_host"  # names of storage_options
_OF_ALL = "/etc/ssh/ssh_known_hosts"
_OFF = ("no", "off")


class UnknownHost(paramiko.SSHException):
    """A server whose key is in no file of known hosts. The message says all but what to do."""


class HostKeys:
    """The files of known hosts that count for one server.

    A server that none of them names is refused, because nobody could tell it from one that only pretends to be it.

    Args:
        where: The URL, for messages.
        options: The `storage_options`: ``known_hosts`` names a file that counts instead of those of the user and the
            machine, and ``accept_unknown_host`` accepts a server without any.
        config: What ``~/.ssh/config`` says about the server.
    """

    def __init__(self, where: str, options: Mapping[str, Any], config: Mapping[str, Any]) -> None:
        self._where = where
        own = options.get(FILE)
        self._own = None if own is None else os.path.expanduser(str(own))
        of_user = config.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2").split()
        of_all = config.get("globalknownhostsfile", _OF_ALL).split()
        self._usual = [str(Path(name).expanduser()) for name in (*of_user, *of_all)]
        strict = str(config.get("stricthostkeychecking", "")).lower()
        self._accepts = options.get(ACCEPT, strict in _OFF)

    def prepare(self, client: Any) -> None:
        """Let a client of paramiko accept a server as they say.

        Raises:
            MirrorError: The file that the options name cannot be read, or an option has a wrong value.
        """
        if not isinstance(self._accepts, bool):
            raise MirrorError(
                f"{self._where}: {ACCEPT} is of the type {type(self._accepts).__name__}; expected true or false"
            )
        if self._own is not None:
            try:
                client.load_system_host_keys(self._own)
            except (OSError, paramiko.SSHException) as error:
                raise MirrorError(f"{self._where}: {FILE}: {self._own} cannot be read: {error}") from None
        for name in self._usual if self._own is None else ():
            with suppress(OSError, paramiko.SSHException):
                client.load_system_host_keys(name)
        client.set_missing_host_key_policy(paramiko.AutoAddPolicy() if self._accepts else _Refusal())


class _Refusal(paramiko.MissingHostKeyPolicy):
    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
        raise UnknownHost(f"{hostname}, whose key is {key.get_name()} SHA256:{digest}")

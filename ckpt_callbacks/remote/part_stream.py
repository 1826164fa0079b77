"""The bytes of a part, as clients of HTTP read them."""

from __future__ import annotations

import io

_PIECE = 256 << 10  # bytes that one call of the socket sends


class PartStream(io.BytesIO):
    """The bytes of a part, as a file.

    Given as one string of bytes, a part would have to be sent within one time limit of the socket, which a slow
    connection exceeds. The clients' own pieces, of 16 KiB, take too many calls.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        """Return at least `_PIECE` bytes, whatever less is asked for."""
        return super().read(size if size is None or size < 0 else max(size, _PIECE))

"""CRC-32, as zip files carry it: by ISA-L where it is installed (tens of GB/s), else by zlib (3 to 4 GB/s)."""

from __future__ import annotations

try:
    from isal.isal_zlib import crc32
except ImportError:  # no wheel for this platform: the same numbers, slower
    from zlib import crc32

__all__ = ["crc32"]

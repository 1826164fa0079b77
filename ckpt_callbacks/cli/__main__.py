"""``python -m ckpt_callbacks.cli`` is ``ckpt``."""

from . import main

main()

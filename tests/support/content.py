"""Snapshots that hold no memory, and whose bytes follow from a number."""

from ckpt_callbacks.formats import Written


class NumberedContent:
    """A checkpoint with the number of its epoch, as a file or as a folder."""

    live = False

    def __init__(self, number, folder=False):
        self.number, self.folder = number, folder

    def snapshot(self, embedded):
        return self

    def write(self, path):
        if self.folder:
            path.mkdir()
            path /= "weights"
        path.write_bytes(b"%d" % self.number * 100)
        return Written()

    def release(self):
        """There is no memory to give back."""

"""Where a reading is put down until its client takes it: documents with their texts still sealed, never in clear."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile

# What is smaller never touches the disk.
_IN_MEMORY = 1 << 20


class Spool:
    """A file without a name, gone with its process."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - it outlives the request that begins it
        self.count = 0

    def put(self, documents: list[bytes]) -> None:
        """A batch, as it will be taken: not so large that to show it would hold up anybody."""
        batch = b",".join(documents)
        self._file.write(len(batch).to_bytes(8) + batch)
        self.count += len(documents)

    def batches(self) -> Iterator[bytes]:
        """Each batch as a list of documents in JSON."""
        self._file.seek(0)
        while head := self._file.read(8):
            yield b"[" + self._file.read(int.from_bytes(head)) + b"]"

    def close(self) -> None:
        self._file.close()

"""Verifies a ledger's audit file without its service: ``python verifier.py FILE --key FILE [--heads DIR]``.

Needs Python 3.11 and `cryptography`, and nothing of the service; docs/audit-file.md says what is read here and why that
proves it, well enough to write this anew. Reads line by line: memory grows with streams and signed heads (some 200
bytes each), not with events.
"""

import argparse
import base64
import gzip
import json
import re
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "anjuan.audit.1"
_MAGIC = b"anjuan.event.1\0"
_HEADER = struct.Struct(">Q16sIHq")
_LENGTH = struct.Struct(">H")
_LEAF = 32
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LONGEST_LINE = 1 << 28
# Clocks of two machines that sign differ by so much (µs).
_SKEW = 5_000_000
_RESTORED = "ledger_restored"
_ED25519 = b"\1"
# Whoever is killed while writing leaves a piece of a note, which the next one follows without a line feed between.
_NOTE = r"{0}\n\d+\n[^\n]+\nepoch \d+\ntime [^\n]+\n\n— {0} [A-Za-z0-9+/]{{91}}=\n"


class Fault(Exception):
    """It does not verify. `position`: the first bad one, where one can be named."""

    def __init__(self, position: int | None, what: str) -> None:
        super().__init__(f"position {position}: {what}" if position is not None else what)
        self.position, self.what = position, what


class Unreadable(Exception):
    """There is no such file, or it is something else."""


# The tree (RFC 9162, section 2.1) ---------------------------------------------------------------------------------


def leaf_hash(header_hash: bytes) -> bytes:
    """Of one event."""
    return sha256(b"\0" + header_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Of two subtrees side by side."""
    return sha256(b"\1" + left + right).digest()


def root_of(peaks: Sequence[bytes]) -> bytes:
    """The root of a tree, from those of its complete subtrees, the largest first."""
    if not peaks:
        return sha256().digest()
    root = peaks[-1]
    for left in reversed(peaks[:-1]):
        root = node_hash(left, root)
    return root


def verify_inclusion(index: int, size: int, header_hash: bytes, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves that leaf `index` (position − 1) of the tree is this event (2.1.3.2)."""
    if not 0 <= index < size or any(len(one) != _LEAF for one in (header_hash, root, *path)):
        return False
    at, last, found = index, size - 1, leaf_hash(header_hash)
    for one in path:
        if last == 0:
            return False
        if at & 1 or at == last:
            found = node_hash(one, found)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            found = node_hash(found, one)
        at, last = at >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(first: int, size: int, first_root: bytes, root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the path proves that the tree of `size` leaves begins with the one of `first` (2.1.4.2)."""
    if not 0 < first <= size or any(len(one) != _LEAF for one in (first_root, root, *path)):
        return False
    if first == size:
        return not path and first_root == root
    nodes = [first_root, *path] if not first & (first - 1) else list(path)
    if not path:
        return False
    at, last = first - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old = new = nodes[0]
    for one in nodes[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            old, new = node_hash(one, old), node_hash(one, new)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new = node_hash(new, one)
        at, last = at >> 1, last >> 1
    return last == 0 and old == first_root and new == root


# Signed heads (c2sp.org/tlog-checkpoint) --------------------------------------------------------------------------


class Key(NamedTuple):
    """Who may sign: the ledger's name, and 32 bytes of Ed25519."""

    name: str
    public: bytes

    @property
    def key_id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]


class Head(NamedTuple):
    """What was signed: that the ledger's first `size` events have this root. `signed_at` in µs since 1970."""

    origin: str
    epoch: int
    size: int
    root: bytes
    signed_at: int


def read_key(line: str) -> Key:
    """A public key as it is written: ``name+key id+base64``."""
    try:
        name, key_id, encoded = line.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        key = Key(name, raw[1:])
        if raw[:1] == _ED25519 and len(raw) == 33 and key.key_id.hex() == key_id:
            return key
    except ValueError:
        pass
    raise Unreadable("a line that is no public key")


def read_keys(file: Path) -> list[Key]:
    """Keys from a file: their lines, or the JSON of GET /v1/audit/keys."""
    try:
        text = file.read_text("utf-8")
        lines = [one["key"] for one in json.loads(text)["items"]] if text.lstrip().startswith("{") else text.split("\n")
        keys = [read_key(line) for line in lines if line.strip()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as failure:
        raise Unreadable(f"{file} holds no public keys ({type(failure).__name__})") from None
    if not keys:
        raise Unreadable(f"{file} holds no public keys")
    return keys


def open_head(note: str, keys: Iterable[Key]) -> Head | None:
    """The head in a note that one of these keys signed; None: it did not, or it is written in any other way."""
    try:
        text, signature = note.split("\n\n")
        origin, size, root, epoch, time = text.split("\n")
        raw = base64.b64decode(signature.removeprefix(f"— {origin} ").removesuffix("\n"), validate=True)
        digest = base64.b64decode(root, validate=True)
        head = Head(origin, int(epoch[6:]), int(size), digest, microseconds(time[5:]))
        said = f"{origin}\n{head.size}\n{_base64(digest)}\nepoch {head.epoch}\ntime {time[5:]}\n"
        if note != f"{said}\n— {origin} {_base64(raw)}\n" or len(digest) != _LEAF or min(head.size, head.epoch) < 0:
            return None
        for key in keys:
            if key.name == origin and key.key_id == raw[:4] and _signed(key.public, raw[4:], said.encode()):
                return head
    except (ValueError, OverflowError):
        pass
    return None


def _signed(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def microseconds(text: str) -> int:
    """Since 1970 of an instant, written in UTC in the one way that is ours; else `ValueError`."""
    instant = datetime.fromisoformat(text)
    if instant.isoformat().replace("+00:00", "Z") != text or text[-1:] != "Z":
        raise ValueError("an instant that is written in another way")
    return (instant - _BEGINNING) // _MICROSECOND


# Heads and leaves kept outside ------------------------------------------------------------------------------------


@dataclass
class Kept:
    """What somebody kept outside the database: heads, and of each epoch perhaps the leaves that they are of."""

    heads: list[Head] = field(default_factory=list)
    leaves: dict[int, Path] = field(default_factory=dict)
    fragments: int = 0


def read_kept(place: Path, origin: str, keys: Sequence[Key]) -> Kept:
    """From a folder as the service writes it, the folder above it, or a file of notes."""
    kept = Kept()
    try:
        if place.is_dir():
            within = place / origin.removeprefix("anjuan/")
            folder = within if within.is_dir() else place
            files = sorted(folder.glob("heads-*.txt"))
            kept.leaves = {int(one.name[7:]): one for one in folder.glob("leaves-*") if one.name[7:].isdecimal()}
        else:
            files = [place]
        for file in files:
            _read_notes(kept, file.read_text("utf-8", "replace"), origin, keys)
    except (OSError, UnicodeDecodeError) as failure:
        raise Unreadable(f"{place} cannot be read ({type(failure).__name__})") from None
    return kept


def _read_notes(kept: Kept, text: str, origin: str, keys: Sequence[Key]) -> None:
    pattern = re.compile(_NOTE.format(re.escape(origin)))
    for note in pattern.findall(text):
        head = open_head(note, keys)
        if head is None:
            size = note.split("\n", 2)[1]
            raise Fault(None, f"none of the keys signed the head of {size} events that is kept outside")
        kept.heads.append(head)
    rest = pattern.sub("", text).strip()
    if re.search(_NOTE.format(r"(?!\n)[^\n]+"), rest + "\n"):
        raise Fault(None, f"heads of another ledger are kept outside, not of {origin}")
    kept.fragments += bool(rest)


# Events -----------------------------------------------------------------------------------------------------------


class Event(NamedTuple):
    """All that an event's hash is made of, and the hash that it carries. `recorded_at` in µs since 1970."""

    position: int
    stream: bytes
    version: int
    name: str
    schema: int
    actor: str
    region: str
    recorded_at: int
    body_hash: bytes
    header_hash: bytes

    def hashed(self) -> bytes:
        """SHA-256 of the header as it is packed, the body's hash at its end."""
        fixed = _HEADER.pack(self.position, self.stream, self.version, self.schema, self.recorded_at)
        texts = (self.name.encode(), self.actor.encode(), self.region.encode())
        packed = b"".join([_LENGTH.pack(len(text)) + text for text in texts])
        return sha256(_MAGIC + fixed + packed + self.body_hash).digest()


class Restoration(NamedTuple):
    """A recorded restore: what any earlier epoch had behind `base` is lost. Its event is the next one, in `epoch`."""

    epoch: int
    base: int
    reason: str
    position: int


def restoration_of(event: Event, body: bytes) -> Restoration:
    """From its event; `Fault` if it says what cannot be."""
    try:
        said = json.loads(body)
        epoch, base, reason = said["epoch"], said["base"], said["reason"]
        sound = type(epoch) is int and type(base) is int and isinstance(reason, str) and epoch > 1
    except (ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound or event.name != _RESTORED or event.region or base != event.position - 1:
        raise Fault(event.position, "a record of a restore that cannot be: it does not stand right behind its base")
    return Restoration(epoch, base, reason, event.position)


class Restorations:
    """All recorded restores of a ledger, in order."""

    def __init__(self, recorded: Sequence[Restoration], epoch: int) -> None:
        self.recorded, self.epoch = recorded, epoch
        epochs = [1, *(one.epoch for one in recorded)]
        if epochs != sorted(set(epochs)):
            raise Fault(recorded[-1].position, "records of restores whose epochs do not rise")
        if epochs[-1] != epoch:
            raise Fault(None, f"the ledger is in epoch {epoch}, its last recorded restore began epoch {epochs[-1]}")
        self.positions = {one.position for one in recorded}

    def shared(self, epoch: int) -> int | None:
        """How many events of an epoch are still in the ledger; None: all that it had."""
        return min((one.base for one in self.recorded if one.epoch > epoch), default=None)

    def holds(self, head: Head) -> bool:
        """Whether the ledger must still be what the head says, no recorded restore having lost it."""
        shared = self.shared(head.epoch)
        return shared is None or head.size <= shared


class KeptLeaves:
    """Compares events with the leaves that are kept, which are right if they have a signed root."""

    def __init__(self, kept: Kept, restorations: Restorations, first: int) -> None:
        self._kept, self._first = kept, first
        self._files: dict[int, tuple[BinaryIO, int | None]] = {}
        self._differs: dict[int, int] = {}
        for epoch, file in sorted(kept.leaves.items()):
            if epoch > restorations.epoch:
                continue
            leaves = file.open("rb")
            leaves.seek((first - 1) * _LEAF)
            self._files[epoch] = leaves, restorations.shared(epoch)

    def __enter__(self) -> "KeptLeaves":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file[0].close()

    def compare(self, position: int, header_hash: bytes) -> None:
        """The next event."""
        for epoch, (leaves, shared) in list(self._files.items()):
            leaf = leaves.read(_LEAF)
            differs = leaf != header_hash
            if len(leaf) < _LEAF or differs or (shared is not None and position >= shared):
                del self._files[epoch]
                leaves.close()
                if len(leaf) == _LEAF and differs and (shared is None or position <= shared):
                    self._differs[epoch] = position

    def first_changed(self) -> int | None:
        """The first event that is not the one of which a signed head was made, as far as was compared."""
        changed = [at for epoch, at in self._differs.items() if self._is_signed(epoch, at)]
        return min(changed, default=None)

    def roots(self, epoch: int) -> Iterator[tuple[Head, list[bytes]]]:
        """Each kept head of an epoch whose leaves are kept and have its root, with the roots of its subtrees."""
        heads = sorted((head for head in self._kept.heads if head.epoch == epoch), key=lambda head: head.size)
        tree = Frontier()
        with self._kept.leaves[epoch].open("rb") as leaves:
            for head in heads:
                while tree.size < head.size and len(leaf := leaves.read(_LEAF)) == _LEAF:
                    tree.append(leaf)
                if tree.size == head.size and tree.root() == head.root:
                    yield head, tree.peaks

    def peaks(self, size: int) -> list[bytes] | None:
        """The subtrees of the first so many leaves, if a signed head shows that they are right."""
        for epoch in self._kept.leaves:
            if any(head.size >= size for head, _ in self.roots(epoch)):
                tree = Frontier()
                with self._kept.leaves[epoch].open("rb") as leaves:
                    for _ in range(size):
                        tree.append(leaves.read(_LEAF))
                return tree.peaks
        return None

    def _is_signed(self, epoch: int, position: int) -> bool:
        return any(head.size >= position for head, _ in self.roots(epoch))


class Frontier:
    """A tree that grows by one leaf at a time: the roots of its complete subtrees, the largest first."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if len(peaks) != size.bit_count() or any(len(one) != _LEAF for one in peaks):
            raise Fault(None, f"{len(peaks)} subtrees cannot make a tree of {size} events")
        self.size, self.peaks = size, list(peaks)
        self.completed: Callable[[int, int, bytes], None] | None = None
        """Told each subtree that becomes complete: its level, which one of its level, its root."""

    def append(self, header_hash: bytes) -> None:
        digest, left, level = sha256(b"\0" + header_hash).digest(), self.size, 0
        while left & 1:
            digest = sha256(b"\1" + self.peaks.pop() + digest).digest()
            left >>= 1
            level += 1
            if self.completed:
                self.completed(level, left, digest)
        self.peaks.append(digest)
        self.size += 1

    def root(self) -> bytes:
        return root_of(self.peaks)


def distinct(heads: Iterable[Head]) -> list[Head]:
    """Each head once; two that contradict each other are refused."""
    found: dict[tuple[int, int], Head] = {}
    for head in heads:
        known = found.setdefault((head.epoch, head.size), head)
        if known.root != head.root:
            raise Fault(None, f"two heads of {head.size} events in epoch {head.epoch} have different roots")
    return list(found.values())


class Judge:
    """Judges a stretch of events in their order by heads that were signed of them."""

    def __init__(
        self, tree: Frontier, heads: Iterable[Head], restorations: Restorations, epoch: int, leaves: KeptLeaves
    ) -> None:
        """`tree`: what stands left of the stretch. Heads of events behind the stretch are the caller's affair."""
        self.tree, self._leaves, self._restorations, self._epoch = tree, leaves, restorations, epoch
        self.first, self._left = tree.size + 1, list(tree.peaks)
        self.heads = 0
        self._good = tree.size
        self._versions: dict[bytes, int] = {}
        self._recorded_at: int | None = None
        self._heads = sorted(self._held(distinct(heads)), key=lambda head: head.size, reverse=True)
        self._check_heads()

    def _held(self, heads: Iterable[Head]) -> Iterator[Head]:
        """Those that the ledger must still agree with."""
        for head in heads:
            if head.epoch > self._epoch:
                raise Fault(None, f"a head was signed in epoch {head.epoch}, but the ledger is in epoch {self._epoch}")
            if self._restorations.holds(head) and head.size >= self.tree.size:
                yield head

    def take(self, event: Event) -> None:
        """The next event; raises `Fault`."""
        expected = self.tree.size + 1
        if event.position != expected:
            if event.position > expected:
                self.refuse(expected, f"there is no such event; the next one is {event.position}")
            self.refuse(event.position, "an event that has no place here")
        try:
            hashed = event.hashed()
        except (struct.error, UnicodeEncodeError):
            hashed = b""
        if hashed != event.header_hash:
            self.refuse(expected, "its header is not what its hash was made of")
        version = self._versions.get(event.stream)
        if version is None and self.first > 1 and event.version > 0:
            version = event.version - 1
        if event.version != (version or 0) + 1:
            self.refuse(expected, f"version {event.version} of its stream follows {version or 0}")
        if self._recorded_at is not None and event.recorded_at <= self._recorded_at:
            self.refuse(expected, "recorded no later than the event before it")
        if event.name == _RESTORED and expected not in self._restorations.positions:
            self.refuse(expected, "a record of a restore of which nothing was said")
        self._versions[event.stream], self._recorded_at = event.version, event.recorded_at
        self._leaves.compare(expected, hashed)
        self.tree.append(hashed)
        if self._heads and self._heads[-1].size == expected:
            self._check_heads()

    def _check_heads(self) -> None:
        """Compare with the heads of exactly what was taken."""
        size = self.tree.size
        while self._heads and self._heads[-1].size == size:
            head = self._heads.pop()
            if self.tree.root() != head.root:
                self._refuse_root(head)
            self.heads += 1
            self._good = size

    def _refuse_root(self, head: Head) -> NoReturn:
        self.refuse_signed(f"the head of {head.size} events in epoch {head.epoch} was signed of others", head.size)

    def refuse_signed(self, said: str, size: int) -> NoReturn:
        """Raise: the first so many events are not those that were signed; where it begins, as far as is known."""
        if changed := self._leaves.first_changed():
            raise Fault(changed, f"changed since a head was signed of it ({said}; the kept leaves name this event)")
        self._refuse_peaks(said)
        at = max(self._good, self.first - 1) + 1
        raise Fault(at, f"{said}; the first change lies between {at} and {size}, and no kept leaves tell where exactly")

    def _refuse_peaks(self, said: str) -> None:
        """Raise if the leaves show that it is what stands left of the stretch."""
        kept = self._leaves.peaks(self.first - 1)
        if kept is not None and kept != self._left:
            raise Fault(self.first, f"{said}; what is said to stand left of here is not what was signed")

    def refuse(self, position: int, what: str) -> NoReturn:
        """Raise; if the kept leaves know of an earlier change, that is the first bad position."""
        changed = self._leaves.first_changed()
        if changed is not None and changed < position:
            raise Fault(changed, f"changed since a head was signed of it; moreover position {position}: {what}")
        raise Fault(position, what)

    def left(self) -> list[Head]:
        """The heads of more events than were taken."""
        return self._heads[::-1]

    def recorded_at(self) -> int | None:
        """When the last event was recorded."""
        return self._recorded_at


# The file ---------------------------------------------------------------------------------------------------------

_FIELDS = ("position", "recorded_at", "case_id", "stream", "version", "type", "schema", "actor", "region")
_EVENT = (*_FIELDS, "header_hash", "body_hash")
MANIFEST = ("format", "origin", "epoch", "from", "to", "size", "regions", "peaks")
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SEPARATORS = [(one, f"\\u{ord(one):04x}") for one in "\x85\u2028\u2029"]


@dataclass
class Verified:
    """What was found to be right."""

    origin: str
    epoch: int
    size: int
    first: int
    last: int
    bodies: int = 0
    heads: int = 0
    kept: int = 0
    signed_at: str = ""
    keys: list[str] = field(default_factory=list)
    restorations: list[tuple[Restoration, int]] = field(default_factory=list)
    """Each restore with how many positions, known from kept heads, were lost by it."""
    remarks: list[str] = field(default_factory=list)

    def told(self) -> list[str]:
        """The summary, line by line."""
        count = self.last - self.first + 1
        lines = [
            f"{self.origin}: {count} events verified, positions {self.first} to {self.last}, {self.bodies} bodies.",
            f"The ledger has {self.size} events in epoch {self.epoch}, as signed at {self.signed_at}."
            if self.signed_at
            else f"The ledger has {self.size} events in epoch {self.epoch}.",
            f"{self.heads} heads agree, {self.kept} of them kept outside; keys: {', '.join(self.keys)}.",
        ]
        for one, lost in self.restorations:
            lines.append(
                f"RESTORED from a backup: epoch {one.epoch} began behind position {one.base}; "
                + (f"{lost} positions that had been signed are lost" if lost else "how much was lost is not known")
                + f'. Reason given: "{one.reason}"'
            )
        return [*lines, *(f"Note: {one}." for one in self.remarks)]


class _Lines:
    """The file's lines, each read as one object; what is not written as ours is refused."""

    def __init__(self, stream: Any) -> None:
        self._stream, self._seen, self.number = stream, sha256(), 0

    def next(self) -> dict[str, Any]:
        """The next line; `ValueError` if it cannot be."""
        self.digest = self._seen.hexdigest()
        try:
            line: bytes = self._stream.readline(_LONGEST_LINE)
        except (EOFError, zlib.error, OSError):
            raise ValueError("the compressed file is broken or cut off here") from None
        if not line.endswith(b"\n"):
            raise ValueError("the file is cut off here")
        self.number += 1
        self._seen.update(line)
        try:
            text = line[:-1].decode()
            told = json.loads(text)
            written = _encode(told)
        except (ValueError, RecursionError):
            raise ValueError(f"line {self.number} is no JSON") from None
        if written != text:
            for separator, escaped in _SEPARATORS:
                written = written.replace(separator, escaped)
        if written != text or type(told) is not dict:
            raise ValueError(f"line {self.number} is not written as these files are")
        return told

    def ended(self) -> bool:
        try:
            return not self._stream.read(1)
        except (EOFError, zlib.error, OSError):
            return False


def read_event(told: Mapping[str, Any]) -> tuple[Event, bytes | None]:
    """The event in a line and its body, if the line has one; `ValueError` if it has not all that it should."""
    names = tuple(told)
    body: bytes | None = None
    if names == (*_EVENT, "body"):
        body = told["body"].encode()
    elif names == (*_EVENT, "body_base64"):
        body = _bytes(told["body_base64"])
    elif names != _EVENT:
        raise ValueError("fields are missing or unknown")
    if told["case_id"] is not None and told["case_id"] != told["stream"]:
        raise ValueError("its case is not its stream")
    stream = bytes.fromhex(told["stream"].replace("-", ""))
    written = stream.hex()
    if "-".join((written[:8], written[8:12], written[12:16], written[16:20], written[20:])) != told["stream"]:
        raise ValueError("its stream is no id")
    numbers, texts = (told["position"], told["version"], told["schema"]), (told["type"], told["actor"], told["region"])
    if set(map(type, numbers)) != {int} or set(map(type, texts)) != {str}:
        raise ValueError("a field of the wrong kind")
    event = Event(
        *(told["position"], stream, told["version"], told["type"], told["schema"], told["actor"], told["region"]),
        microseconds(told["recorded_at"]),
        _hash(told["body_hash"]),
        _hash(told["header_hash"]),
    )
    return event, body


def _bytes(text: str) -> bytes:
    """Of a body that is no text."""
    raw = base64.b64decode(text, validate=True)
    try:
        raw.decode()
    except UnicodeDecodeError:
        if _base64(raw) == text:
            return raw
    raise ValueError("a body that should be written as text")


def _hash(text: Any) -> bytes:
    raw = bytes.fromhex(text) if type(text) is str else b""
    if len(raw) != _LEAF or raw.hex() != text:
        raise ValueError("a hash that is none")
    return raw


class AuditFile:
    """One file being verified: the lines before the events in `begin`, then the events in `judge`."""

    def __init__(self, lines: _Lines, trusted: Sequence[Key], place: Path | None) -> None:
        self._lines, self._trusted, self._place = lines, trusted, place

    def verify(self, told: Callable[[int, int], None]) -> Verified:
        """All of it; raises `Fault`. `told` hears how many of how many events are done."""
        manifest = self._manifest()
        line = self._keys(self._next())
        line = self._closing(line)
        line, recorded = self._restored(line)
        self.restorations = Restorations(recorded, self.found.epoch)
        line, before = self._before(line)
        line, heads = self._heads(line)
        kept = read_kept(self._place, self.found.origin, self._keys_used) if self._place else Kept()
        if self._place and not kept.heads:
            raise Unreadable(f"no heads of {self.found.origin} are kept in {self._place}")
        peaks = self._guarded(lambda: [_hash(one) for one in manifest["peaks"]])
        within = [head for head in distinct((*before, *heads, self.closing, *kept.heads)) if self._is_within(head)]
        self._judge_later(kept)
        with KeptLeaves(kept, self.restorations, self.found.first) as leaves:
            judge = Judge(Frontier(self.found.first - 1, peaks), within, self.restorations, self.found.epoch, leaves)
            self._events(judge, line, told)
            self._check_closing(judge)
        return self._summed(judge, kept, within)

    def _manifest(self) -> dict[str, Any]:
        try:
            told = self._lines.next()
        except ValueError as failure:
            raise Unreadable(f"no audit file: {failure}") from None
        if told.get("format") != FORMAT:
            raise Unreadable(f"no audit file of the format {FORMAT}")
        numbers = [told.get(name) for name in ("epoch", "from", "to", "size")]
        regions, origin = told.get("regions"), told.get("origin")
        sound = tuple(told) == MANIFEST and {type(one) for one in numbers} == {int}
        sound = sound and type(told["peaks"]) is list and (regions is None or type(regions) is list)
        if (
            not sound
            or type(origin) is not str
            or not (1 <= told["from"] <= told["to"] + 1 and 0 <= told["to"] <= told["size"])
        ):
            raise Fault(None, "the first line says what cannot be")
        self.found = Verified(origin, told["epoch"], told["size"], told["from"], told["to"])
        self._regions = None if regions is None else {"", *map(str, regions)}
        return told

    def _next(self) -> dict[str, Any]:
        line: dict[str, Any] = self._guarded(self._lines.next)
        return line

    def _guarded(self, read: Callable[[], Any]) -> Any:
        """What a line before the events says."""
        try:
            return read()
        except (ValueError, TypeError, AttributeError, KeyError) as failure:
            said = str(failure) if type(failure) is ValueError else "says what cannot be"
            raise Fault(None, f"before the events: {said} (line {self._lines.number})") from None

    def _keys(self, line: dict[str, Any]) -> dict[str, Any]:
        inside: list[Key] = []
        while tuple(line) == ("key",):
            try:
                inside.append(read_key(line["key"]))
            except (Unreadable, AttributeError):
                raise Fault(None, f"line {self._lines.number} holds no public key") from None
            line = self._next()
        self._keys_used = [key for key in self._trusted or inside if key.name == self.found.origin]
        if not self._keys_used:
            given = ", ".join(sorted({key.name for key in self._trusted}))
            raise Fault(None, f"no key is given for {self.found.origin}" + (f", only for {given}" if given else ""))
        if not self._trusted:
            self.found.remarks.append(
                "signatures were checked with the key inside the file, which proves nothing about who signed; "
                "get the key from somebody you trust and give it with --key"
            )
        return line

    def _closing(self, line: dict[str, Any]) -> dict[str, Any]:
        self.closing = self._head(line, "closing_head")
        if (self.closing.epoch, self.closing.size) != (self.found.epoch, self.found.size):
            raise Fault(None, "the closing head is not the one that the first line names")
        self.found.signed_at = line["closing_head"].split("\ntime ")[1].split("\n")[0]
        line, self._extension = self._next(), None
        if tuple(line) == ("consistency",):
            self._extension = self._path(line["consistency"])
            line = self._next()
        if (self._extension is not None) != (0 < self.found.last < self.found.size):
            raise Fault(None, "the proof that the closing head extends the events is missing, or proves nothing")
        return line

    def _head(self, line: dict[str, Any], name: str, *more: str) -> Head:
        head = (
            open_head(line[name], self._keys_used) if tuple(line) == (name, *more) and type(line[name]) is str else None
        )
        if head is None:
            raise Fault(None, f"line {self._lines.number}: no head that a key of {self.found.origin} signed")
        return head

    def _path(self, path: Any) -> list[bytes]:
        hashes: list[bytes] = self._guarded(lambda: [_hash(one) for one in path])
        return hashes

    def _restored(self, line: dict[str, Any]) -> tuple[dict[str, Any], list[Restoration]]:
        recorded = []
        while tuple(line) == ("restoration", "inclusion"):
            event, body = self._guarded(lambda line=line: read_event(line["restoration"]))  # type: ignore[misc]
            path = self._path(line["inclusion"])
            sound = body is not None and sha256(body).digest() == event.body_hash and _is_sound(event)
            if not sound or not verify_inclusion(
                event.position - 1, self.closing.size, event.header_hash, path, self.closing.root
            ):
                raise Fault(event.position, "a record of a restore that the closing head does not hold")
            recorded.append(restoration_of(event, body or b""))
            line = self._next()
        return line, recorded

    def _before(self, line: dict[str, Any]) -> tuple[dict[str, Any], list[Head]]:
        """The last head before the range, which the closing one extends."""
        if tuple(line) != ("head_before", "consistency"):
            return line, []
        head = self._head(line, "head_before", "consistency")
        path = self._path(line["consistency"])
        if not verify_consistency(head.size, self.closing.size, head.root, self.closing.root, path):
            raise Fault(None, f"the closing head does not extend the head of {head.size} events")
        self.found.heads += 1
        return self._next(), [head]

    def _heads(self, line: dict[str, Any]) -> tuple[dict[str, Any], list[Head]]:
        heads = []
        while tuple(line) == ("head",):
            heads.append(self._head(line, "head"))
            line = self._next()
        return line, heads

    def _is_within(self, head: Head) -> bool:
        return self.found.first - 1 <= head.size <= self.found.last and head.epoch <= self.found.epoch

    def _judge_later(self, kept: Kept) -> None:
        """Kept heads of more events than the file's: the ledger has grown since, or it has lost some."""
        beside = 0
        for head in kept.heads:
            if not self.restorations.holds(head) or self._is_within(head):
                continue
            same = head.size == self.closing.size and head.epoch == self.closing.epoch
            if head.size > self.closing.size and head.signed_at + _SKEW < self.closing.signed_at:
                raise Fault(
                    self.closing.size + 1, f"there is no such event, but a head of {head.size} was signed before"
                )
            if head.epoch > self.closing.epoch and head.signed_at + _SKEW < self.closing.signed_at:
                raise Fault(
                    None, f"a head of epoch {head.epoch} was signed before this file of epoch {self.found.epoch}"
                )
            beside += not same
        if beside:
            self.found.remarks.append(f"{beside} kept heads are of events outside this file, and say nothing about it")
        if kept.fragments:
            self.found.remarks.append("among the kept heads is text that is no head, left by a writer that was killed")

    def _events(self, judge: Judge, line: dict[str, Any], told: Callable[[int, int], None]) -> None:
        count = self.found.last - self.found.first + 1
        for done in range(count):
            position = self.found.first + done
            try:
                event, body = read_event(line)
                self._check_body(judge, event, body)
                judge.take(event)
                line = self._lines.next()
            except (ValueError, TypeError, AttributeError, OverflowError) as failure:
                what = str(failure) if type(failure) is ValueError else "a field of the wrong kind"
                judge.refuse(max(position, judge.tree.size + 1), what)
            if not done % 10_000:
                told(done, count)
        told(count, count)
        said = {"events": count, "sha256": self._lines.digest}
        if line != said or not self._lines.ended():
            judge.refuse(
                self.found.last + 1, "here the file should end, with the number of its events and its own hash"
            )

    def _check_body(self, judge: Judge, event: Event, body: bytes | None) -> None:
        wanted = self._regions is None or event.region in self._regions
        if wanted != (body is not None):
            raise ValueError("its body is missing" if wanted else "a body that should not be here")
        if body is not None:
            if sha256(body).digest() != event.body_hash:
                raise ValueError("its body is not what its hash was made of")
            self.found.bodies += 1

    def _check_closing(self, judge: Judge) -> None:
        if self._extension is None:
            return
        root, size = judge.tree.root(), self.found.last
        if not verify_consistency(size, self.closing.size, root, self.closing.root, self._extension):
            judge.refuse_signed("the closing head does not extend these events", size)

    def _summed(self, judge: Judge, kept: Kept, within: Sequence[Head]) -> Verified:
        found = self.found
        found.heads += judge.heads
        found.kept = sum(self._is_within(head) and self.restorations.holds(head) for head in {*kept.heads})
        found.keys = [f"{key.name}+{key.key_id.hex()}" for key in self._keys_used]
        found.restorations = lost_by(self.restorations, [*kept.heads, *within])
        return found


def lost_by(restorations: Restorations, heads: Iterable[Head]) -> list[tuple[Restoration, int]]:
    """Each restore, and how many positions behind its base an earlier head had been signed of."""
    known = list(heads)
    found, since = [], 0
    for one in restorations.recorded:
        sizes = [head.size for head in known if since <= head.epoch < one.epoch]
        found.append((one, max(0, max(sizes, default=0) - one.base)))
        since = one.epoch
    return found


def _is_sound(event: Event) -> bool:
    try:
        return event.hashed() == event.header_hash
    except (struct.error, UnicodeEncodeError):
        return False


def verify_file(
    file: Path,
    keys: Sequence[Key] = (),
    kept: Path | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Verified:
    """Verify an audit file, compressed or not; raises `Fault` or `Unreadable`."""
    try:
        with file.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            stream: Any = gzip.GzipFile(fileobj=raw) if packed else raw
            return AuditFile(_Lines(stream), keys, kept).verify(told)
    except OSError as failure:
        raise Unreadable(f"{file} cannot be read: {failure.strerror or type(failure).__name__}") from None


def main(words: Sequence[str] | None = None) -> int:
    """0: it verifies, and a summary; 1: the first bad position and what is wrong; 2: it cannot be read."""
    asked = argparse.ArgumentParser(prog="verifier.py", description="Verify an audit file of an anjuan ledger.")
    asked.add_argument("file", type=Path)
    asked.add_argument("--key", type=Path, help="public keys that you trust: their lines, or JSON of /v1/audit/keys")
    asked.add_argument("--heads", type=Path, help="heads kept outside: the service's folder, or a file of notes")
    options = asked.parse_args(words)
    try:
        found = verify_file(options.file, read_keys(options.key) if options.key else (), options.heads)
    except Fault as fault:
        print(f"NOT VERIFIED: {fault}")
        return 1
    except Unreadable as failure:
        print(failure)
        return 2
    print("\n".join(found.told()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

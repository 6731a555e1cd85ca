"""账本恢复 (house rule). A restore from a backup, said aloud: recorded, its epoch begun, and a head of it signed."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from services.caller import Caller
from services.checkpoints import HeadKey, TreeHead
from services.event_log import EventLog, Fact
from services.event_log.restoring import begin_epoch
from services.event_log.tree import Tree, tree
from services.events import LedgerRestored, encode
from services.kept_heads import KeptHeads
from services.restorations import STREAM, recorded
from services.tree_heads import TreeHeads, extends

_ACTOR = Caller("command-line", "admin", "group", frozenset({"*"}), float("inf")).actor


class NothingRestored(Exception):
    """The ledger extends the last head that is known of it: nothing is missing. `kept` is that head."""

    def __init__(self, kept: TreeHead) -> None:
        super().__init__(f"the ledger extends its head of {kept.size} events")
        self.kept = kept


class Restored(NamedTuple):
    """The new epoch, where it begins, and the head with which it was signed; `kept`: the last one known of before."""

    epoch: int
    base: int
    head: TreeHead
    kept: TreeHead | None


async def record_restore(
    log: EventLog, url: str, heads: TreeHeads, key: HeadKey, folder: Path, reason: str, now: datetime
) -> Restored:
    """Record it, unless that was done and only the head is missing; raises `NothingRestored`. Nobody else may write."""
    found = await tree(log.read)
    kept = KeptHeads(folder, found.ledger_id).newest(key.public)
    if not await _is_recorded(log, found, kept):
        await _record(url, kept, reason, now)
    last = (await recorded(log.read))[-1]
    head, _ = await heads.kept()
    return Restored(last.epoch, last.base, head, kept)


async def _is_recorded(log: EventLog, found: Tree, kept: TreeHead | None) -> bool:
    """Whether a run before this one came as far as the record."""
    if kept is None:
        known = await recorded(log.read)
        return bool(known) and (known[-1].epoch, known[-1].base + 1) == (found.epoch, found.size)
    if not await extends(log, found, kept):
        return False
    if kept.epoch == found.epoch:
        raise NothingRestored(kept)
    return True


async def _record(url: str, kept: TreeHead | None, reason: str, now: datetime) -> None:
    def fact(epoch: int, base: int) -> Fact:
        said = LedgerRestored(
            epoch=epoch,
            base=base,
            reason=reason,
            kept_epoch=kept.epoch if kept else None,
            kept_size=kept.size if kept else None,
            kept_root=kept.root.hex() if kept else None,
        )
        return Fact(STREAM, LedgerRestored.name, LedgerRestored.schema, "", encode(said))

    await begin_epoch(url, _ACTOR, STREAM, kept.epoch + 1 if kept else 2, fact, now)

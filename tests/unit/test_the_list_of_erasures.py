"""The list kept apart: added to, never torn, by several at once, and read whatever happened to its end."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import UUID, uuid4

from services.erasure_list import ErasureList
from services.events import DestroyedKey

LEDGER = UUID("019ab3c4-5d6e-7f80-9123-0000000000aa")


def test_what_is_added_is_listed_once_with_its_case(tmp_path: Path) -> None:
    kept = ErasureList(tmp_path / "new", LEDGER)
    assert (kept.entries(), kept.size) == ({}, 0)
    person, text = DestroyedKey(uuid4()), DestroyedKey(uuid4(), uuid4())
    kept.add([person, text])
    size = kept.size
    ErasureList(tmp_path / "new", LEDGER).add([text, person])
    assert kept.entries() == {person.key_id: person, text.key_id: text}
    assert kept.size == size > 0
    assert ErasureList(tmp_path / "new", uuid4()).entries() == {}


def test_a_line_that_was_torn_off_hides_nothing(tmp_path: Path) -> None:
    kept = ErasureList(tmp_path, LEDGER)
    first, torn, last = (DestroyedKey(uuid4()) for _ in range(3))
    kept.add([first])
    for cut in (1, 20, 37):
        whole = f"{torn.key_id} -\n"
        with (tmp_path / str(LEDGER)).open("a") as out:
            out.write(whole[:cut])
        kept.add([last])
        assert kept.entries().keys() == {first.key_id, last.key_id}, cut
    kept.add([torn])
    assert kept.entries().keys() == {first.key_id, torn.key_id, last.key_id}


def test_several_add_at_once(tmp_path: Path) -> None:
    keys = [DestroyedKey(uuid4()) for _ in range(60)]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: ErasureList(tmp_path, LEDGER).add(keys[n : n + 10]), range(0, 55, 5)))
    assert ErasureList(tmp_path, LEDGER).entries().keys() == {one.key_id for one in keys}
    lines = [line for line in (tmp_path / str(LEDGER)).read_text().splitlines() if line]
    assert len(lines) == len(keys)

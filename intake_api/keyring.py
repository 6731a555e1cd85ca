"""The vault as the settings have it, and who was forgotten, for every process of the service."""

from collections.abc import Callable, Collection
from uuid import UUID

import structlog

from projections.grams import Grams
from services.erasure_book import ErasureBook
from services.event_log import EventLog
from services.master_keys import MasterKeys
from services.phone_keys import PhoneKeys, take_into_use
from services.settings import Settings
from services.vault import Vault


def masters_of(settings: Settings) -> MasterKeys:
    """The master key, and those before it that are still given."""
    return MasterKeys(settings.key("ANJUAN_MASTER_KEY"), settings.former_keys("ANJUAN_MASTER_KEY"))


def phones_of(settings: Settings) -> PhoneKeys:
    """The phone key, and others that are given."""
    return PhoneKeys(settings.key("ANJUAN_PHONE_KEY"), settings.former_keys("ANJUAN_PHONE_KEY"))


def grams_of(settings: Settings) -> Grams:
    """Words are found under keys made of those."""
    return Grams(settings.key("ANJUAN_PHONE_KEY"), settings.former_keys("ANJUAN_PHONE_KEY"))


def vault_of(settings: Settings, log: EventLog, masters: MasterKeys, count: Callable[[], None] = lambda: None) -> Vault:
    """Under the configured keys; a lost key is told, by its id, and counted."""

    def lost(key_id: UUID) -> None:
        count()
        structlog.get_logger().error("key_lost", key_id=str(key_id))

    return Vault(masters, phones_of(settings), log.read.keys, log.read.erased, lost)


def book_of(settings: Settings, log: EventLog, vault: Vault) -> ErasureBook:
    """With the list in the configured folder."""

    async def forget_texts(cases: Collection[UUID]) -> None:
        # Loads SQLAlchemy, which many a command does without.
        from projections.forgetting import clear_texts

        await clear_texts(log.read, cases)

    return ErasureBook(log, vault, settings.erasures, forget_texts)


async def phone_key_in_use(settings: Settings, url: str) -> None:
    """Note the phone key before anything is hashed under it; raises `UnknownPhoneKey`."""
    async with EventLog(url) as log:
        await take_into_use(log.read, phones_of(settings))


async def forgotten_first(settings: Settings, url: str) -> None:
    """Destroy again in the database what the list names, before anybody looks into it."""
    async with EventLog(url) as log:
        await book_of(settings, log, vault_of(settings, log, masters_of(settings))).refresh()

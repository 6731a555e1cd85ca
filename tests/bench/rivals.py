"""What our service is compared with, as anybody would write it: FastAPI's empty POST, and a CRUD insert.

Run by uvicorn as `tests.bench.rivals:empty`, `:declared` and `:crud`; that one's database is in BENCH_DATABASE_URL.
"""

import os
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import DateTime, func
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.migrations import sqlalchemy_url

PATH = "/v1/cases/{case_id}/actions"


class ContactPerson(BaseModel):
    name: str
    title: str
    phone: str | None = None


class Response(BaseModel):
    """The shape of our `responded`."""

    type: str
    complaints: str
    contacted_at: datetime
    channel: str
    contact_person: ContactPerson
    note: str | None = None


class Base(DeclarativeBase):
    pass


class Action(Base):
    __tablename__ = "actions"

    id: Mapped[int] = mapped_column(primary_key=True)
    case_id: Mapped[UUID] = mapped_column(index=True)
    type: Mapped[str]
    complaints: Mapped[str]
    contacted_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    channel: Mapped[str]
    contact_name: Mapped[str]
    contact_title: Mapped[str]
    contact_phone: Mapped[str | None]
    note: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=func.now())


empty = FastAPI()
declared = FastAPI()
crud = FastAPI()

_engine = create_async_engine(
    sqlalchemy_url(os.environ.get("BENCH_DATABASE_URL", "postgresql://")), pool_size=20, max_overflow=0
)
_sessions = async_sessionmaker(_engine, expire_on_commit=False)


async def _session() -> AsyncIterator[AsyncSession]:
    async with _sessions() as session:
        yield session


@empty.post("/empty")
async def post_empty() -> dict[str, str]:
    return {}


@empty.get("/empty")
async def get_empty() -> dict[str, str]:
    return {}


@declared.post("/empty")
async def post_declared(response: Response) -> dict[str, str]:
    return {}


@crud.post(PATH, status_code=201)
async def insert(
    case_id: UUID, response: Response, session: Annotated[AsyncSession, Depends(_session)]
) -> dict[str, int]:
    action = Action(
        case_id=case_id,
        type=response.type,
        complaints=response.complaints,
        contacted_at=response.contacted_at,
        channel=response.channel,
        contact_name=response.contact_person.name,
        contact_title=response.contact_person.title,
        contact_phone=response.contact_person.phone,
        note=response.note,
    )
    session.add(action)
    await session.commit()
    return {"id": action.id}

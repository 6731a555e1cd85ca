"""What all answers share."""

from pydantic import BaseModel, ConfigDict


class Shown(BaseModel):
    """Answers may gain fields; clients ignore those that they don't know."""

    model_config = ConfigDict(extra="forbid")


class Remembered(BaseModel):
    """An action that the case remembers: its id, its own fields, and when it was done under a name of its own."""

    model_config = ConfigDict(extra="allow")

    action_id: str

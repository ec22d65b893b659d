from pydantic import BaseModel


class Settings(BaseModel):
    table: str = "events"

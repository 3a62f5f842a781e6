"""What a role process is told: which role, of which environment, where its data lie."""

from pathlib import Path
from typing import Literal

from msgspec import Struct

from ssmd.environment.spec import Environment
from ssmd.settings import Settings

RoleName = Literal["connector", "archiver", "gateway", "bootstrap", "candidate"]


class RoleSpec(Struct, frozen=True):
    """Everything one role needs; the CLI resolves it once and hands it over as JSON."""

    role: RoleName
    feed: str
    environment: Environment
    settings: Settings
    nats_url: str
    data_dir: str
    run_file: str

    @property
    def title(self) -> str:
        return f"{self.role}:{self.feed}" if self.feed else self.role

    @property
    def data_path(self) -> Path:
        return Path(self.data_dir)

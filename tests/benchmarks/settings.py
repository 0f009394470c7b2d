"""What the sections share: how long to measure, and where the peers are."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from install_peers import FOLDER, python
from worker import Worker


@dataclass(frozen=True)
class Settings:
    """Settings of one run.

    Attributes:
        quick: fewer rounds and less work in each, to see that everything runs; its figures are rough.
        peers: the folder of the peers' environments.
        versions: filled by the sections with what the peers say about themselves.
    """

    quick: bool = False
    peers: Path = FOLDER
    versions: dict[str, str] = field(default_factory=dict)

    def rounds(self, full: int) -> int:
        """Returns how many rounds to take: about a third in a quick run, at least two."""
        return max(2, full // 3) if self.quick else full

    def amount(self, full: int) -> int:
        """Returns how much work one timing has: a quarter in a quick run."""
        return max(1, full // 4) if self.quick else full

    def python(self, peer: str) -> Path:
        """Returns the interpreter of a peer's environment."""
        return python(peer, self.peers)

    def worker(self, peer: str, script: str, *arguments: str, **variables: str) -> Worker:
        """Starts a peer's program and notes its versions."""
        worker = Worker(self.python(peer), script, *arguments, **variables)
        said: dict[str, Any] = worker.ask("version")
        self.versions.update({name: str(value) for name, value in said.items() if name != "backend"})
        return worker

    @property
    def threads(self) -> int:
        """How many threads a peer may use: as many as XLA takes."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

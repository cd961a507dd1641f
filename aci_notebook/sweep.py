"""Groups that a kernel left behind: verified, followed or deleted by the next one. Only groups that carry our tag are ever touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .events import Event
from .record import RunRecord, fold
from .removal import remove
from .runs import RealClock

if TYPE_CHECKING:
    from .session import Session


def delete_group(session: Session, record: RunRecord) -> bool:
    """Deletes the group of a run that nobody drives; the record says what became of it. True when it is verified gone."""
    latest = record

    def tell(event: Event) -> None:
        nonlocal latest
        latest = fold(latest, event)
        session.house.store.save(latest)

    backend = session.backend(record.resource_group)
    return remove(backend, RealClock(), record.name, record.run_id, tell, sure=False)

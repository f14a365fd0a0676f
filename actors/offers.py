"""The ledger's rows on their way into the journal: kept all together or not at all, and answered."""

import contextlib

import trio

from actors.mailbox import Mailbox
from domain.errors import JournalFull
from domain.messages import KeepLedger
from domain.trades import LedgerRow, Signal, Trade, TradeEvent
from storage.payloads import Money, storable_row


class Offers:
    """What was taken out of the mailbox and is not answered yet.

    A row that is on disk is answered for; one that is not stays its owner's, who offers it again.
    With an append fails also what was offered meanwhile: so no word on a trade is overtaken by an
    earlier one that is offered again.
    """

    def __init__(self, box: Mailbox[KeepLedger]) -> None:
        self._box = box
        self._taken: list[KeepLedger] = []

    def take(self) -> Money:
        """Take out all that there is; each table's rows stay in their order."""
        self._drain()
        money = Money(signals=[], trades=[], trade_events=[])
        for offer in self._taken:
            for row in offer.rows:
                _add(money, storable_row(row))
        return money

    def set_kept(self) -> None:
        """Answer that all that was taken is on disk."""
        taken, self._taken = self._taken, []
        for offer in taken:
            offer.answer.set(None)

    def refuse(self, reason: str) -> None:
        """Answer that nothing of it is kept, nor of what has come since."""
        self._drain()
        taken, self._taken = self._taken, []
        for offer in taken:
            offer.answer.fail(JournalFull(reason))

    def _drain(self) -> None:
        with contextlib.suppress(trio.WouldBlock):
            while True:
                self._taken.append(self._box.get_nowait())


def _add(money: Money, row: LedgerRow) -> None:
    match row:
        case Signal():
            money.signals.append(row)
        case Trade():
            money.trades.append(row)
        case TradeEvent():
            money.trade_events.append(row)

"""The accounts: what answers used, what that would have cost elsewhere, and what it cost here."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import DataTable, Static
from textual.worker import Worker, WorkerState

from ondevice import accounts
from ondevice.domain.cost import Price
from ondevice.domain.ledger import Entry, Grouping, Totals
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.tui import cost_rows, messages
from ondevice.tui.doors import Doors
from ondevice.tui.prices import of_baselines
from ondevice.tui.screens.confirm import labelled
from ondevice.tui.screens.pick import Choice, PickScreen
from ondevice.tui.widgets.keys import Keys
from ondevice.tui.widgets.topbar import TopBar

OF_ITS_TIME = ""
CHART, HIGH_CHART = 7, 12
"""Rows of the chart with its dates, and those it has where there is room."""
HIGH, LEAST_HIGH = 34, 20
EMPTY = (
    "No answer is in the accounts yet. Each answer of a real model in the chat becomes an entry: "
    "what it used, what the same would have cost in a cloud, and, with tariff and watts in the "
    "settings, what its power cost.\n\n"
    "Private sessions, imports and scripted models have none."
)


class CostsScreen(Screen[None]):
    """A chart of the days, and a table by day, model or session."""

    CSS_PATH = "../styles/table.tcss"
    AUTO_FOCUS = "#table"
    NUMBERS = (accounts,)
    """Modules whose docstrings define what is shown."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,ctrl+l", "back", "Back", id="costs.back", tooltip="Back to the chat."),
        Binding("g", "group", "Group", id="costs.group",
                tooltip="Add up by day, by model or by session."),
        Binding("b", "price", "Baseline", id="costs.baseline",
                tooltip="Price all of it at another cloud model."),
    ]  # fmt: skip

    def __init__(self, doors: Doors, running: str) -> None:
        super().__init__()
        self._doors, self._serving = doors, running
        self._stored: list[Entry] | None = None
        """None until they are read."""
        self._price: Price | None = None
        """What all of them are priced at; None is each at that of its time."""
        self._by: Grouping = "day"
        self._rows: dict[str, Totals] = {}

    def compose(self) -> ComposeResult:
        yield TopBar("Costs")
        yield Static(id="chart")
        yield DataTable[Text](id="table", cursor_type="row", cell_padding=0)
        yield Static(Content("Adding up …"), id="none")
        with VerticalScroll(id="detail"):
            yield Static(id="facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(TopBar).show(self._serving)
        self.query_one("#table").display = self.query_one("#chart").display = False
        self._look(OF_ITS_TIME)

    def on_resize(self) -> None:
        self._fill()

    # What there is

    @work(thread=True, exclusive=True, exit_on_error=False, group="accounts")
    def _look(self, baseline: str) -> None:
        try:
            price = self._doors.price(baseline) if baseline else None
            self.post_message(messages.AccountsRead(self._doors.accounts(), price))
        except OnDeviceError as error:
            self.post_message(messages.AccountsRead([], None, error))

    @on(messages.AccountsRead)
    def _show_read(self, event: messages.AccountsRead) -> None:
        if event.error is None:
            self._stored, self._price = event.entries, event.price
            self._fill()
            return
        words = clean_line(f"{event.error.message}. {event.error.hint}", 400)
        self.notify(words, severity="warning", markup=False)
        if self._stored is None:
            self.query_one("#none", Static).update(Content("The accounts cannot be read."))

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    def _entries(self) -> list[Entry]:
        stored, price = self._stored or [], self._price
        return [entry.at_price(price) for entry in stored] if price else stored

    def _fill(self) -> None:
        """All rows anew; the cursor stays on its row."""
        if self._stored is None:
            return
        entries, chosen = self._entries(), self._chosen()
        table, width = self._table, self.size.width
        self._rows = cost_rows.rows(entries, self._by) if entries else {}
        table.clear(columns=True)
        for number, (title, columns) in enumerate(cost_rows.columns(width, self._by)):
            label = Text(f"{title:>{columns}}" if number else title)
            table.add_column(label, key=title, width=columns)
        for key, row in self._rows.items():
            table.add_row(*cost_rows.cells(key, row, width, self._by), key=key)
        if chosen in self._rows:
            table.move_cursor(row=table.get_row_index(chosen))
        table.display = bool(entries)
        nothing = self.query_one("#none", Static)
        nothing.display = not entries
        self.query_one("#detail").display = bool(entries)
        nothing.update(Content(EMPTY))
        if entries:
            table.focus()
        self._name_table()
        self._draw(entries)
        self._show_detail()

    def _name_table(self) -> None:
        at = f"all at {self._price.title}" if self._price else "each at the baseline of its time"
        self._table.border_title = f"By {self._by}"
        self._table.border_subtitle = Content(clean_line(at, 60))

    def _draw(self, entries: list[Entry]) -> None:
        chart, size = self.query_one("#chart", Static), self.size
        chart.display = bool(entries) and size.height >= LEAST_HIGH
        chart.border_title = "Cost avoided, net of known power, by day"
        height = HIGH_CHART if size.height >= HIGH else CHART
        chart.update(cost_rows.chart(entries, size.width - 4, height))

    @on(DataTable.RowHighlighted)
    def _show_detail(self) -> None:
        key = self._chosen()
        lines = []
        if key in self._rows:
            lines = list(cost_rows.detail(key, self._rows[key], self._by, self._entries()))
        self.query_one("#facts", Static).update(labelled(lines, self.size.width - 6))

    def _chosen(self) -> str:
        table = self._table
        if not table.row_count:
            return cost_rows.ALL
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value or ""

    @property
    def _table(self) -> DataTable[Text]:
        return self.query_one(DataTable)

    # What one does with it

    def action_back(self) -> None:
        """Back to the chat."""
        self.dismiss(None)

    def action_group(self) -> None:
        """Add up by something else."""
        every = cost_rows.GROUPINGS
        self._by = every[(every.index(self._by) + 1) % len(every)]
        self._fill()

    def action_price(self) -> None:
        """Price all of it at one cloud model, or each at that of its time."""

        def chosen(key: str | None) -> None:
            if key is not None:
                self._look(key)

        first = Choice(OF_ITS_TIME, "of its time", "each answer as it was priced when it ended")
        listed = [first, *of_baselines(self._doors)]
        self.app.push_screen(PickScreen("Price all of it at", listed, "Nothing matches."), chosen)

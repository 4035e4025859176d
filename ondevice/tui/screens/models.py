"""Every model that is known, in one table: whether it fits, whether it is here, and getting it."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import Screen
from textual.widgets import DataTable, Input, Static
from textual.worker import Worker, WorkerState

from ondevice import units
from ondevice.acquire import PullPlan
from ondevice.domain import fit as domain_fit
from ondevice.domain.model import ModelFile
from ondevice.domain.text import clean_line
from ondevice.errors import OnDeviceError
from ondevice.tui import messages, model_rows
from ondevice.tui.doors import Doors
from ondevice.tui.downloads import Downloads
from ondevice.tui.model_acts import ModelActs
from ondevice.tui.screens.confirm import labelled
from ondevice.tui.widgets.fields import LineField
from ondevice.tui.widgets.keys import Keys
from ondevice.tui.widgets.model_table import ModelTable, cell
from ondevice.tui.widgets.topbar import TopBar

PAINT_S = 0.5


class ModelsScreen(Screen[ModelFile | None]):
    """The table. Returns the file to use, or None."""

    CSS_PATH = "../styles/table.tcss"
    AUTO_FOCUS = "#table"
    NUMBERS = (domain_fit,)
    """Modules whose docstrings define what is shown."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f2", "back", "Back", id="models.back", tooltip="Back to the chat."),
        Binding("enter", "take", "Use or get", id="models.take",
                tooltip="Chat with the model if it is here; otherwise download it."),
        Binding("slash", "filter", "Filter", id="models.filter",
                tooltip="Show only models that match what you type.", key_display="/"),
        Binding("space", "pause", "Pause", id="models.pause",
                tooltip="Pause the download, or go on with it."),
        Binding("delete", "remove", "Delete", id="models.remove",
                tooltip="Delete the model's files, after a question."),
        Binding("s", "sort", "Sort", id="models.sort", tooltip="Sort by something else."),
    ]  # fmt: skip

    def __init__(self, doors: Doors, downloads: Downloads, running: str) -> None:
        super().__init__()
        self._doors, self._downloads, self._serving = doors, downloads, running
        self._plans: dict[str, PullPlan] = {}
        self._acts = ModelActs(self, doors, downloads, self._look)
        self._sort = "here first"

    def compose(self) -> ComposeResult:
        yield TopBar("Models")
        yield LineField(placeholder="Type to filter", id="filter", compact=True, max_length=80)
        yield ModelTable(id="table", cursor_type="row", cell_padding=0)
        yield Static(Content("Looking …"), id="none")
        with VerticalScroll(id="detail"):
            yield Static(id="facts")
        yield Keys()

    def on_mount(self) -> None:
        self.query_one(TopBar).show(self._serving)
        self.query_one("#filter").display = False
        self.set_interval(PAINT_S, self._paint_downloads)
        self._look()

    def on_resize(self) -> None:
        self._fill()

    # What there is

    @work(thread=True, exclusive=True, exit_on_error=False, group="shelf")
    def _look(self) -> None:
        try:
            self.post_message(messages.ShelfRead(self._doors.shelf()))
        except OnDeviceError as error:
            self.post_message(messages.ShelfRead([], error))

    @on(messages.ShelfRead)
    def _show_shelf(self, event: messages.ShelfRead) -> None:
        if event.error is not None:
            self._say(f"{event.error.message} {event.error.hint}")
        if event.plans:
            self._plans = {model_rows.key(plan): plan for plan in event.plans}
        self._fill()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """A bug in a worker must not look like waiting."""
        if event.state is WorkerState.ERROR and event.worker.error is not None:
            raise event.worker.error

    @on(messages.DownloadEnded)
    def _look_again(self) -> None:
        self._look()

    def _fill(self) -> None:
        """The rows that match, in the chosen order; the cursor stays on its model."""
        table = self.query_one(DataTable)
        chosen = self._chosen_key()
        words = self.query_one(Input).value.lower().split()
        rows = [each for each in self._plans.items() if model_rows.matches(each[1], words)]
        rows.sort(key=lambda each: model_rows.SORTS[self._sort](each[1]))
        if words:
            rows.sort(key=lambda each: not each[1].spec.name.startswith(words[0]))
        columns = model_rows.columns(self.size.width)
        table.clear(columns=True)
        for title, width in columns:
            table.add_column(Text(title), key=title, width=width)
        for key, plan in rows:
            cells = model_rows.cells(plan, self._downloads.get(model_rows.form(plan)))
            table.add_row(*(cell(cells[title]) for title, _ in columns), key=key)
        table.border_title = f"{len(rows)} of {len(self._plans)} · {self._sort}"
        appears = bool(rows) and not table.display
        table.display = bool(rows)
        if appears and not isinstance(self.focused, Input):  # it lost it while it was not there
            table.focus()
        nothing = self.query_one("#none", Static)
        nothing.display = not rows
        if self._plans:
            nothing.update(Content("No model matches. On the hub: ondevice search TEXT"))
        if chosen is not None and chosen in table.rows:
            table.move_cursor(row=table.get_row_index(chosen))
        self._show_detail()

    def _paint_downloads(self) -> None:
        table = self.query_one(DataTable)
        for key, plan in self._plans.items():
            download = self._downloads.get(model_rows.form(plan))
            if download is not None and key in table.rows:
                state = model_rows.cells(plan, download)["STATE"]
                table.update_cell(key, "STATE", cell(state))
        self._show_detail()

    @on(DataTable.RowHighlighted)
    def _show_detail(self) -> None:
        plan = self._chosen()
        lines = model_rows.detail(plan, self._downloads.get(model_rows.form(plan))) if plan else []
        facts, shown = labelled(lines, self.size.width - 6), self.query_one("#facts", Static)
        if not (isinstance(shown.content, Content) and facts.is_same(shown.content)):
            shown.update(facts)  # a layout of the whole screen

    def _chosen_key(self) -> str | None:
        table = self.query_one(DataTable)
        if not table.row_count:
            return None
        return table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value

    def _chosen(self) -> PullPlan | None:
        return self._plans.get(self._chosen_key() or "")

    def _say(self, words: str) -> None:
        self.notify(clean_line(words, 300), severity="warning", markup=False)

    # What one does with it

    def action_back(self) -> None:
        """Empty the filter, or go back to the chat."""
        field = self.query_one(Input)
        if field.display:
            field.value = ""
            field.display = False
            self.query_one(DataTable).focus()
        else:
            self.dismiss(None)

    def action_filter(self) -> None:
        """Show the filter."""
        self.query_one(Input).display = True
        self.query_one(Input).focus()

    def on_input_changed(self) -> None:
        self._fill()

    def on_input_submitted(self) -> None:
        """Take the only match; among several the arrow keys choose."""
        table = self.query_one(DataTable)
        table.focus()
        if table.row_count == 1:
            self.action_take()

    def action_sort(self) -> None:
        """The next order."""
        orders = list(model_rows.SORTS)
        self._sort = orders[(orders.index(self._sort) + 1) % len(orders)]
        self._fill()

    @on(DataTable.RowSelected)
    def action_take(self) -> None:
        """Use what is here; get what is not."""
        plan = self._chosen()
        if plan is None:
            return
        if plan.here is None:
            self._acts.get(plan)
        elif model_rows.can_chat(plan):
            self.dismiss(model_rows.usable(plan))
        else:
            self._say(model_rows.why_no_chat(plan))

    @on(messages.PlanJudged)
    def _show_judged(self, event: messages.PlanJudged) -> None:
        key = model_rows.key(event.plan)
        if key not in self._plans or self._plans[key].here is not None:
            return
        self._plans[key] = event.plan
        self._fill()
        self._acts.show_judged(event.plan)

    def action_pause(self) -> None:
        """Pause the chosen download, or go on with it."""
        if plan := self._chosen():
            self._acts.pause(plan)
            self._paint_downloads()

    def action_remove(self) -> None:
        """Delete the files of the chosen model, after a question."""
        if plan := self._chosen():
            self._acts.remove(plan)

    @on(messages.ModelDeleted)
    def _say_deleted(self, event: messages.ModelDeleted) -> None:
        words = f"{event.plan.spec.name}: {units.size(event.freed_bytes)} are free again."
        self.notify(clean_line(words), markup=False)

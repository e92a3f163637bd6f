"""Questions on a whole terminal, by prompt_toolkit: lists, fields and long texts, keyboard only.

What it draws needs a terminal of 80×24 that can move its cursor and show text in reverse, as every
VT100 and its like: consoles, serial lines, ssh. There are no colours, no lines of graphics and no
mouse. Only ASCII is drawn but for what names of disks and the person's own words have.
"""

from __future__ import annotations

import sys
import termios
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input.defaults import create_input
from prompt_toolkit.key_binding import KeyBindings, merge_key_bindings
from prompt_toolkit.key_binding.bindings.basic import load_basic_bindings
from prompt_toolkit.key_binding.bindings.emacs import load_emacs_bindings
from prompt_toolkit.layout import (
    BufferControl,
    FormattedTextControl,
    HSplit,
    Layout,
    VSplit,
    Window,
)
from prompt_toolkit.layout.processors import PasswordProcessor
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.defaults import create_output

from atoll.base.text import cut, escape, one_line, width
from atoll.cli.output.terminal import encodable, trusted_stream
from atoll.installer.dialogue.pages import Choice, GoBack, Input, Page

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyBindingsBase, KeyPressEvent
    from prompt_toolkit.layout.containers import AnyContainer
    from prompt_toolkit.layout.processors import Processor

COLUMNS, LINES = 80, 24
_ERROR = 2
"""Lines for what is wrong."""
_AROUND = 6 + _ERROR
"""Lines beside the text and the list: title, blank, heading, blank, search, keys, and errors."""


@dataclass(frozen=True, slots=True)
class _Size:
    columns: int
    lines: int


class TerminalScreens:
    """``Screens`` on the terminal of stdin and stdout."""

    def __init__(self, title: str) -> None:
        self._title = title

    def choose(self, page: Page, choices: Sequence[Choice], default: str) -> str:
        return _List(self._title, page, choices, default).run()

    def ask(self, page: Page, field: Input) -> str:
        return _Field(self._title, page, field).run()

    def read(self, page: Page) -> None:
        _Text(self._title, page).run()


class _Frame:
    """What is around the list, field or text of a page: titles, an error, and the keys."""

    def __init__(self, title: str, page: Page, keys: str) -> None:
        self._title, self._page, self._keys = title, page, keys
        self.error = ""
        stream = trusted_stream(sys.stdout)
        self._stream = stream
        self._output = create_output(stream)
        self.bindings = KeyBindings()
        self.bindings.add("escape")(lambda event: event.app.exit(exception=GoBack()))
        self.bindings.add("c-c")(lambda event: event.app.exit(exception=KeyboardInterrupt()))

    def run(self, *body: AnyContainer, editing: tuple[KeyBindingsBase, ...] = ()) -> str:
        """What a key has given as the result; raises GoBack or KeyboardInterrupt."""
        application: Application[str] = Application(
            layout=Layout(self._whole(body)),
            key_bindings=merge_key_bindings([*editing, self.bindings]),
            full_screen=True,
            input=create_input(sys.stdin),
            output=self._output,
            color_depth=ColorDepth.DEPTH_1_BIT,
            erase_when_done=True,
        )
        # Escape alone is a key here. A slow line sends the rest of an arrow key within this time.
        application.ttimeoutlen = 0.5
        application.timeoutlen = 0.3
        with self._terminal_kept():
            return application.run(handle_sigint=False)

    @contextmanager
    def _terminal_kept(self) -> Iterator[None]:
        """The terminal is as before, also after a signal: prompt_toolkit of Debian 12 leaves it
        then as it is, without echo."""
        attributes = termios.tcgetattr(sys.stdin)
        try:
            yield
        except KeyboardInterrupt:
            self._output.quit_alternate_screen()
            raise
        finally:
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, attributes)
            self._output.reset_attributes()
            self._output.enable_autowrap()
            self._output.show_cursor()
            self._output.flush()

    @property
    def size(self) -> _Size:
        found = self._output.get_size()
        return _Size(found.columns or COLUMNS, found.rows or LINES)

    def text_lines(self) -> list[str]:
        """The text of the page and a blank line, if it has one."""
        text = self._page.text
        return [*wrap(self.printable(text), self.size.columns - 4), ""] if text else []

    def printable(self, text: str) -> str:
        return encodable(escape(text), self._stream)

    def _whole(self, body: Sequence[AnyContainer]) -> HSplit:
        return HSplit(
            [
                Window(FormattedTextControl(self._title_line), height=1),
                Window(height=1),
                Window(FormattedTextControl(self._heading), dont_extend_height=True),
                *body,
                Window(FormattedTextControl(self._error_lines), height=_ERROR),
                Window(FormattedTextControl(self._keys_line), height=1),
            ]
        )

    def _title_line(self) -> StyleAndTextTuples:
        columns = self.size.columns
        step = f"{self._page.step} " if self._page.step else ""
        left = cut(self.printable(f" {self._title}"), columns - len(step) - 1)
        return [("reverse", f"{left}{' ' * (columns - width(left) - len(step))}{step}")]

    def _heading(self) -> StyleAndTextTuples:
        below = "".join(f"\n  {line}" for line in self.text_lines())
        return [("bold", f"  {self.printable(self._page.title)}\n"), ("", below)]

    def _error_lines(self) -> StyleAndTextTuples:
        lines = wrap(self.printable(one_line(self.error)), self.size.columns - 4)
        return [("bold", "\n".join(f"  {line}" for line in lines[:_ERROR]))]

    def _keys_line(self) -> StyleAndTextTuples:
        return [("reverse", f" {self._keys}Esc back   Ctrl-C stop".ljust(self.size.columns))]


class _List:
    def __init__(self, title: str, page: Page, choices: Sequence[Choice], default: str) -> None:
        keys = "Up/Down choose   Enter go on   letters search   "
        self._frame = _Frame(title, page, keys)
        self._choices = choices
        self._search = ""
        values = [each.value for each in choices]
        first = next((n for n, each in enumerate(choices) if not each.why_not), 0)
        self._at = values.index(default) if default in values else first
        self._bind()

    def run(self) -> str:
        control = FormattedTextControl(self._lines, focusable=True, show_cursor=False)
        return self._frame.run(
            Window(control, always_hide_cursor=True),
            Window(FormattedTextControl(self._search_line), height=1),
        )

    def _bind(self) -> None:
        moves = {"up": -1, "down": 1, "c-p": -1, "c-n": 1, "pageup": -10, "pagedown": 10}
        for key, by in moves.items():
            self._frame.bindings.add(key)(lambda _event, by=by: self._move(by))
        self._frame.bindings.add("home")(lambda _event: self._move(-len(self._choices)))
        self._frame.bindings.add("end")(lambda _event: self._move(len(self._choices)))
        self._frame.bindings.add("enter")(self._enter)
        self._frame.bindings.add("backspace")(lambda _event: self._find(self._search[:-1]))
        self._frame.bindings.add("<any>")(self._type)

    def _move(self, by: int) -> None:
        self._search, self._frame.error = "", ""
        self._at = min(max(self._at + by, 0), len(self._choices) - 1)

    def _type(self, event: KeyPressEvent) -> None:
        if event.data.isprintable():
            self._find(self._search + event.data)

    def _find(self, text: str) -> None:
        """Go to the first line that has a word beginning with ``text``, or that has it at all."""
        self._frame.error = ""
        wanted = text.lower()
        found = [n for n, each in enumerate(self._choices) if wanted in each.title.lower()]
        if text and not found:
            return
        self._search = text
        starts = [n for n in found if _begins_word(self._choices[n].title.lower(), wanted)]
        if text:
            self._at = (starts or found)[0]

    def _enter(self, event: KeyPressEvent) -> None:
        if not self._choices:
            self._frame.error = "there is nothing to choose here: go back"
            return
        chosen = self._choices[self._at]
        if chosen.why_not:
            self._frame.error = f"cannot be chosen: {chosen.why_not}"
        else:
            event.app.exit(result=chosen.value)

    def _lines(self) -> StyleAndTextTuples:
        size = self._frame.size
        shown = max(size.lines - len(self._frame.text_lines()) - _AROUND, 3)
        first = min(max(self._at - shown // 2, 0), max(len(self._choices) - shown, 0))
        lines: StyleAndTextTuples = []
        for number, each in enumerate(self._choices[first : first + shown], first):
            mark = ">" if number == self._at else " "
            style = "reverse" if number == self._at else ""
            impossible = "  - not possible" if each.why_not else ""
            room = size.columns - 5 - len(impossible)
            text = cut(self._frame.printable(one_line(each.title)), room)
            lines += [("", f"  {mark} "), (style, f"{text}{impossible}"), ("", "\n")]
        return lines

    def _search_line(self) -> StyleAndTextTuples:
        shown = f"  {len(self._choices)} lines" if len(self._choices) > LINES else ""
        return [("", f"  search: {self._search}" if self._search else shown)]


class _Field:
    def __init__(self, title: str, page: Page, field: Input) -> None:
        self._frame = _Frame(title, page, "Enter go on   ")
        self._field = field
        self._buffer = Buffer(multiline=False)
        if field.default:
            self._buffer.insert_text(field.default)
        self._frame.bindings.add("enter")(self._enter)

    def run(self) -> str:
        label = f"  {self._field.label}: "
        hidden: list[Processor] = [PasswordProcessor()] if self._field.secret else []
        control = BufferControl(self._buffer, input_processors=hidden)
        name = Window(FormattedTextControl(label), width=len(label), height=1)
        line = VSplit([name, Window(control, height=1)], height=1)
        editing = (load_basic_bindings(), load_emacs_bindings())
        return self._frame.run(line, Window(), editing=editing)

    def _enter(self, event: KeyPressEvent) -> None:
        text = self._buffer.text
        text = text if self._field.secret else text.strip()
        flaw = self._field.check(text)
        if flaw is None:
            event.app.exit(result=text)
            return
        hint = f": {flaw.hint}" if flaw.hint else ""
        self._frame.error = f"{flaw.message}{hint}"


class _Text:
    def __init__(self, title: str, page: Page) -> None:
        above = Page(title=page.title, step=page.step)
        self._frame = _Frame(title, above, "Up/Down move   Enter go on   ")
        self._text = page.text
        self._first = 0
        moves = {"up": -1, "down": 1, "pageup": -10, "pagedown": 10, " ": 10}
        for key, by in moves.items():
            self._frame.bindings.add(key)(lambda _event, by=by: self._move(by))
        self._frame.bindings.add("enter")(lambda event: event.app.exit(result=""))

    def run(self) -> str:
        shown = FormattedTextControl(self._shown, focusable=True)
        return self._frame.run(
            Window(shown, always_hide_cursor=True),
            Window(FormattedTextControl(self._more), height=1),
        )

    @property
    def _room(self) -> int:
        return max(self._frame.size.lines - _AROUND, 3)

    def _wrapped(self) -> list[str]:
        return wrap(self._frame.printable(self._text), self._frame.size.columns - 4)

    def _move(self, by: int) -> None:
        last = max(len(self._wrapped()) - self._room, 0)
        self._first = min(max(self._first + by, 0), last)

    def _shown(self) -> StyleAndTextTuples:
        lines = self._wrapped()[self._first : self._first + self._room]
        return [("", "".join(f"  {line}\n" for line in lines))]

    def _more(self) -> StyleAndTextTuples:
        below = len(self._wrapped()) - self._first - self._room
        return [("", f"  {below} more lines below" if below > 0 else "")]


def wrap(text: str, columns: int) -> list[str]:
    """Lines of at most so many columns. A line that fits keeps its blanks, as tables need."""
    lines: list[str] = []
    for line in text.split("\n"):
        if width(line) <= columns:
            lines.append(line)
            continue
        indent = " " * (len(line) - len(line.lstrip()))
        current = ""
        for word in line.split():
            longer = f"{current} {word}" if current else f"{indent}{word}"
            if current and width(longer) > columns:
                lines.append(current)
                longer = f"{indent}{word}"
            current = cut(longer, columns)
        lines.append(current)
    return lines


def _begins_word(text: str, start: str) -> bool:
    return any(word.startswith(start) for word in text.replace("/", " ").replace("(", " ").split())

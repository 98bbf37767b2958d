"""What a section of a report is made of; the page and the card set the same blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from training.format import sentence, shown


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: a text, a bar from 0 to 1, a smaller note, more words below."""

    text: str
    note: str = ""
    bar: float | None = None
    more: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph; a `strong` one is the finding of its section."""

    words: str
    strong: bool = False
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of sentences."""

    items: tuple[str, ...]
    kind: str = "bullets"


@dataclass(frozen=True, slots=True)
class Table:
    """A table; the first column names its rows, those in `numbers` are set right.

    One that `stacks` stands on a narrow screen row under row, each cell with its column's name.
    """

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    numbers: frozenset[int] = frozenset()
    marked: frozenset[int] = frozenset()
    stacks: bool = False
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Figure:
    """A picture that is drawn only where it is shown, and its caption."""

    draw: Callable[[], str]
    caption: str
    kind: str = "figure"

    @property
    def svg(self) -> str:
        """The picture as SVG text."""
        return self.draw()


@dataclass(frozen=True, slots=True)
class Panels:
    """Small pictures, to be read row by row, under one caption; drawn only where they are shown."""

    draw: Callable[[], tuple[str, ...]]
    caption: str
    kind: str = "panels"

    @property
    def svgs(self) -> tuple[str, ...]:
        """The pictures as SVG texts."""
        return self.draw()


@dataclass(frozen=True, slots=True)
class Fact:
    """One key figure: the number, what it is, and what it means in words."""

    number: str
    name: str
    words: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Key figures side by side."""

    items: tuple[Fact, ...]
    kind: str = "facts"


@dataclass(frozen=True, slots=True)
class Card:
    """One segment: its name, who it is, its figures, and what sets it apart."""

    title: str
    sentence: str
    facts: tuple[tuple[str, str], ...]
    over: tuple[str, ...] = ()
    under: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cards:
    """Segments side by side."""

    items: tuple[Card, ...]
    kind: str = "cards"


Block = Text | Bullets | Table | Figure | Panels | Facts | Cards


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its blocks; `id` is the target of links."""

    id: str
    title: str
    blocks: Sequence[Block] = field(default=())


def table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str | Cell]],
    words: Sequence[int] = (0,),
    marked: Sequence[int] = (),
    *,
    stacks: bool = False,
) -> Table:
    """A table of texts or cells.

    Args:
        caption: What the table shows.
        header: The name of each column.
        rows: Cells by row.
        words: The columns that hold words; all others hold numbers.
        marked: The rows to be pointed out.
        stacks: Whether its rows stand one under the other on a narrow screen.
    """
    return Table(
        caption,
        tuple(header),
        tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in rows),
        frozenset(range(len(header))) - frozenset(words),
        frozenset(marked),
        stacks,
    )


def bullets(title: str, items: Sequence[str] | None) -> list[Block]:
    """A title and its sentences; nothing where there are none."""
    if not items:
        return []
    return [Text(f"{title}:"), Bullets(tuple(sentence(shown(item)) for item in items))]

"""What sections of a report are made of; the page, the model card and the terminal render the same."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from engine.pages.format import sentence, shown


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of a table: a text, a smaller note, a bar from 0 to 1, more words below.

    It may span several columns.
    """

    text: str
    note: str = ""
    bar: float | None = None
    more: str = ""
    span: int = 1


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
class TableBlock:
    """A table; the first column names its rows, columns in `numbers` are right-aligned.

    With `stacks`, a narrow screen shows one row under the other, each cell with its column's name.
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
    """A picture with its caption, drawn only if it is shown.

    Attributes:
        draw: Returns the SVG text.
        caption: The finding, and how to read the picture.
        table: The same figures for renderers that show no pictures.
    """

    draw: Callable[[], str]
    caption: str
    table: TableBlock | None = None
    kind: str = "figure"

    @property
    def svg(self) -> str:
        """The picture."""
        return self.draw()


@dataclass(frozen=True, slots=True)
class Panels:
    """Small pictures under one caption, row by row; `draws` return their SVG texts."""

    draws: tuple[Callable[[], str], ...]
    caption: str
    kind: str = "panels"

    @property
    def svgs(self) -> tuple[str, ...]:
        """The pictures."""
        return tuple(draw() for draw in self.draws)


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


Block = Text | Bullets | TableBlock | Figure | Panels | Facts | Cards


def without_pictures(blocks: Iterable[Block]) -> list[Block]:
    """Blocks for a renderer without pictures: a picture is replaced by its table, if it has one."""
    found: list[Block] = []
    for block in blocks:
        if isinstance(block, Figure):
            found += [block.table] if block.table else []
        elif not isinstance(block, Panels):
            found.append(block)
    return found


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
) -> TableBlock:
    """A table of texts or cells.

    Args:
        caption: What the table shows.
        header: The name of each column.
        rows: Cells by row.
        words: The columns that hold words; all others hold numbers.
        marked: The highlighted rows.
        stacks: Whether a narrow screen shows one row under the other.
    """
    return TableBlock(
        caption,
        tuple(header),
        tuple(tuple(c if isinstance(c, Cell) else Cell(c) for c in row) for row in rows),
        frozenset(range(len(header))) - frozenset(words),
        frozenset(marked),
        stacks,
    )


def bullets(title: str, items: Sequence[str] | None) -> list[Block]:
    """A title and its sentences, if there are any."""
    if not items:
        return []
    return [Text(f"{title}:"), Bullets(tuple(sentence(shown(item)) for item in items))]

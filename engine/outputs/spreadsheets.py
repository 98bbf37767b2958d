"""Texts that a spreadsheet would run as formulas, made harmless."""

import polars as pl
from polars.selectors import by_name

# What OWASP lists under "CSV injection": https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = r"^[=+\-@\t\r\n]"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"


def without_formulas(frame: pl.LazyFrame) -> pl.LazyFrame:
    """The same table with an apostrophe before every text that begins like a formula.

    Column names are texts like any other; a text that is a plain number stays as it is.
    """
    columns = frame.collect_schema()
    names = pl.Series(list(columns), dtype=pl.String).to_frame("name").select(_harmless("name"))
    texts = (pl.String, pl.Categorical, pl.Enum)
    return frame.with_columns(
        _harmless(name) for name, dtype in columns.items() if dtype.base_type() in texts
    ).rename(dict(zip(columns, names["name"], strict=True)))


def _harmless(name: str) -> pl.Expr:
    text = by_name(name).cast(pl.String)
    runs = text.str.contains(_FORMULA) & ~text.str.contains(_NUMBER)
    return pl.when(runs).then(pl.lit("'") + text).otherwise(text).alias(name)

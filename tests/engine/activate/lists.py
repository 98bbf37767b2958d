"""Lists made from score files."""

import polars as pl

from engine.activate.audience import make_audience
from engine.activate.campaign import read_campaign
from engine.activate.options import AudienceOptions
from tests.helpers import read_table


def make(source, out=None, **options):
    """The list and its campaign file."""
    sources = [source] if not isinstance(source, list) else source
    out = out or sources[0].parent / "list.parquet"
    made = make_audience([str(path) for path in sources], out, AudienceOptions(**options))
    campaign = read_campaign(out.with_name(f"{out.name}.campaign.json"))
    assert campaign == made.campaign
    return read_table(out), campaign


def contactable(scores):
    return scores.filter(~pl.col("in_control_group"))

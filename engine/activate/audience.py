"""From scores to a list that a sender can take, all or nothing. Start here.

Options decide who passes and who ranks higher; `selection` admits users, `columns` says what the list
holds, and the campaign file beside it says how it was made.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from engine.activate.arms import CONTROL, arm_column
from engine.activate.campaign import Campaign, score_files
from engine.activate.columns import (
    ARM,
    CAMPAIGN,
    TABLE_MARKS,
    Template,
    list_columns,
    list_rows,
    load_template,
    needed_by,
    repeated_headers,
)
from engine.activate.options import AudienceOptions
from engine.activate.profit import ContactProfits, open_contact_profits
from engine.activate.score_rows import Scores, open_scores
from engine.activate.selection import (
    CONTACTED,
    CONTROL_USER,
    Filters,
    Ranking,
    admit,
    rank_users,
)
from engine.activate.suppression import suppressed_ids, warn_of_unmatched
from engine.bundle.open import Bundle, open_bundle
from engine.bundle.score_file import score_keys
from engine.errors import CannotCreateError, InputError, UsageError, pluralize, quoted
from engine.format import visible
from engine.inputs.open import input_paths, open_inputs
from engine.inputs.tables import Table
from engine.interruption import finished, started
from engine.logs import LOG
from engine.outputs.paths import (
    Destination,
    ScoresFile,
    Targets,
    check_apart,
    check_outside_bundles,
)
from engine.outputs.sink import Sink
from engine.outputs.writer import Written

DECIMALS = 2
"""Of expected buyers and amounts of money."""


@dataclass(frozen=True, slots=True)
class Audience:
    """A published list.

    Attributes:
        label: Where it is.
        campaign: What its campaign file says.
        left_out: The users of the scores who are not in it, by reason.
        currency: The currency of profits and costs, if it is known.
    """

    label: str
    campaign: Campaign
    left_out: Mapping[str, int]
    currency: str

    def to_lines(self) -> list[str]:
        """The audience in words."""
        campaign = self.campaign
        name = "" if campaign.campaign is None else f" of campaign {campaign.campaign}"
        arms = ", ".join(f"{arm} {users:,}" for arm, users in campaign.users_by_arm.items())
        lines = [f"{pluralize(campaign.users, 'user')} to contact{name}: {arms}"]
        comparable = f"{pluralize(campaign.control_users, 'control user')} to compare them with"
        lines.append(comparable + (", in the list too" if campaign.control_included else ""))
        lines.append(
            f"expected buyers: {campaign.expected_buyers:,.0f}, contacted or not: an upper bound of what "
            "contacting wins"
        )
        if campaign.expected_profit is not None:
            lines.append(f"expected profit: at most {self._money(campaign.expected_profit)}")
        if campaign.cost is not None:
            lines.append(f"cost of contacts: {self._money(campaign.cost)}")
        left_out = [f"{users:,} {reason}" for reason, users in self.left_out.items() if users]
        if left_out:
            lines.append(f"left out: {', '.join(left_out)}")
        return [*lines, f"list: {visible(self.label)}"]

    def _money(self, amount: float) -> str:
        return f"{amount:,.2f} {self.currency}".rstrip()


def make_audience(
    inputs: Sequence[str],
    out: str | Path | Destination,
    options: AudienceOptions = AudienceOptions(),  # noqa: B008 - it is frozen
) -> Audience | None:
    """Make a list of the users to contact, and the campaign file beside it, all or nothing.

    Args:
        inputs: Score files of one bundle and date: files, globs, directories, or `-`.
        out: Where the list goes; the ending of a file decides its format.
        options: See `AudienceOptions`.

    Returns:
        The audience; None if the list exists and is to be skipped.

    Raises:
        EngineError: Its kind says what went wrong; an earlier list is unchanged.
    """
    destination = ScoresFile(Path(out)) if isinstance(out, str | Path) else out
    # NOTE: `Path.with_name` raises where there is no name, as in ".".
    campaign_file = destination.path.parent / f"{destination.path.name}.campaign.json"
    targets = Targets.of(destination, summary=campaign_file)
    for path in targets.paths:
        check_outside_bundles(path, options.bundle)
    if options.if_exists == "skip" and destination.exists():
        return None
    template = None if options.template is None else load_template(options.template)
    bundle = open_bundle(options.bundle) if options.bundle and options.by == "profit" else None
    profits = None if bundle is None else open_contact_profits(bundle, options.cost)
    filters = Filters(options.segments, options.bands, options.min_probability)
    with _sink(targets, options, template) as sink:
        targets.check(replace=options.if_exists == "replace")
        _check_campaign_file(campaign_file, options)
        sink.prepare()
        with open_inputs(inputs, limits=options.limits) as tables:
            _check_apart(targets, inputs, tables, options)
            hashes = started(partial(score_files, tables))
            found = tables[0].columns.names()
            keys = score_keys(found, tables[0].name)
            columns = list_columns(options, template, found, keys.names)
            _check_marks(destination, columns)
            scores = open_scores(tables, keys, needed_by(options, columns))
            _check_bundle(scores, bundle)
            suppressed = suppressed_ids(options.suppress, scores.id, options.limits)
            ranking = rank_users(scores, filters, suppressed, profits)
            role, cutoff = admit(ranking, scores, options)
            if CONTROL in options.arms:
                _draw_control(role, scores, options)
            left_out = _left_out(ranking, role, options)
            _check_anybody(scores, role, left_out)
            users_by_arm = _write(sink, scores, role, columns, options)
            files = finished(hashes)
        campaign = Campaign(
            campaign=options.campaign,
            bundle_id=scores.bundle_id,
            snapshot_date=scores.snapshot_date,
            id=scores.id,
            scores=files,
            filters=filters,
            by=options.by,
            cutoff=cutoff,
            arms=options.drawn_arms,
            users_by_arm=users_by_arm,
            control_included=options.include_control,
            suppressed=ranking.suppressed,
            **_figures(ranking, role, options, profits),
        )
        written, _ = sink.finish()
        sink.publish(campaign.to_json(), b"")
    warn_of_unmatched(suppressed, ranking.unmatched)
    _warn_of_size(targets.label, written, template)
    return Audience(targets.label, campaign, left_out, profits.currency if profits else "")


def _sink(targets: Targets, options: AudienceOptions, template: Template | None) -> Sink:
    suffix = targets.destination.suffix.lower()
    if template is not None and suffix not in template.endings:
        raise UsageError(
            f"{targets.label}: {options.template} takes {quoted(template.endings)}, not {suffix!r}. Give "
            "--out such an ending."
        )
    return Sink(
        targets,
        repeated_headers(options, template),
        replace=options.if_exists == "replace",
        for_spreadsheets=options.csv_for_spreadsheets,
    )


def _check_campaign_file(path: Path, options: AudienceOptions) -> None:
    """Check that no campaign file is lost whose list is elsewhere by now."""
    if path.exists() and options.if_exists != "replace":
        raise CannotCreateError(
            f"{path}: exists already, and its list does not. Use --if-exists replace, or another --out."
        )


def _check_apart(
    targets: Targets, inputs: Sequence[str], tables: Sequence[Table], options: AudienceOptions
) -> None:
    """Check that nothing that is read is replaced."""
    files = [table.path for table in tables if table.path is not None]
    files += input_paths(options.suppress)
    check_apart(targets.paths, [*inputs, *options.suppress], files)


def _check_marks(destination: Destination, columns: Mapping[str, str]) -> None:
    absent = [name for name in TABLE_MARKS if name not in columns]
    if absent and not destination.is_file:
        raise UsageError(
            f"{destination.label}: a list in a table needs the columns {quoted(TABLE_MARKS)}, by which it is "
            f"known when it is replaced; found no {quoted(absent)}. Add them to --columns."
        )


def _check_bundle(scores: Scores, bundle: Bundle | None) -> None:
    if bundle is not None and bundle.manifest.bundle_id != scores.bundle_id:
        raise InputError(
            f"{scores.names}: scores of another bundle: "
            f"{scores.bundle_id}, expected {bundle.manifest.bundle_id}. Give the one that made them as "
            "--bundle."
        )


def _draw_control(role: np.ndarray, scores: Scores, options: AudienceOptions) -> None:
    """Make control users of those admitted whom the campaign draws into its own arm "control"."""
    end = 0
    for frame in scores.read([scores.id]):
        start, end = end, end + frame.height
        admitted = np.flatnonzero(role[start:end] == CONTACTED)
        ids = frame[scores.id].gather(admitted)
        arm = arm_column(ids, options.campaign, options.drawn_arms)
        role[start + admitted[(arm == CONTROL).to_numpy()]] = CONTROL_USER


def _left_out(ranking: Ranking, role: np.ndarray, options: AudienceOptions) -> dict[str, int]:
    """The users who are not in the list, by reason."""

    def users(roles: np.ndarray, wanted: int) -> int:
        return int(np.count_nonzero(roles == wanted))

    in_list = users(role, CONTROL_USER) if options.include_control else 0
    drawn = int(np.count_nonzero((ranking.role == CONTACTED) & (role == CONTROL_USER)))
    loss = " or at an expected loss" if options.by == "profit" else ""
    return {
        **ranking.left_out,
        "suppressed": ranking.suppressed,
        "in the control group": users(ranking.role, CONTROL_USER) + drawn - in_list,
        f"ranked below the cutoff{loss}": users(ranking.role, CONTACTED)
        - users(role, CONTACTED)
        - drawn,
    }


def _check_anybody(scores: Scores, role: np.ndarray, left_out: Mapping[str, int]) -> None:
    if not np.any(role == CONTACTED):
        reasons = ", ".join(f"{users:,} {reason}" for reason, users in left_out.items() if users)
        raise InputError(
            f"{scores.names}: nobody to contact: of "
            f"{pluralize(scores.rows, 'user')}, {reasons}. Nothing was published. Loosen the filters or the "
            "limit."
        )


def _write(
    sink: Sink,
    scores: Scores,
    role: np.ndarray,
    columns: Mapping[str, str],
    options: AudienceOptions,
) -> dict[str, int]:
    """Write the users of the list, in the order of the scores; gives the users of each arm."""
    users: Counter[str] = Counter()
    is_listed = role == CONTACTED
    if options.include_control:
        is_listed |= role == CONTROL_USER
    end = 0
    for frame in scores.read({scores.id, *columns.values()} - {CAMPAIGN, ARM}):
        rows = slice(end, end := end + frame.height)
        listed = frame.filter(is_listed[rows])
        arm = arm_column(listed[scores.id], options.campaign, options.drawn_arms)
        is_contacted = pl.Series((role[rows] == CONTACTED)[is_listed[rows]])
        arm = arm.zip_with(is_contacted, pl.Series([CONTROL]))
        users.update(dict(arm.value_counts().iter_rows()))
        sink.write(list_rows(listed, arm, columns, options.campaign))
    return {name: users[name] for name in options.drawn_arms if name != CONTROL}


def _figures(
    ranking: Ranking, role: np.ndarray, options: AudienceOptions, profits: ContactProfits | None
) -> dict[str, Any]:
    """The sizes and amounts of a campaign."""
    is_contacted = role == CONTACTED
    users = int(np.count_nonzero(is_contacted))
    cost = None if options.cost is None else options.cost * users
    profit = None
    if profits is not None and ranking.cell is not None:
        profit = round(float(ranking.rank[is_contacted].sum(dtype=np.float64)), DECIMALS)
        cost = float(profits.costs[ranking.cell[is_contacted]].sum())
    buyers = float(ranking.probability[is_contacted].sum(dtype=np.float64))
    return {
        "users": users,
        "control_users": int(np.count_nonzero(role == CONTROL_USER)),
        "expected_buyers": round(buyers, DECIMALS),
        "expected_profit": profit,
        "cost": None if cost is None else round(cost, DECIMALS),
    }


def _warn_of_size(label: str, written: Written | None, template: Template | None) -> None:
    if written is None or template is None or template.max_megabytes is None:
        return
    if written.size_bytes > template.max_megabytes * 1_000_000:
        LOG.warning(
            "warning: %s: has %.0f MB, and the sender takes at most %d MB. Split the file before uploading it.",
            label,
            written.size_bytes / 1e6,
            template.max_megabytes,
        )

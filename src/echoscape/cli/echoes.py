"""`echoscape echoes`: make the echoes of passive targets from reports, or samples of echoes.

Takes files of reports, or a site.
Gives files of echoes, or of samples.
"""

from pathlib import Path
from typing import Annotated

import cyclopts

from echoscape.cli.console import (
    Json,
    Quiet,
    Seed,
    print_json,
    print_line,
    progress,
    use_double_precision,
)
from echoscape.cli.options import check_deviations, check_table
from echoscape.cli.reports import read_site
from echoscape.cli.sample import sample

app = cyclopts.App(name="echoes", help="Make the echoes of passive targets, or samples of them.")
app.command(sample)

_Share = Annotated[float, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=0))]
_Count = Annotated[int, cyclopts.Parameter(validator=cyclopts.validators.Number(gte=1))]


@app.command
def make(
    targets: Path,
    /,
    *,
    out: Path,
    link_budget: Path | None = None,
    angle_std: float | None = None,
    delay_std: float | None = None,
    cross_section: float | None = None,
    carrier_frequency: float | None = None,
    strongest: _Count = 5,
    missed: _Share = 0.0,
    false: Annotated[_Share, cyclopts.Parameter(negative="")] = 0.0,
    site: Path | None = None,
    seed: Seed = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Take the users of some reports as passive targets and make their echoes.

    Without --angle-std and --delay-std a link budget decides which echoes are heard and how well
    they are measured.

    Args:
        targets: Reports as .parquet or .csv.
        out: File of echoes to write, .parquet or .csv.
        link_budget: TOML file of the link; a 28 GHz small cell and a car if not given.
        angle_std: Standard deviation of every angle [rad].
        delay_std: Standard deviation of every two-way delay [s].
        cross_section: With stated deviations: radar cross-section of every target, 10 if not
            given [m^2].
        carrier_frequency: With stated deviations: the carrier, 28e9 if not given [Hz].
        strongest: How many of a target's paths take part, in all ordered pairs.
        missed: Share of the echoes that are lost for other reasons.
        false: Mean number of false echoes for each true one.
        site: TOML file that places the stations where the reports do not.
        seed: Seed of everything random.
        json: Print JSON for programs.
        quiet: Show no progress.
    """
    use_double_precision()
    import jax

    from echoscape.checks import InputError
    from echoscape.estimation import LinkBudget
    from echoscape.reports import read_reports, write_echoes
    from echoscape.reports.echo_making import make_echoes

    fixed = (angle_std, delay_std)
    if link_budget is not None and fixed != (None, None):
        raise InputError("give either --link-budget or --angle-std and --delay-std, not both")
    if (angle_std is None) != (delay_std is None):
        raise InputError("give --angle-std [rad] and --delay-std [s] together, or neither of them")
    check_deviations(angle_std, delay_std)
    check_table(out, "echoes")
    budget = None if angle_std is not None else LinkBudget()
    if link_budget is not None:
        budget = LinkBudget.from_toml(link_budget)
    with progress("reading", quiet) as tell:
        users = read_reports(targets, read_site(site))
        tell(1, 3, "echoes of every pair of paths, compiling")
        made = make_echoes(
            users,
            jax.random.key(seed),
            budget=budget,
            angle_std=angle_std,
            delay_std=delay_std,
            cross_section=cross_section,
            carrier_frequency=carrier_frequency,
            strongest=strongest,
            missed=missed,
            false=false,
        )
        tell(2, 3, "writing")
        write_echoes(made.echoes, out)
    summary = {
        "targets": len(made.echoes.target),
        "targets_heard": int((made.echoes.estimates.valid.sum(axis=1) > 0).sum()),
        "echoes_possible": int(made.possible.sum()),
        "echoes_detectable": int(made.detectable.sum()),
        "echoes_written": int(made.echoes.estimates.valid.sum()),
    }
    if json:
        print_json(summary)
        return
    print_line(
        f"{out}: {summary['echoes_written']} echoes of {summary['targets']} targets, "
        f"{summary['targets_heard']} of which are heard; {summary['echoes_detectable']} of "
        f"{summary['echoes_possible']} possible echoes are detectable"
    )

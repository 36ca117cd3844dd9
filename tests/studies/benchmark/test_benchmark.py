"""Every task and every method in small; methods of all tempers; rows, table, page, submission."""

import dataclasses
import functools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from echoscape.channel_map import (
    Extrapolated,
    Scatterers,
    VirtualAnchorNetwork,
    VirtualAnchors,
)
from echoscape.checks import InputError
from echoscape.cli import main
from echoscape.studies.benchmark import baselines, leaderboard, running
from echoscape.studies.benchmark.answers import score_or_status
from echoscape.studies.benchmark.baselines import BASELINES
from echoscape.studies.benchmark.entries import entry_of
from echoscape.studies.benchmark.running import run
from echoscape.studies.benchmark.tasks import TASKS, fingerprint, frozen, same_data

HERE = Path(__file__).parent
METHODS = HERE / "methods.py"
QUICK = "few-reports"
"""A task whose world is read, not traced."""
VISITED = {"locate": "room", "image": "image-coherent", "track": "track-city",
           "estimate": "echo-estimation", "spread": "channel-statistics"}  # fmt: skip
"""A task of each kind on which every method runs, of targets the one that compiles soonest; on the
others the cheapest method does."""
CHEAP = {"locate": "geometry", "image": "points", "track": "straight-on", "estimate": "geometry",
         "spread": "geometry"}  # fmt: skip


def row_of(task, method, **more):
    (row,) = run([task], [method], size="small", **more)
    return row


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_what_it_was_and_can_be_solved(task):
    row = row_of(task, CHEAP[TASKS[task].kind], isolated=False)
    assert same_data(row["data"], frozen()[task]["small"]), row["data"]
    assert row["status"] == "ok", row["detail"]
    assert np.isfinite(row["value"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "method"), [(kind, name) for name, kinds in BASELINES.items() for kind in kinds]
)
def test_every_method_answers_where_it_applies(kind, method, monkeypatch):
    if method == "virtual-anchor-network":  # ten thousand steps take two minutes
        few = functools.partial(BASELINES[method][kind].func, model=VirtualAnchorNetwork(steps=200))
        monkeypatch.setitem(BASELINES[method], kind, few)
    row = row_of("square" if method == "bound" else VISITED[kind], method, isolated=False)
    assert row["status"] == "ok", row["detail"]
    assert row["value"] is not None or "lost" in row["scores"]
    assert row["informed"] == (method in ("oracle", "bound"))


def test_the_model_of_a_map_follows_from_what_the_reports_hold():
    problem, _ = TASKS[QUICK].problem("small")
    assert type(baselines._own(problem)) is VirtualAnchors
    own = dataclasses.replace(problem, heard=problem.reports.estimates)
    assert type(baselines._own(own)) is Extrapolated
    paths = problem.reports.estimates
    blind = dataclasses.replace(
        paths, arrival_azimuth_std=np.full_like(paths.arrival_azimuth_std, np.inf)
    )
    reports = dataclasses.replace(problem.reports, estimates=blind)
    assert type(baselines._own(dataclasses.replace(problem, reports=reports))) is Scatterers


def test_every_task_has_a_kind_sizes_and_stored_data():
    assert set(frozen()) == set(TASKS)
    assert len(TASKS) >= 12
    for task in TASKS.values():
        assert task.kind in VISITED
        assert set(frozen()[task.name]) == {"full", "small"}
        assert task.hash("full") != task.hash("small")
    assert len({task.hash() for task in TASKS.values()}) == len(TASKS)


def test_a_method_that_does_not_apply_is_a_row():
    row = row_of(QUICK, "music", isolated=False)
    assert row["status"] == "not applicable"
    assert row["value"] is None


@pytest.mark.parametrize(
    ("function", "status", "said"),
    [
        ("middle", "ok", ""),
        ("not_finite", "not finite", "12 of 12 are not"),
        ("wrong_shape", "wrong shape", "need the shape (4, 3); got (5, 3)"),
        ("wrong_type", "wrong answer", "must be numbers; got str"),
        ("failing", "failed", "ArithmeticError: this is beyond me"),
    ],
)
def test_whatever_a_function_does_is_a_row(function, status, said):
    row = row_of(QUICK, f"{METHODS}:{function}", isolated=False)
    assert (row["status"], row["method"]) == (status, function)
    assert said in row["detail"]
    assert (row["value"] is not None) == (status == "ok")


@pytest.mark.slow
def test_one_that_hangs_or_takes_its_process_down_is_a_row_and_the_next_runs(monkeypatch):
    monkeypatch.setattr(running, "_GRACE", 0.0)
    methods = [f"{METHODS}:{name}" for name in ("hanging", "crashing", "middle")]
    hung, crashed, fine = run([QUICK], methods, size="small", limit=3.0)
    assert (hung["status"], hung["detail"]) == ("timeout", "longer than 3 s")
    assert (crashed["status"], crashed["detail"]) == ("crashed", "its process ended with code 7")
    assert fine["status"] == "ok"


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [("", "ok", ""), ("fail", "failed", "ended with code 1: no idea"),
     ("hang", "timeout", "longer than 2 s")],
)  # fmt: skip
def test_a_program_reads_files_and_writes_an_answer(monkeypatch, words, status, said):
    monkeypatch.setitem(TASKS, "paired", _paired_task())
    command = f"mine={sys.executable} {HERE / 'program.py'} {words}"
    row = row_of("paired", command, isolated=False, limit=20.0 if status != "timeout" else 2.0)
    assert (row["status"], row["method"]) == (status, "mine")
    assert said in row["detail"]
    if status == "ok":  # targets at 0, 10, 20 m are found exactly
        assert row["value"] == 0.0


def _paired_task():
    """A task of three targets without a world behind it."""
    from echoscape.localization import PairedEchoes
    from echoscape.sample import load_sample
    from echoscape.studies.benchmark.answers import Places
    from echoscape.studies.benchmark.problems import Locate

    def make(_):
        one = np.ones((3, 2, 2))
        heard = PairedEchoes(one, one, 1e-7 * one, one > 0, angle_std=0.1, delay_std=1e-8)
        place = np.array([[0.0, 20.0, 0.0], [10.0, 20.0, 0.0], [20.0, 20.0, 0.0]])
        return Locate(load_sample().reports[:3], heard, 0.0), Places(place, None)

    return dataclasses.replace(TASKS["square"], name="paired", make=make)


def test_a_program_that_is_not_there_or_leaves_nothing_is_a_row(monkeypatch):
    monkeypatch.setitem(TASKS, "paired", _paired_task())
    row = row_of("paired", "mine=/nowhere/at/all", isolated=False)
    assert (row["status"], "cannot be started" in row["detail"]) == ("failed", True)
    row = row_of("paired", f"mine={sys.executable} -c pass", isolated=False)
    assert (row["status"], "left no answer" in row["detail"]) == ("failed", True)


@pytest.mark.parametrize(
    ("tasks", "methods", "said"),
    [
        (["squar"], ["nearest"], "there is no task 'squar'; did you mean 'square'?"),
        (["square"], ["nearst"], "there is no method 'nearst'; did you mean 'nearest'?"),
        (["square"], ["gone.py:f"], "there is no file gone.py"),
        (["square"], [f"{METHODS}:centre"], "has no function 'centre'"),
        (["square"], ["nearest", "nearest"], "methods need different names"),
    ],
)
def test_what_is_unknown_is_named(tasks, methods, said):
    with pytest.raises(InputError, match=said.replace("?", r"\?")):
        run(tasks, methods, size="small")


def test_other_data_are_noticed_and_round_off_is_not():
    problem, truth = TASKS[QUICK].problem("small")
    mine = fingerprint(problem, truth)
    assert same_data(mine, fingerprint(problem, truth))
    moved = truth._replace(position=truth.position + 1e-9)
    assert same_data(mine, fingerprint(problem, moved))
    moved = truth._replace(position=truth.position * np.array([1.0, 1.0, 1.1]))
    assert not same_data(mine, fingerprint(problem, moved))


def test_scores_are_of_the_answer():
    problem, truth = TASKS[QUICK].problem("small")
    off = np.array([[3.0, 4.0, 0.0]])
    status, _, scores = score_or_status(problem, truth, truth.position + off)
    assert status == "ok"
    assert scores["median"] == pytest.approx(5.0)
    assert scores["within_3"] == 0.0
    image, voxels = TASKS["image-coherent"].problem("small")
    exact = voxels.truth.coefficient.reshape(image.grid.shape)
    assert score_or_status(image, voxels, exact)[2]["f1"] == 1.0
    one = exact.copy()
    seen = np.flatnonzero((voxels.truth.coefficient != 0) & voxels.truth.in_range)
    one.ravel()[seen[0]] = 0.0
    missed = score_or_status(image, voxels, one)[2]
    assert missed["f1"] == pytest.approx(2 * (len(seen) - 1) / (2 * len(seen) - 1))


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """Rows of the full size, by a task that is small in truth."""
    small = {n: {"full": each["small"], "small": each["small"]} for n, each in frozen().items()}
    monkeypatch.setattr(leaderboard, "frozen", lambda: small)
    monkeypatch.setitem(TASKS, QUICK, dataclasses.replace(TASKS[QUICK], full=TASKS[QUICK].small))
    file = tmp_path / "rows.jsonl"
    found = run([QUICK], ["geometry", f"{METHODS}:not_finite"], file=file, isolated=False)
    return file, found


def test_rows_go_to_the_leaderboard_with_their_status(rows, tmp_path, capsys):
    file, found = rows
    into = tmp_path / "board.jsonl"
    assert main(["bench", "submit", str(file), "--into", str(into)]) == 0
    assert leaderboard.read_rows([into]) == found
    text = leaderboard.page(leaderboard.read_rows([into]))
    line = next(line for line in text.splitlines() if line.startswith(f"| {QUICK} |"))
    assert f"{found[0]['value']:.3g}" in line
    assert "not finite" in line
    assert "not run" in line
    image = next(line for line in text.splitlines() if line.startswith("| image-solid |"))
    assert image.count("not applicable") == 3  # network, nearest and bound make no image
    assert main(["bench", "table", str(into)]) == 0
    assert "not finite" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 0.1}, "changed after it was measured"),
        ({"task_hash": "0"}, "not as it is now"),
        ({"size": "small"}, "not as it is now"),
        ({"data": [1.0, 2.0, 3.0]}, "data are not those of the task"),
        ({"status": "splendid"}, "its status is none of"),
    ],
)
def test_rows_that_do_not_belong_are_refused(rows, tmp_path, change, said):
    row = {**rows[1][0], **change}
    if "value" not in change:
        row["hash"] = running.row_hash(row)
    with pytest.raises(InputError, match=said):
        leaderboard.submit([row], tmp_path / "board.jsonl")
    assert not (tmp_path / "board.jsonl").exists()


def test_the_command_runs_shows_and_goes_on(tmp_path, capsys):
    out = tmp_path / "rows.jsonl"
    words = ["bench", "run", "--tasks", QUICK, "--methods", "music", "--small", "--quiet"]
    assert main([*words, "--out", str(out)]) == 0
    assert "not applicable" in capsys.readouterr().out
    before = out.read_bytes()
    assert main([*words, "--out", str(out)]) == 0
    assert out.read_bytes() == before
    assert main(["bench", "run", "--tasks", "cities", "--out", str(out)]) == 2
    assert "there is no task 'cities'" in capsys.readouterr().err
    assert main(["bench", "list", "square", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["tasks"][0]["measure"]["name"] == "median"
    assert main(["bench", "list", QUICK, "--write", str(tmp_path / "files")]) == 0
    plain = json.loads((tmp_path / "files/problem.json").read_text())
    assert plain["reports"] == "reports.parquet"
    assert (tmp_path / "files/heard.parquet").exists()
    assert plain["height"] == 1.5


def test_the_page_is_what_its_rows_say():
    docs = Path(__file__).parents[3] / "docs"
    rows = leaderboard.read_rows([docs / "leaderboard.jsonl"])
    assert [leaderboard.problems_of(row) for row in rows] == [None] * len(rows)
    assert (docs / "leaderboard.md").read_text(encoding="utf-8") == leaderboard.page(rows)


def test_a_callable_is_a_method():
    entry = entry_of(lambda problem: problem.count)
    assert entry.solve(TASKS[QUICK].problem("small")[0], None) == 4

"""Every promise of tracking, measured on half a minute of the sample city."""

import json

import pytest

from echoscape.cli import main


@pytest.mark.slow
def test_every_promise_has_rows_with_a_limit(tmp_path, capsys):
    arguments = [
        "reproduce", "isac-targets", "--out", str(tmp_path / "study"), "--seconds", "30",
        "--requirements", "T1,T2,T4,T5,T6,T9,T10", "--quiet", "--json",
    ]  # fmt: skip
    assert main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row["promise"] for row in rows} == {"T1", "T2", "T4", "T5", "T6", "T9", "T10"}
    assert all(row["status"] in ("met", "missed") and row["count"] > 0 for row in rows)
    kept = {row["promise"]: [] for row in rows}
    for row in rows:
        kept[row["promise"]].append(row["status"] == "met")
    for name in ("T1", "T2", "T9", "T10"):  # geometry, whatever the city
        assert all(kept[name]), [row for row in rows if row["promise"] == name]
    file = (tmp_path / "study/rows.jsonl").read_text()
    assert main(arguments) == 0
    assert (tmp_path / "study/rows.jsonl").read_text() == file


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--requirements", "T1,T99"], "there is no requirement 'T99'"),
        (["--route", "a.npz"], "needs the walls that it was traced in"),
        (["--seconds", "3"], "--seconds must be at least 25, in s"),
    ],
)
def test_what_makes_no_study_is_refused(tmp_path, capsys, arguments, message):
    code = main(["reproduce", "isac-targets", "--out", str(tmp_path / "study"), *arguments])
    assert code == 2
    assert message in capsys.readouterr().err

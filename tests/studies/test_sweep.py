"""A sweep measures each setting once, survives interruption and never mixes settings."""

import json

import pytest

from echoscape.checks import InputError
from echoscape.studies.sweep import read_sweep, setting_name, sweep

SETTINGS = [{"level": level, "seed": seed} for level in (0.5, 2.0) for seed in (3, 4)]


def _measure(setting):
    return [{"error": setting["level"] * setting["seed"], "method": name} for name in "ab"]


def test_an_interrupted_sweep_goes_on_where_it_ended(tmp_path):
    file = tmp_path / "deep" / "rows.jsonl"
    seen = []

    def once(setting):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(setting)
        return _measure(setting)

    with pytest.raises(KeyboardInterrupt):
        sweep(SETTINGS, once, file)
    again = []
    rows = sweep(SETTINGS, lambda setting: again.append(setting) or _measure(setting), file)
    assert seen == SETTINGS[:2]
    assert again == SETTINGS[2:]
    assert rows == sweep(SETTINGS, _measure)
    assert rows[-1] == {"level": 2.0, "seed": 4, "error": 8.0, "method": "b"}


def test_a_line_cut_short_is_measured_again(tmp_path):
    file = tmp_path / "rows.jsonl"
    rows = sweep(SETTINGS, _measure, file)
    text = file.read_text()
    file.write_text(text[:-20])
    assert len(read_sweep(file)) == 3
    assert sweep(SETTINGS, _measure, file) == rows
    assert file.read_text() == text


def test_names_follow_content_and_not_order():
    assert setting_name({"a": 1, "b": 2.5}) == setting_name({"b": 2.5, "a": 1})
    assert setting_name({"a": 1, "b": 2.5}) != setting_name({"a": 1, "b": 2.25})


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="different content"):
        sweep([SETTINGS[0], dict(SETTINGS[0])], _measure)
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(["no rows"]) + "\n")
    with pytest.raises(InputError, match="line 1 is not: move the file away"):
        sweep(SETTINGS, _measure, file)


def test_progress_is_told(tmp_path):
    told = []
    sweep(SETTINGS, _measure, progress=lambda *words: told.append(words))
    assert told[0] == (0, 4, "level 0.5, seed 3")
    assert told[-1] == (4, 4, "")

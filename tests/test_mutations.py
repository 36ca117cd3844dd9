"""The list of mutations keeps up with the code: snippets occur once, tests exist."""

import importlib.util
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
_FILE = importlib.util.spec_from_file_location("mutate", ROOT / "tools/mutate.py")
mutate = importlib.util.module_from_spec(_FILE)
sys.modules["mutate"] = mutate  # its dataclass looks itself up there
_FILE.loader.exec_module(mutate)

LISTED = mutate.read()


def test_there_are_at_least_sixty_and_no_two_alike():
    assert len(LISTED) >= 60
    assert len({(each.file, each.name) for each in LISTED}) == len(LISTED)


@pytest.mark.parametrize("mutation", LISTED, ids=lambda m: f"{m.file}-{m.name}")
def test_a_mutation_applies_and_its_tests_exist(mutation):
    if not (ROOT / mutation.tests.split()[0].partition("::")[0]).exists():
        pytest.skip(f"there is no {mutation.tests} yet")
    before = (ROOT / "src/echoscape" / mutation.file).read_text(encoding="utf-8")
    after = mutation.source(ROOT)
    assert after != before
    compile(after, mutation.file, "exec")
    for word in mutation.tests.split():
        if word.startswith("tests/"):
            assert (ROOT / word.partition("::")[0]).exists(), word


def test_a_snippet_that_occurs_twice_or_never_is_refused(tmp_path):
    (tmp_path / "src/echoscape").mkdir(parents=True)
    (tmp_path / "src/echoscape/a.py").write_text("x = 1 +\\\n  2\nx = 3\ny = x\n")
    twice = mutate.Mutation("n", "a.py", "x =", "y =", "")
    with pytest.raises(ValueError, match=r"occurs 2 times in a\.py"):
        twice.source(tmp_path)
    once = mutate.Mutation("n", "a.py", "x = 1 +\\ 2", "x = 0", "")
    assert once.source(tmp_path) == "x = 0\nx = 3\ny = x\n"


def test_stored_rows_are_of_the_list_and_most_were_noticed():
    path = ROOT / "docs/mutation_rows.json"
    if not path.exists():
        pytest.skip("`make mutation` has not stored its rows yet")
    rows = json.loads(path.read_text())
    assert {(row["file"], row["name"]) for row in rows} <= {(m.file, m.name) for m in LISTED}
    noticed = sum(row["verdict"] == "noticed" for row in rows)
    assert noticed >= mutate.ENOUGH * len(rows)

"""Old or new, whole, whenever the writer dies: see `kill_at_every_step`."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import echoscape

WRITES = {
    "write_text", "write_bytes", "tofile", "savefig", "savemat", "savez", "savez_compressed",
    "save", "write_table", "write_csv", "unlink", "rename", "rmtree", "extractall", "truncate",
}  # fmt: skip
BY_THEMSELVES = {
    "files/output.py": "what makes writes whole",
    "files/draft.py": "drafts and what is left of them",
    "studies/city_demo/report.py": "into the draft of the demo's folder",
    "plotting/animation.py": "into the draft of the tracks' folder",
    "studies/sweep.py": "a line appended; one that was cut short is taken off in one step",
    "service/application.py": "into memory, for an answer",
    "reports/messages.py": "into memory, for an answer",
    "sources/batch.py": "into memory, for a message",
    "studies/benchmark/problems.py": "into a folder that one program's run is given",
}


def writes_of(tree):
    """Find calls that change files, outside of blocks that write whole or not at all."""
    whole = {
        inner
        for block in ast.walk(tree)
        if isinstance(block, ast.With) and any("atomic_" in ast.unparse(i) for i in block.items)
        for inner in ast.walk(block)
    }
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or call in whole:
            continue
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        module = ast.unparse(call.func).split(".")[0] if name else ast.unparse(call.func)
        if name in WRITES:
            yield ast.unparse(call)
        mode = [a.value for a in call.args[:2] if isinstance(a, ast.Constant)]
        if "open" in (name, module) and any(set("wax+") & set(str(m)) for m in mode):
            yield ast.unparse(call)


@pytest.mark.slow
def test_a_writer_killed_before_any_of_its_steps_leaves_the_old_or_the_new_result(tmp_path):
    program = Path(__file__).with_name("kill_at_every_step.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [int(count) for count in re.findall(r": (\d+) steps", done.stdout)]
    # a file is opened, brought to the disk, renamed; a folder needs many more operations
    assert len(steps) == 8
    assert min(steps) >= 3
    assert steps[3] >= 20


def test_every_write_of_the_package_is_whole_or_not_at_all():
    above = Path(echoscape.__file__).parent
    found = {}
    for path in above.rglob("*.py"):
        if path.parent.name == "tutorials":  # scripts, which write what their reader sees
            continue
        writes = list(writes_of(ast.parse(path.read_text())))
        if writes:
            found[str(path.relative_to(above))] = writes
    assert set(found) == set(BY_THEMSELVES), found

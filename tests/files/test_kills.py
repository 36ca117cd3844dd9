"""Old or new, whole, whenever the writer dies: see `kill_at_every_step`."""

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_writer_killed_before_any_of_its_steps_leaves_the_old_or_the_new_result(tmp_path):
    program = Path(__file__).with_name("kill_at_every_step.py")
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [int(count) for count in re.findall(r": (\d+) steps", done.stdout)]
    # a file is opened, brought to the disk, renamed; a folder needs many more operations
    assert len(steps) == 6
    assert min(steps) >= 3
    assert steps[3] >= 20

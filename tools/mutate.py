"""Break the code on purpose, one term at a time, and see whether a test notices.

Every mutation of `tools/mutations.toml` names a file below `src/echoscape`, a snippet that occurs
in it once (line breaks and spaces do not count), what to put in its place, and the tests that must
fail then.  The mutated package is a copy; the working tree is never touched.

    python tools/mutate.py                      all of them, as `make mutation` does
    python tools/mutate.py --only tracking      those whose file or name contains the word
    python tools/mutate.py --check              does every snippet still occur once

Prints a line for each and the share that was noticed; exits with 1 below 90 %.  With `--rows FILE`
the rows are stored; those of other mutations stay.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[1]
LIST = ROOT / "tools/mutations.toml"
ENOUGH = 0.9  # share that must be noticed
PATIENCE = 900.0  # [s]: a loop may have become endless, or the machine is busy: nobody knows


@dataclasses.dataclass(frozen=True)
class Mutation:
    """One term changed, and who should notice."""

    name: str
    """What is wrong then, in a few words."""
    file: str
    """Module, below src/echoscape."""
    find: str
    """Snippet that occurs once."""
    replace: str
    """What takes its place."""
    tests: str
    """Arguments of pytest."""

    def source(self, root: pathlib.Path = ROOT) -> str:
        """Return the module with the mutation in it."""
        text = (root / "src/echoscape" / self.file).read_text(encoding="utf-8")
        words = [re.escape(word) for word in self.find.split()]
        found = re.findall(r"\s+".join(words), text)
        if len(found) != 1:
            raise ValueError(f"{self.name}: the snippet occurs {len(found)} times in {self.file}")
        return text.replace(found[0], self.replace.strip("\n"))


def read(path: pathlib.Path = LIST) -> list[Mutation]:
    """Read the list of mutations."""
    with path.open("rb") as file:
        listed = tomllib.load(file)
    return [
        Mutation(tests=mutation.pop("tests", group["tests"]), **mutation)
        for group in listed["group"]
        for mutation in group["mutation"]
    ]


def run(tests: str, source: pathlib.Path) -> tuple[int | None, float, str]:
    """Run tests on a copy of the package; return the exit code, the time and the last lines."""
    command = [sys.executable, "-m", "pytest", "-n", "0", "-x", "-q", "--no-header", "--tb=line"]
    command += ["-m", "slow or not slow"]
    command += ["-p", "no:cacheprovider", *shlex.split(tests)]
    environment = os.environ | {
        "PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1",
        "ECHOSCAPE_UNCHECKED": "1",  # terms should be noticed by values; and it starts sooner
    }  # fmt: skip
    start = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return None, PATIENCE, "took too long"
    tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-4:])
    return done.returncode, time.monotonic() - start, tail


def judge(mutation: Mutation) -> dict[str, object]:
    """Mutate a copy, run the tests on it, and return a row."""
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "src"
        shutil.copytree(ROOT / "src", source)  # with the bytecode of what is not mutated
        target = source / "echoscape" / mutation.file
        target.write_text(mutation.source(), encoding="utf-8")
        code, seconds, tail = run(mutation.tests, source)
    verdict = {0: "survived", 1: "noticed", None: "took too long"}.get(code, "failed to run")
    print(f"{verdict:14} {seconds:5.0f} s  {mutation.file}: {mutation.name}", flush=True)
    if verdict == "failed to run":
        print(tail, flush=True)
    row = {"file": mutation.file, "name": mutation.name, "tests": mutation.tests}
    return row | {"verdict": verdict, "seconds": round(seconds)}


def store(path: pathlib.Path, rows: list[dict[str, object]], listed: list[Mutation]) -> None:
    """Put rows beside those of other mutations that are still listed."""
    kept = json.loads(path.read_text()) if path.exists() else []
    latest = {(row["file"], row["name"]): row for row in [*kept, *rows]}
    order = [(mutation.file, mutation.name) for mutation in listed]
    lines = [json.dumps(latest[each]) for each in order if each in latest]
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a word of the file or the name")
    parser.add_argument("--rows", type=pathlib.Path, help="store the rows in this JSON file")
    parser.add_argument("--check", action="store_true", help="only look whether snippets occur")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    listed = read()
    stale = []
    for mutation in listed:
        try:
            mutation.source()
        except (ValueError, OSError) as problem:
            stale.append(mutation)
            print(f"stale: {problem}")
    if given.check:
        return 1 if stale else 0
    chosen = [m for m in listed if given.only in f"{m.file} {m.name}" and m not in stale]
    if not chosen:
        print("no mutation has this word")
        return 2
    every = list(dict.fromkeys(mutation.tests for mutation in chosen))
    with ThreadPoolExecutor(given.workers) as pool:
        for tests, (code, _, tail) in zip(every, pool.map(lambda t: run(t, ROOT / "src"), every)):
            if code != 0:
                print(f"these tests must pass before anything is broken: {tests}\n{tail}")
                return 2
        rows = list(pool.map(judge, chosen))
    if given.rows:
        store(given.rows, rows, listed)
    share = sum(row["verdict"] == "noticed" for row in rows) / len(rows)
    print(f"{share:.0%} of {len(rows)} mutations noticed; {len(stale)} no longer apply")
    return 0 if share >= ENOUGH and not stale else 1


if __name__ == "__main__":
    sys.exit(main())

"""The version that is built: the tag of the commit, else a development version of the next one.

Hatchling runs this file (``[tool.hatch.version]`` in pyproject.toml).  The tag ``v0.2.0`` on the
commit gives 0.2.0.  Any other commit gives the next version, named below, with ``.dev``, the number
of commits since the last tag and the commit, in a worktree as in a clone; a clone cut short or
without tags counts the commits that it has.  A source distribution says its own version, and
files without either are ``.dev0``.
"""

import pathlib
import re
import subprocess

NEXT = "0.2.0"
"""The version that the next tag will give; raised after each release."""


def find_version(root: pathlib.Path) -> str:
    """Find the version of the files in a folder."""
    about = root / "PKG-INFO"  # of a source distribution
    if about.exists():
        return re.search(r"^Version: (\S+)$", about.read_text(encoding="utf-8"), re.MULTILINE)[1]
    top = _git(root, "rev-parse", "--show-toplevel")
    if not top or pathlib.Path(top).resolve() != root.resolve():  # no repository, or not ours
        return f"{NEXT}.dev0"
    described = _git(root, "describe", "--tags", "--long", "--match", "v[0-9]*")
    if described:
        tag, since, commit = described.rsplit("-", 2)
        if since == "0":
            return tag[1:]
    else:
        since = _git(root, "rev-list", "--count", "HEAD") or "0"
        commit = f"g{_git(root, 'rev-parse', '--short', 'HEAD')}"
    return f"{NEXT}.dev{since}+{commit}"


def _git(root: pathlib.Path, *words: str) -> str:
    try:
        done = subprocess.run(
            ["git", *words], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:  # there is no git
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if "__file__" in globals():
    VERSION = find_version(pathlib.Path(__file__).resolve().parents[1])

"""The container's recipe obeys the rules that a linter would check; nothing is built here."""

import pathlib
import re
import shlex

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
LINES = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
STEPS = [line.split(maxsplit=1) for line in LINES if line and not line.startswith("#")]
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())


def steps(kind):
    return [rest for name, rest in STEPS if name == kind]


def test_images_have_a_version():
    images = [*steps("FROM"), COMPOSE["services"]["database"]["image"]]
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d[\w.]*-(slim-)?bookworm", image), image  # no host, no latest


def test_it_runs_as_nobody_of_importance():
    users = [k for k, (name, _) in enumerate(STEPS) if name == "USER"]
    assert [int(STEPS[k][1]) for k in users] == [10001]
    assert not any(name in ("RUN", "COPY") for name, _ in STEPS[users[-1] :])
    service = COMPOSE["services"]["service"]
    assert service["cap_drop"] == ["ALL"]
    assert service["read_only"]


def test_only_locked_packages_are_installed_and_no_cache_is_left():
    for run in steps("RUN"):
        for part in run.split("&&"):
            if "pip install" in part:
                assert "--no-cache-dir" in part
                assert "--require-hashes" in part or "--no-deps" in part
        assert "sudo" not in run
        assert "apt-get" not in run  # would need lists to be removed
    assert not steps("ADD")


def test_commands_are_lists_and_what_is_copied_exists():
    for kind in ("CMD", "ENTRYPOINT"):
        assert all(step.startswith("[") for step in steps(kind)), kind
    allowed = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    for copy in steps("COPY"):
        for source in shlex.split(copy)[:-1]:
            assert (ROOT / source).exists(), source
            assert source in allowed


def test_the_command_of_the_container_exists():
    from echoscape.cli import app

    command = yaml.safe_load(steps("CMD")[0])
    options = {n for a in app[command[0]].assemble_argument_collection() for n in a.names}
    given = [word for word in command if word.startswith("--")]
    given += [word for word in COMPOSE["services"]["service"]["command"] if word.startswith("--")]
    assert set(given) <= options


def test_the_world_cannot_reach_it_by_default():
    assert COMPOSE["services"]["service"]["ports"] == ["127.0.0.1:8750:8750"]
    assert "ports" not in COMPOSE["services"]["database"]


@pytest.mark.parametrize("name", ["fastapi", "uvicorn", "websockets", "psycopg", "hatchling"])
def test_the_lock_holds_what_the_service_needs(name):
    assert re.search(
        rf"^{name}==\S+", (ROOT / "requirements-service.lock").read_text(), re.MULTILINE
    )

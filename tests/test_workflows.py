"""The workflows are well-formed, name what they do, and hand nothing to strangers."""

import itertools
import pathlib
import re
import shlex

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".github/workflows"
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FOLDER.glob("*.yml")}
THEIRS = {"pypa/gh-action-pypi-publish"}  # the only one outside GitHub's own


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job.get("steps", ())]


def test_there_is_one_for_each_purpose():
    jobs = {name: list(each["jobs"]) for name, each in WORKFLOWS.items()}
    assert jobs == {
        "ci": ["check", "matrix"],
        "container": ["build"],
        "docs": ["build", "publish"],
        "release": ["build", "check", "publish"],
        "wheels": ["build", "install"],
    }


@pytest.mark.parametrize("name", WORKFLOWS)
def test_each_is_well_formed(name):
    workflow = WORKFLOWS[name]
    assert workflow["name"] == name
    on = True  # as which YAML reads that word
    assert set(workflow) <= {"name", on, "permissions", "concurrency", "jobs"}
    for job in workflow["jobs"].values():
        assert "uses" in job or {"runs-on", "timeout-minutes", "steps"} <= set(job)
        needs = job.get("needs", [])
        assert set([needs] if isinstance(needs, str) else needs) <= set(workflow["jobs"])
    for step in steps(workflow):
        assert ("run" in step) != ("uses" in step)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_none_hands_rights_or_secrets_to_strangers(name):
    workflow = WORKFLOWS[name]
    assert workflow["permissions"] == {"contents": "read"}
    for job_name, job in workflow["jobs"].items():
        more = job.get("permissions", {})
        assert not more or (job_name == "publish" and "environment" in job)
        assert set(more) <= {"id-token", "pages"}
        if "uses" in job:
            assert (ROOT / job["uses"]).exists()
    for step in steps(workflow):
        action, _, version = step.get("uses", "actions/none@v0").partition("@")
        assert action.startswith("actions/") or action in THEIRS
        assert re.fullmatch(r"v\d+|release/v\d+|[0-9a-f]{40}", version), step
    text = (FOLDER / f"{name}.yml").read_text()
    assert "secrets." not in text
    assert "pull_request_target" not in text
    # What somebody else names, such as a branch, must not become part of a script.
    scripts = " ".join(step.get("run", "") for step in steps(workflow))
    assert "${{ github." not in scripts


def test_the_matrix_is_what_the_package_claims():
    matrix = WORKFLOWS["ci"]["jobs"]["matrix"]["strategy"]["matrix"]
    claimed = re.findall(
        r"Programming Language :: Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text()
    )
    assert matrix["python"] == claimed == ["3.11", "3.12", "3.13", "3.14"]
    assert {name.partition("-")[0] for name in matrix["system"]} == {"ubuntu", "macos", "windows"}


def test_files_and_targets_that_workflows_name_exist():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for workflow in WORKFLOWS.values():
        for step in steps(workflow):
            words = shlex.split(step.get("run", ""), comments=True)
            for before, word in itertools.pairwise(words):
                if before in ("bash", "--requirement", "--ignore"):
                    assert (ROOT / word).exists(), word
                if before == "make":
                    assert word in targets


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")))
def test_templates_of_issues_ask_something(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids))
    assert all(part["attributes"]["label"] for part in form["body"])

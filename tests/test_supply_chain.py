# SPDX-License-Identifier: Apache-2.0
"""What builds a wheel is named by version and sha256, what CI runs by commit, and neither has secrets."""

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 brings it")
ROOT = Path(__file__).resolve().parents[1]
LOCKED = ["build-requirements", "release-requirements"]


def locked(text):
    """name -> (version, sha256 of its files) of a requirements file; a line of another form is an error."""
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        pinned, *hashes = re.split(r"\s--hash=", line)
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)( ; [^;]+)?", pinned.strip())
        assert match, f"{line[:80]!r} is no name, version and sha256"
        assert hashes, f"{line[:80]!r} has no hash"
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", value.strip()) for value in hashes), line[:80]
        assert match[1] not in found, f"{match[1]} is there twice"
        found[match[1]] = match[2], [value.strip() for value in hashes]
    return found


def wanted(text):
    return [Requirement(line) for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.mark.parametrize("name", LOCKED)
def test_every_requirement_is_locked_as_it_is_wanted(name):
    found = locked((ROOT / f"{name}.txt").read_text(encoding="utf-8"))
    for requirement in wanted((ROOT / f"{name}.in").read_text(encoding="utf-8")):
        assert requirement.name in found, f"{requirement} is not in {name}.txt: compile it again"
        assert Version(found[requirement.name][0]) in requirement.specifier


def test_what_pyproject_builds_with_is_locked():
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)
    found = locked((ROOT / "build-requirements.txt").read_text(encoding="utf-8"))
    for requirement in map(Requirement, project["build-system"]["requires"]):
        assert Version(found[requirement.name][0]) in requirement.specifier
    settings = project["tool"]["cibuildwheel"]
    assert "--no-isolation" in settings["build-frontend"]["args"]
    assert settings["before-build"].endswith("--require-hashes -r {project}/build-requirements.txt")
    for system in ("linux", "macos", "windows"):
        assert "before-build" not in settings[system], "it would replace the locked requirements"


@pytest.mark.parametrize(
    "line",
    [
        "ninja>=1.11 \\\n    --hash=sha256:" + "0" * 64,
        "ninja==1.13",
        "ninja==1.13 \\\n    --hash=md5:" + "0" * 32,
        "ninja @ https://example.org/ninja.whl",
        "--extra-index-url https://example.org",
    ],
)
def test_a_line_that_is_not_locked_is_found(line):
    with pytest.raises(AssertionError):
        locked(line)


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.name)
def test_workflows_name_commits_and_have_few_rights(path):
    text = path.read_text(encoding="utf-8")
    actions = re.findall(r"uses:\s*(\S+)", text)
    assert actions
    assert [action for action in actions if not re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}", action)] == []
    assert re.search(r"^permissions: \{\}$", text, re.MULTILINE), "rights are given to each job alone"
    assert set(re.findall(r"^ {6}([\w-]+): (?:write)\b", text, re.MULTILINE)) <= {"id-token"}
    assert "secrets." not in text
    assert "pull_request_target" not in text
    installs = re.findall(r"pip install (.*)", text)
    assert all(line.startswith("--require-hashes -r ") or "--dry-run" in line for line in installs), installs


def test_ci_installs_what_builds_by_its_hashes():
    lines = re.findall(r"^pip install .*", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), re.MULTILINE)
    tools = ("build-requirements.txt", "auditwheel", "cmake", "scikit-build-core", "pybind11")
    found = [line for line in lines if any(tool in line for tool in tools)]
    assert found == ["pip install --quiet --require-hashes -r build-requirements.txt"]

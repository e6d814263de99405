# SPDX-License-Identifier: Apache-2.0
"""Each finding appears where its cause is there, and not where it is not."""

import copy
import importlib.util
from importlib import metadata

import pytest
import torch
from typer.testing import CliRunner

from diffhpo import doctor
from diffhpo.cli import app
from diffhpo.errors import CheckpointError

HEALTHY = {
    "versions": {},
    "machine": {"gpu": None},
    "threads": {"torch": 2, "OMP_NUM_THREADS": None},
    "executors": {
        "auto": "cpu-avx2",
        "available": ["reference", "cpu-portable", "cpu-avx2"],
        "unavailable": {"cuda": "this build has no CUDA kernels; reinstall where nvcc is on PATH"},
        "cuda_built": False,
        "DIFFHPO_ISA": None,
    },
    "cache": None,
}


@pytest.fixture(autouse=True)
def _healthy(monkeypatch):
    monkeypatch.setattr(doctor, "cores", lambda: 4)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(metadata, "version", lambda name: "5.0.0")
    monkeypatch.setattr(torch.version, "cuda", None)


def found(**changes):
    facts = copy.deepcopy(HEALTHY)
    for topic, value in changes.items():
        if isinstance(value, dict):
            facts[topic].update(value)
        else:
            facts[topic] = value
    return doctor.findings(facts)


def only(kind, text, **changes):
    (finding,) = found(**changes)
    assert finding.kind == kind
    assert text in finding.text
    assert finding.text[-1] in '."' or "pip install" in finding.text
    return finding


def test_a_healthy_machine_has_no_finding(tmp_path):
    assert found() == []
    assert found(cache=str(tmp_path / "not" / "there" / "yet")) == []
    assert list(tmp_path.iterdir()) == []


def test_executors():
    only("broken", "cannot be loaded", executors={"auto": "error: the native module cannot be loaded"})
    portable = {"auto": "cpu-portable", "available": ["reference", "cpu-portable"]}
    reason = {"cpu-avx2": "this processor, or its operating system, does not offer avx2"}
    only("slow", "does not offer AVX2; run on one that does", executors={**portable, "unavailable": reason})
    reason = {"cpu-avx2": "avx2 was not built: this is not an x86-64 processor"}
    only("slow", "none written for this processor", executors={**portable, "unavailable": reason})
    only(
        "slow",
        "DIFFHPO_ISA=portable chooses cpu-portable; unset it, and cpu-avx2 runs",
        executors={"auto": "cpu-portable", "DIFFHPO_ISA": "portable"},
    )
    assert found(executors={"DIFFHPO_ISA": "avx2"}) == []


def test_gpu(monkeypatch):
    only("slow", "a GPU (H200) and this build has no CUDA kernels", machine={"gpu": "H200"})
    assert found(machine={"gpu": "H200"}, executors={"cuda_built": True}) == []
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    monkeypatch.setattr(doctor.Path, "exists", lambda self: False)
    only("slow", "torch is a CUDA build (12.8) on a machine without a GPU")
    monkeypatch.setattr(doctor.Path, "exists", lambda self: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert found() == []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    only("slow", "an NVIDIA driver and torch sees no GPU")


def test_threads():
    only(
        "slow",
        "torch uses 16 threads (OMP_NUM_THREADS=16) on 4 cores",
        threads={"torch": 16, "OMP_NUM_THREADS": "16"},
    )
    only("slow", "16 threads (torch's default) on 4 cores", threads={"torch": 16})
    only("slow", "OMP_NUM_THREADS=1 keeps large batches", threads={"torch": 1, "OMP_NUM_THREADS": "1"})
    assert found(threads={"torch": 1}) == []


@pytest.mark.parametrize("package", ["matplotlib", "optuna", "sklearn", "ConfigSpace", "pooch", "xgboost"])
def test_an_absent_package_is_missed_with_its_command(monkeypatch, package):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else object())
    only("missing", f"{package} is not installed; it brings ")


@pytest.mark.parametrize(("version", "old"), [("3.6.1", True), ("4.0.0", False), ("10.1.0.dev", False)])
def test_an_old_optuna_is_told(monkeypatch, version, old):
    monkeypatch.setattr(metadata, "version", lambda name: version)
    if old:
        only("broken", "optuna 3.6.1 is too old for the sampler; 4.0 or newer is needed")
    else:
        assert found() == []


def test_an_absent_optuna_is_not_old(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert found() == []


def test_a_cache_that_cannot_be_written_is_told(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    only("broken", "cannot be written", cache=str(tmp_path / "file" / "hpob"))


def test_damaged_weights_are_told(monkeypatch):
    def damaged(name="universal"):
        raise CheckpointError("universal.safetensors is cut short")

    monkeypatch.setattr("diffhpo.pretrained.pretrained_model", damaged)
    only("broken", "universal.safetensors is cut short; reinstall diffhpo")


def test_what_is_broken_comes_first(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pooch" else object())
    kinds = [f.kind for f in found(threads={"torch": 16}, executors={"auto": "error: none"})]
    assert kinds == ["broken", "slow", "missing"]


def test_the_command_prints_findings(monkeypatch):
    monkeypatch.setattr(doctor, "findings", lambda facts: [doctor.Finding("slow", "It is slow.")])
    assert "findings:\n  slow: It is slow.\n" in CliRunner().invoke(app, ["doctor"]).stdout
    monkeypatch.setattr(doctor, "findings", lambda facts: [])
    assert "findings: nothing is broken, slow or missing\n" in CliRunner().invoke(app, ["doctor"]).stdout


def test_the_doctor_works_without_what_is_optional(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    monkeypatch.delenv("DIFFHPO_CACHE", raising=False)
    assert doctor.examine()["cache"] is None

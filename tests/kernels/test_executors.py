# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from diffhpo.errors import BackendError, ExecutorWarning, InputError
from diffhpo.kernels import executors, ops

_CPU = torch.device("cpu")


def choose(name: str, device: torch.device = _CPU, cross_attention: bool = False) -> str:
    return executors.choose_executor(name, device=device, cross_attention=cross_attention).name


def test_auto_takes_the_fastest_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(executors.ISA_VARIABLE, raising=False)
    best = f"cpu-{ops.native_isas(runnable=True)[-1]}"
    assert choose("auto") == choose("cpu") == best
    assert executors.describe()["auto"] == best


def test_every_runnable_build_can_be_forced(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose(f"cpu-{isa}") == f"cpu-{isa}"
    monkeypatch.setenv(executors.ISA_VARIABLE, isa)
    assert choose("auto") == choose("cpu") == f"cpu-{isa}"
    assert executors.describe()[executors.ISA_VARIABLE] == isa


@pytest.mark.parametrize("value", ["", "avx1024", "AVX2"])
def test_a_wrong_isa_variable_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(executors.ISA_VARIABLE, value)
    with pytest.raises(BackendError, match="accepted on this machine: portable"):
        choose("auto")
    assert executors.describe()["auto"].startswith("error")


def test_a_processor_without_avx_gets_the_portable_build(monkeypatch: pytest.MonkeyPatch) -> None:
    built = ["portable", "avx2", "avx512"]
    monkeypatch.setattr(ops, "native_isas", lambda *, runnable: built[:1] if runnable else built)
    monkeypatch.delenv(executors.ISA_VARIABLE, raising=False)
    assert choose("auto") == "cpu-portable"
    with pytest.raises(BackendError, match="does not offer avx512"):
        choose("cpu-avx512")
    monkeypatch.setattr(ops, "native_isas", lambda *, runnable: built[:1])
    assert "not an x86-64" in executors.unavailable()["cpu-avx2"]


def test_an_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match="auto, reference, cpu"):
        choose("gpu")


def test_cross_attention_runs_natively_on_the_cpu_alone() -> None:
    cuda = torch.device("cuda")
    assert choose("auto", cross_attention=True) == choose("cpu", cross_attention=True) == choose("cpu")
    assert choose("reference", cross_attention=True) == "reference"
    with pytest.warns(ExecutorWarning, match="cross-attention"):
        assert choose("auto", cuda, cross_attention=True) == "reference"
    with pytest.raises(BackendError, match=r'cross-attention yet.*executor="reference"'):
        choose("cuda", cuda, cross_attention=True)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_cross_attention_runs_at_fp32_alone(precision: str) -> None:
    for name in ("auto", "cpu"):
        with pytest.raises(BackendError, match="precision='fp32'"):
            executors.choose_executor(name, device=_CPU, cross_attention=True, precision=precision)


def test_a_device_without_kernels_takes_the_reference_and_says_so() -> None:
    with pytest.warns(ExecutorWarning, match="meta"):
        assert choose("auto", torch.device("meta")) == "reference"
    with pytest.raises(InputError, match=r"network\.to\('cpu'\)"):
        choose("cpu", torch.device("meta"))


@pytest.mark.skipif("cuda" not in executors.unavailable(), reason="CUDA is available here")
def test_cuda_that_is_not_there_is_an_error_with_its_reason() -> None:
    with pytest.raises(BackendError, match=r"cuda is not available: (this build|torch sees|the CUDA device)"):
        choose("cuda")
    assert "cuda" in executors.describe()["unavailable"]


def test_without_the_module_only_the_reference_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "_native", lambda: ImportError("undefined symbol"))
    assert choose("reference") == "reference"
    for name in ("auto", "cpu", "cpu-portable", "cuda"):
        with pytest.raises(BackendError, match="doctor"):
            choose(name)
    report = executors.describe()
    assert report["available"] == ["reference"]
    assert "undefined symbol" in report["unavailable"]["cuda"]

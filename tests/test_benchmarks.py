"""The benchmarks' way on a GPU, with a GPU that is made up: what is timed, what is counted, and what is written."""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


class Event:
    """Of a stream that is never behind."""

    def __init__(self, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.at = time.perf_counter()

    def synchronize(self) -> None:
        CALLS.append("wait")

    def elapsed_time(self, end: Event) -> float:
        return 1e3 * (end.at - self.at)


CALLS: list[str] = []


@pytest.fixture
def benchmarks(monkeypatch) -> Iterator[SimpleNamespace]:
    """The modules of the folder, whose names are not theirs alone, and a made up ``torch.cuda``."""
    CALLS.clear()
    kept = dict(sys.modules)
    for name in (
        "rows",
        "plain",
        "peers",
        "machine",
        "table",
        "gpu",
        "speed",
        "memory",
        "scaling",
        "contestants",
        "rows_gpu",
    ):
        sys.modules.pop(name, None)
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(torch.cuda, "Event", Event)
    for name in ("synchronize", "empty_cache", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: CALLS.append(name))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA Made-Up 1")
    names = ("contestants", "gpu", "memory", "scaling", "speed", "table")
    found = SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    made = found.contestants.tensors
    for module in (found.speed, found.memory):  # tensors of the CPU, as there is no other place
        monkeypatch.setattr(module, "tensors", lambda row, dtype=torch.float32, device="cpu": made(row, dtype))
    yield found
    for name in set(sys.modules) - set(kept):
        if getattr(sys.modules[name], "__file__", None) and str(FOLDER) in sys.modules[name].__file__:
            del sys.modules[name]
    sys.modules.update(kept)


def row(benchmarks: SimpleNamespace, name: str = "tiny", **peers):
    def ours():
        return lambda x, y: x.square().sum()

    return benchmarks.contestants.Row(name, "labels", (4, 4, 4), ours, peers, classes=3, batch=2)


def test_time_is_between_events_and_waited_for(benchmarks) -> None:
    wall, cpu = benchmarks.gpu.clocked(lambda: time.sleep(0.02))
    assert 0.02 <= wall < 1
    assert cpu < 0.02
    assert CALLS == ["synchronize", "wait"], "work of before must be over, and one's own too"


def test_memory_is_the_peak_beyond_what_was_there(benchmarks, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda: 100)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 350)
    assert benchmarks.gpu.peak(lambda: CALLS.append("run")) == 250
    assert CALLS.index("run") < CALLS.index("reset_peak_memory_stats"), "the first call loads and compiles"
    assert CALLS.count("run") == 2
    assert benchmarks.memory.peaks_here(row(benchmarks), torch.float32, "cuda") == {"medloss": 250 / (2 * 3 * 64 * 4)}


def test_the_least_is_three_times_the_logits_and_twice_the_labels(benchmarks) -> None:
    logits, labels = torch.zeros(2, 3, 8), torch.zeros(2, 1, 8, dtype=torch.int64)
    assert benchmarks.gpu.least_bytes([logits, labels]) == 3 * 2 * 3 * 8 * 4 + 2 * 2 * 8 * 8
    assert benchmarks.gpu.slug("NVIDIA H200") == "nvidia-h200"


def test_compilation_is_not_counted_and_a_peer_that_fails_is_left_out(benchmarks) -> None:
    asked = []

    def slow_at_first():
        def loss(x, y):
            asked.append(1)
            time.sleep(0.2 if len(asked) == 1 else 0)
            return x.sum()

        return loss

    def failing():
        raise_ = {}
        return lambda x, y: raise_["no memory left"]

    def missing():
        raise ImportError("not installed")

    found = benchmarks.speed.measure(
        row(benchmarks, compiled=slow_at_first, failing=failing, missing=missing), 3, torch.float32, "cuda"
    )
    assert set(found) == {"medloss", "compiled", "floor"}
    assert found["compiled"]["median_ms"] < 20
    assert len(asked) > 20, "short calls are measured in groups"
    assert "wait" in CALLS


def test_a_report_of_a_gpu(benchmarks, monkeypatch, tmp_path) -> None:
    """One row fails, the other is written, and the table has it."""
    speed, out = benchmarks.speed, tmp_path / "speed_made-up.json"
    bad = benchmarks.contestants.Row("bad", "labels", (4,), lambda: lambda x, y: 1 / 0)
    monkeypatch.setattr(speed, "GPU_ROWS", [bad, row(benchmarks, torch=lambda: lambda x, y: x.sum())])
    monkeypatch.setattr(benchmarks.gpu, "bandwidth", lambda: 4e12)
    monkeypatch.setattr(sys, "argv", ["speed.py", "--device", "cuda", "--longest", "0.1", "--out", str(out)])
    speed.main()
    report = json.loads(out.read_text())
    assert report["device"] == "cuda"
    assert list(report["rows"]) == ["tiny"]
    assert report["rows"]["tiny"]["least"]["bytes"] == 3 * 2 * 3 * 64 * 4 + 2 * 2 * 64 * 8
    report["machine"]["gpu"] = "NVIDIA Made-Up 1"
    out.write_text(json.dumps(report))
    (tmp_path / "memory_made-up.json").write_text(json.dumps({"rows": {"tiny": {"medloss": 1.0, "torch": 2.5}}}))
    text = benchmarks.table.of_gpu(out)
    assert "NVIDIA Made-Up 1, float32" in text
    assert "| tiny |" in text
    assert "| 1.00 | 2.50 |" in text
    assert speed.results("speed", "cuda", "bfloat16").name == "speed_nvidia-made-up-1_bfloat16.json"


def test_curves_of_a_gpu_have_no_threads(benchmarks) -> None:
    assert [curve[0] for curve in benchmarks.scaling.sweeps("cuda").values()].count("threads") == 0
    assert [curve[0] for curve in benchmarks.scaling.sweeps("cpu").values()].count("threads") == 1


def test_rows_of_a_gpu_are_what_they_are_called(benchmarks) -> None:
    rows = benchmarks.speed.rows_of("cuda")
    assert rows["dice_ce_n14"].shape == (160, 160, 160)
    assert (rows["ce_n105"].classes, rows["ce_n105"].batch) == (105, 2)
    assert rows["dice_ce_uint8_n4"].labels == torch.uint8
    assert {"lncc_k9_160", "mi_gauss_160", "bending_160", "lncc_k9_192x160x224"} <= set(rows)
    names = list(rows)
    assert names.index("cldice") < names.index("dice_ce_n4"), "each loss once before any a second time"
    assert [name for name in names if "compiled" in rows[name].peers] == names[-2:], "Inductor takes long"

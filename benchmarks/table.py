"""The table that README and documentation include, from the committed results: ``python benchmarks/table.py``."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
START, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


TARGETS = {
    ("dice_ce", "monai"): 8, ("dice_ce", "nnunet"): 8, ("dice", "monai"): 5, ("gdl", "monai"): 5,
    ("tversky", "monai"): 9, ("dice_focal", "monai"): 20, ("focal", "kornia"): 4, ("focal", "monai"): 14,
    ("ce", "torch"): 3.5, ("gwdl", "monai"): 7, ("lovasz", "smp"): 40, ("hausdorff_dt", "monai"): 12,
    ("cldice", "monai"): 10, ("lncc_k9", "monai"): 40, ("lncc_k9", "fireants"): 40, ("lncc_k3", "monai"): 12,
    ("lncc_k3", "fireants"): 12, ("lncc_gauss9", "monai"): 20, ("mi_gauss", "monai"): 25, ("mi_bspline", "monai"): 25,
    ("ssim_3d", "monai"): 150, ("ssim_3d_128", "pytorch-msssim"): 10, ("bending", "monai"): 15,
    ("diffusion", "monai"): 6, ("dice_ce_tiny", "monai"): 1, ("dice_tiny", "monai"): 1, ("lncc_tiny", "monai"): 1,
    ("bending_tiny", "monai"): 1,
}  # fmt: skip
"""What we set out to reach, as times of the peer's; the table says where we did not."""


def table() -> str:
    """Markdown: time and peak memory of each row, ours and theirs."""
    speed = json.loads((HERE / "results" / "speed.json").read_text())
    memory = json.loads((HERE / "results" / "memory.json").read_text())
    about = speed["machine"]
    lines = [
        f"{about['processor']}, {about['threads']} threads, torch {about['torch']}, kernels {about['kernels']}, "
        f"{speed['dtype']}. Times are of one forward and backward pass, median of interleaved rounds. *Over the floor* "
        "is our time over that of reading the input twice and writing its gradient. *Ratio* is the peer's median over "
        "ours; *at best* the same of the shortest runs, since memory of this virtual machine is up to ten times slower "
        "at some times than at others. *Wanted* is our target for the ratio. Memory is the peak beyond the inputs in a "
        "fresh process, in units of the first tensor: 1 is the gradient alone.",
        "",
        "| row | ours ms | over the floor | peer | peer ms | ratio | at best | wanted | memory ours | memory peer |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, times in speed["rows"].items():
        ours, bottom = times["medloss"]["median_ms"], times["floor"]["median_ms"]
        peaks = memory["rows"].get(name, {})
        for peer in (who for who in times if who not in ("medloss", "floor")):
            theirs = times[peer]["median_ms"]
            cells = [name, f"{ours:.2f}", f"{ours / bottom:.1f}x", peer, f"{theirs:.2f}", f"**{theirs / ours:.1f}x**"]
            cells.append(f"{times[peer]['min_ms'] / times['medloss']['min_ms']:.1f}x")
            cells.append(wanted(TARGETS.get((name, peer)), theirs / ours))
            cells += [peak(peaks, "medloss"), peak(peaks, peer)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


KEY = ("dice_ce", "focal", "hausdorff_dt", "cldice", "lncc_k9", "mi_gauss", "bending", "dice_ce_tiny")
"""The rows that README shows."""


def short_table() -> str:
    """Markdown: times of the peer's speed, and the memory of both."""
    speed = json.loads((HERE / "results" / "speed.json").read_text())
    memory = json.loads((HERE / "results" / "memory.json").read_text())["rows"]
    about = speed["machine"]
    lines = [
        f"{about['processor']}, {about['threads']} threads, {speed['dtype']}, forward and backward pass. Memory is "
        "what is needed beyond the inputs, as a multiple of the first input.",
        "",
        "| row | beside | times as fast | memory ours | theirs |",
        "|---|---|---|---|---|",
    ]
    for name in (key for key in KEY if key in speed["rows"]):
        times, peaks = speed["rows"][name], memory.get(name, {})
        for peer in (who for who in times if who not in ("medloss", "floor", "compiled")):
            ratio = times[peer]["median_ms"] / times["medloss"]["median_ms"]
            lines.append(f"| {name} | {peer} | **{ratio:.1f}** | {peak(peaks, 'medloss')} | {peak(peaks, peer)} |")
    return "\n".join(lines) + "\n"


def wanted(target: float | None, ratio: float) -> str:
    """The target, with a word where it is missed."""
    return "" if target is None else f"{target:g}x" if ratio >= target else f"{target:g}x, missed"


def peak(peaks: dict[str, float], who: str) -> str:
    """A peak, or a dash; volumes too small to see have none."""
    return f"{peaks[who]:.2f}" if who in peaks else "–"


def more() -> str:
    """What else was measured: bfloat16, what has no kernel, and how time grows."""
    parts = []
    half = HERE / "results" / "speed_bf16.json"
    if half.is_file():
        parts.append("\n## bfloat16\n\n| row | ours ms | peer | peer ms | ratio |\n|---|---|---|---|---|\n")
        for name, times in json.loads(half.read_text())["rows"].items():
            ours = times["medloss"]["median_ms"]
            for peer in (who for who in times if who not in ("medloss", "floor")):
                theirs = times[peer]["median_ms"]
                parts.append(f"| {name} | {ours:.2f} | {peer} | {theirs:.2f} | **{theirs / ours:.1f}x** |\n")
    parts.append((HERE / "results" / "plain_torch.md").read_text())
    if (PAGE.parent / "images" / "scaling.png").is_file():
        parts.append("\n## How time grows\n\n![milliseconds over size, classes and threads](images/scaling.png)\n")
    return "".join(parts)


def on_gpus() -> str:
    """Markdown: a section for each GPU and type that there are figures of."""
    return "".join(of_gpu(path) for path in sorted((HERE / "results").glob("speed_*.json")) if device(path) == "cuda")


def device(path: Path) -> str:
    """What the figures of a file were measured on."""
    return json.loads(path.read_text()).get("device", "cpu")


def of_gpu(path: Path) -> str:
    """Markdown: time and peak memory of each row on one GPU."""
    speed, half = json.loads(path.read_text()), path.with_stem(path.stem.replace("speed", "memory", 1))
    memory = json.loads(half.read_text())["rows"] if half.is_file() else {}
    about = speed["machine"]
    lines = [
        f"\n## {about['gpu']}, {speed['dtype']}\n",
        f"torch {about['torch']}, triton {about.get('triton')}, CUDA {about['cuda']}; forward and backward, median by "
        f"events on the stream. The least is what must be moved at {speed['bytes_per_second'] / 1e12:.2f} TB/s, which "
        "a large copy reads and writes; memory is the peak beyond the inputs, in units of the first tensor.\n",
        "| row | ours ms | over the least | peer | peer ms | ratio | memory ours | memory peer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, times in speed["rows"].items():
        ours, peaks = times["medloss"]["median_ms"], memory.get(name, {})
        for peer in [who for who in times if who not in NO_PEERS] or [""]:
            theirs = times[peer]["median_ms"] if peer else None
            cells = [name, f"{ours:.3f}", f"{ours / times['least']['median_ms']:.1f}x", peer or "–"]
            cells += [f"{theirs:.3f}", f"**{theirs / ours:.1f}x**"] if peer else ["–", "–"]
            lines.append("| " + " | ".join([*cells, peak(peaks, "medloss"), peak(peaks, peer)]) + " |")
    return "\n".join(lines) + "\n"


NO_PEERS = ("medloss", "floor", "least")


def main() -> None:
    """Write the page, and the part of README between the marks."""
    text = table()
    PAGE.write_text(
        f"<!-- written by benchmarks/table.py; do not edit -->\n\n# Performance\n\n{text}{more()}{on_gpus()}"
    )
    readme = HERE.parent / "README.md"
    body = readme.read_text()
    if START in body:
        head, rest = body.split(START, 1)
        readme.write_text(head + START + "\n\n" + short_table() + "\n" + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()

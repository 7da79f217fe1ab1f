"""The table that README and documentation include, from the committed results: ``python benchmarks/table.py``."""

from __future__ import annotations

import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "performance.md"
START, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def table() -> str:
    """Markdown: time and peak memory of each row, ours and theirs."""
    speed = json.loads((HERE / "results" / "speed.json").read_text())
    memory = json.loads((HERE / "results" / "memory.json").read_text())
    about = speed["machine"]
    lines = [
        f"{about['processor']}, {about['threads']} threads, torch {about['torch']}, kernels {about['kernels']}, "
        f"{speed['dtype']}; forward and backward, median of interleaved rounds; memory: peak beyond "
        "the inputs in a fresh process, in units of the first tensor (1 is the gradient alone).",
        "",
        "| row | ours ms | over the floor | peer | peer ms | ratio | memory ours | memory peer |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, times in speed["rows"].items():
        ours, bottom = times["medloss"]["median_ms"], times["floor"]["median_ms"]
        peaks = memory["rows"].get(name, {})
        for peer in (who for who in times if who not in ("medloss", "floor")):
            theirs = times[peer]["median_ms"]
            cells = [name, f"{ours:.2f}", f"{ours / bottom:.1f}x", peer, f"{theirs:.2f}", f"**{theirs / ours:.1f}x**"]
            cells += [peak(peaks, "medloss"), peak(peaks, peer)]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def peak(peaks: dict[str, float], who: str) -> str:
    """A peak, or a dash; volumes too small to see have none."""
    return f"{peaks[who]:.2f}" if who in peaks else "–"


def main() -> None:
    """Write the page, and the part of README between the marks."""
    text = table()
    PAGE.write_text(f"<!-- written by benchmarks/table.py; do not edit -->\n\n# Performance\n\n{text}")
    readme = HERE.parent / "README.md"
    body = readme.read_text()
    if START in body:
        head, rest = body.split(START, 1)
        readme.write_text(head + START + "\n\n" + text + "\n" + END + rest.split(END, 1)[1])


if __name__ == "__main__":
    main()

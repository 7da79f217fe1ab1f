#!/usr/bin/env bash
# The first meeting with a GPU, in one command of ten minutes at most: the tests of the kernels, then times and memory.
#
#     bash benchmarks/on_gpu.sh [folder for logs and figures] [parts, of: about tests losses speed memory half scaling]
#
# It wants Python with torch for CUDA, triton and pytest, a C compiler for Triton's launcher, and nothing else: the
# checkout is used as it lies. Peers that are not installed are left out; `make peers` where there is a network puts
# them into benchmarks/.peers, which can be carried along. A part that fails or takes too long does not stop the next.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=${1:-build/cuda}
PARTS=${2:-about tests losses speed memory half}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
: >"$OUT/summary.txt"

# part NAME SECONDS COMMAND...: runs it into NAME.log, and says how it ended
part() {
    local name=$1 seconds=$2 began=$SECONDS status
    shift 2
    case " $PARTS " in *" ${name%%_*} "*) ;; *) return ;; esac
    timeout --kill-after=10 "$seconds" "$@" >"$OUT/$name.log" 2>&1
    status=$?
    case $status in 0) status=passed ;; 124 | 137) status="out of time" ;; *) status="failed with $status" ;; esac
    echo "$name: $status, $((SECONDS - began)) s" | tee -a "$OUT/summary.txt"
    tail -n "${TAIL:-6}" "$OUT/$name.log"
}

workers() { # processes of the tests, where pytest-xdist is there: most of their time is compilation, on the CPU
    "$PYTHON" -c 'import xdist' 2>/dev/null && echo "-n $(($(nproc) < 8 ? $(nproc) : 8))"
}

part about 30 bash -c "nvidia-smi; $PYTHON benchmarks/machine.py"
# the kernels on the GPU; compiling ahead of time for other GPUs is for machines without one
# shellcheck disable=SC2046
part tests 180 "$PYTHON" -m pytest tests/ops/triton -k "not ahead_of_time" -q -p no:cacheprovider $(workers) --durations=15
# shellcheck disable=SC2046
part losses 90 "$PYTHON" -m pytest tests/contract/test_on_gpu.py -q -p no:cacheprovider $(workers) --durations=5
part speed 140 "$PYTHON" benchmarks/speed.py --device cuda --rounds 5 --longest 2 --out "$OUT/speed.json"
part memory 45 "$PYTHON" benchmarks/memory.py --device cuda --out "$OUT/memory.json"
part half 65 "$PYTHON" benchmarks/speed.py --device cuda --dtype bfloat16 --rounds 5 --longest 1 --out "$OUT/speed_bfloat16.json"
part scaling 240 "$PYTHON" benchmarks/scaling.py --device cuda --rounds 3 --longest 2 --out "$OUT/scaling.json" --picture "$OUT/scaling.png"
echo "logs and figures are in $OUT:"
cat "$OUT/summary.txt"
! grep -q "failed\|out of time" "$OUT/summary.txt"

#!/usr/bin/env bash
# The first meeting with a GPU, in two calls of less than six minutes each, what tells most first.
#
#     bash benchmarks/on_gpu.sh first  [folder for logs and figures]   what runs, what is right, first times, all tests
#     bash benchmarks/on_gpu.sh second [folder]                        what failed again, graphs, memory checks, figures
#     bash benchmarks/on_gpu.sh PART [folder]   one of: check time tests again compile sanitize speed ncu memory half scaling
#
# It wants Python with torch for CUDA, triton and pytest, a C compiler for Triton's launcher, and nothing else: the
# checkout is used as it lies. Peers that are not installed are left out; `make peers` where there is a network puts
# them into benchmarks/.peers, which can be carried along. A part that fails or takes too long does not stop the next,
# and no part goes on beyond LIMIT seconds of the call.
#
# AGAIN: tests for `again`, as pytest's arguments. DEVICE=cpu MEDLOSS_BACKEND=reference EDGE=12 rehearses the calls: a
# part may then take four times as long, and tests are collected only.
set -uo pipefail
cd "$(dirname "$0")/.."
CALL=${1:-first}
OUT=${2:-build/cuda}
DEVICE=${DEVICE:-cuda}
PYTHON=${PYTHON:-python3}
LIMIT=${LIMIT:-335}
EDGE=${EDGE:-160}
mkdir -p "$OUT"
OUT=$(cd "$OUT" && pwd)
export PYTHONPATH="$PWD:$PWD/benchmarks${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 FAILURES="$OUT/failures.txt"
LOG="$OUT/$CALL.log"
: >"$LOG"
: >"$OUT/summary.txt"

# run NAME SECONDS COMMAND...: writes into the call's one log, shows its end, and says how it ended
run() {
    local name=$1 seconds=$2 began=$SECONDS left=$((LIMIT - SECONDS)) status
    shift 2
    [ "$DEVICE" = cpu ] && seconds=$((4 * seconds))
    [ "$seconds" -lt "$left" ] || seconds=$left
    if [ "$seconds" -lt 5 ]; then echo "$name: no time left" | tee -a "$OUT/summary.txt"; return; fi
    echo "== $name: $*" >>"$LOG"
    timeout --kill-after=5 "$seconds" "$@" >"$OUT/part.log" 2>&1
    status=$?
    cat "$OUT/part.log" >>"$LOG"
    case $status in 0) status=passed ;; 124 | 137) status="out of time" ;; *) status="failed with $status" ;; esac
    echo "$name: $status, $((SECONDS - began)) s" | tee -a "$OUT/summary.txt"
    tail -n "${TAIL:-8}" "$OUT/part.log" | cut -c1-180
    rm "$OUT/part.log"
}

# tests SECONDS ARGUMENTS...: two processors are left for those who start the others; most of the time is compilation
tests() {
    local name=$1 seconds=$2 many=()
    shift 2
    "$PYTHON" -c 'import xdist' 2>/dev/null && many=(-n $(($(nproc) > 3 ? $(nproc) - 2 : 1)))
    [ "$DEVICE" = cpu ] && many=(--collect-only)
    : >"$FAILURES"
    run "$name" "$seconds" "$PYTHON" -m pytest -p write_failures -p no:cacheprovider -q "${many[@]}" --durations=15 "$@"
    grep '^tests/.* \[' "$FAILURES" | head -20
    head -c 4000 "$FAILURES"
}

first_contact() { "$PYTHON" benchmarks/first_contact.py --device "$DEVICE" --edge "$EDGE" "$@"; }
figures() {
    local script=$1
    shift
    [ "$DEVICE" = cpu ] && set -- --edge "$EDGE" "$@"
    "$PYTHON" "benchmarks/$script.py" --device "$DEVICE" "$@"
}
export -f first_contact figures
export PYTHON DEVICE EDGE OUT
SMALL="dice_ce_odd,lncc,components,nth_largest"

part() {
    case $1 in
        about) run about 20 bash -c "nvidia-smi; $PYTHON benchmarks/machine.py cuda" ;;
        check) TAIL=30 run check 75 bash -c "first_contact check" ;;
        time) TAIL=30 run time 60 bash -c "first_contact time" ;;
        # the kernels and the losses; compiling ahead of time is for machines without a GPU
        tests) tests tests 190 tests/ops/triton tests/contract/test_on_gpu.py -k "not ahead_of_time and not share_a_kernel" ;;
        again) [ -z "${AGAIN:-}" ] || tests again 60 $AGAIN ;;
        compile) run compile 45 bash -c "first_contact compile" ;;
        sanitize)
            for tool in memcheck initcheck; do
                PYTORCH_NO_CUDA_MEMORY_CACHING=1 run "$tool" 35 compute-sanitizer --tool $tool \
                    "$PYTHON" benchmarks/first_contact.py --device "$DEVICE" --only "$SMALL" check
            done ;;
        speed) TAIL=45 run speed 115 bash -c 'figures speed --rounds 3 --longest 1 --out "$OUT/speed.json"' ;;
        ncu)
            run ncu 40 ncu --clock-control none -k 'regex:forward|counts|energies' -c 3 --set basic \
                "$PYTHON" benchmarks/first_contact.py --device "$DEVICE" --edge "$EDGE" \
                --only dice_ce_n14,mi,bending time ;;
        memory) run memory 45 bash -c 'figures memory --out "$OUT/memory.json"' ;;
        half)
            run half 65 bash -c 'figures speed --dtype bfloat16 --rounds 3 --longest 1 --out "$OUT/speed_bfloat16.json" \
                dice_ce_n14 focal_n14 dice_ce_n4 ce_n105 lncc_k9_160 ssim_160 mi_gauss_160 bending_160' ;;
        scaling)
            run scaling 240 bash -c 'figures scaling --rounds 3 --longest 2 --out "$OUT/scaling.json" --picture "$OUT/scaling.png"' ;;
        *) echo "no such part: $1"; exit 2 ;;
    esac
}

case $CALL in
    first) PARTS="about check time tests" ;;
    second) PARTS="again compile sanitize speed ncu memory half" ;;
    *) PARTS=$CALL ;;
esac
for each in $PARTS; do part "$each"; done
echo "logs and figures are in $OUT:"
cat "$OUT/summary.txt"
! grep -q "failed\|out of time\|no time" "$OUT/summary.txt" && ! grep -q "^BAD" "$LOG"

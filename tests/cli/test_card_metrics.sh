#!/usr/bin/env bash
# What gpu_engine's /metrics tells of its card, by stand-ins for the driver's two libraries; and that it serves without.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
cuda=$BIN_DIR/../tests/gpu/ptxsim/libptxsim_cuda.so
[ -e "$cuda" ] || exit 0 # no nvcc, no kernels
command -v python3 >/dev/null || exit 0
model=$("$BIN_DIR/write_tiny_model" .)

# metrics LIBRARY: /metrics of an engine on the stand-in, into the file metrics; what it said, into err.
metrics() {
	rm -f listening # or the last engine's is taken for this one's
	ENGINE_LIBCUDA=$cuda ENGINE_LIBNVML=$1 "${bound[@]}" "$BIN_DIR/gpu_engine" -m "$model" --device cuda --port 0 \
		--ctx-size 64 --max-num-seqs 1 >listening 2>err &
	engine=$!
	await_lines listening 1 $engine
	python3 -c 'import sys, urllib.request; sys.stdout.buffer.write(urllib.request.urlopen(sys.argv[1]).read())' \
		"$(sed 's/^listening on //' listening)/metrics" >metrics || fail "no metrics: $(cat err)"
	kill $engine
	wait $engine || fail "gpu_engine ended with $?: $(cat err)"
}

# The card is the one at the bus address that libcuda tells, whatever NVML's order; it does not tell its power.
metrics "$BIN_DIR/libstandin_nvml.so"
grep -Eq '^gpu_engine_card_memory_bytes 22548578304(\.0)?$' metrics || fail "no memory: $(grep card metrics)"
grep -q '^gpu_engine_card_utilisation 0.8$' metrics || fail "no utilisation: $(grep card metrics)"
grep -q '^# TYPE gpu_engine_card_utilisation gauge$' metrics || fail "no type"
grep -q power metrics && fail "a power that the card does not tell"

metrics /nowhere/libnvml.so
grep -q gpu_engine_card metrics && fail "figures from nowhere"
grep -q 'no figures of graphics cards: /nowhere/libnvml.so' err || fail "it does not say why: $(cat err)"
exit 0

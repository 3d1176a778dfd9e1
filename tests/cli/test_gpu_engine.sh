#!/usr/bin/env bash
# gpu_engine on tiny models of random weights, at the hands of loadgen in the dialects that fakeengine is tried with, and
# of clients that do not behave.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# try FORMAT ARCHITECTURE DIALECT
try() {
	mkdir -p "$2" || exit 1
	model=$("$BIN_DIR/write_tiny_model" "$2" "$2" "$1") || fail "no $2 model"
	[ "$1" = gguf ] || model=$2
	cat >s.yaml <<-YAML
		name: real
		targets:
		  - name: $2
		    dialect: $3
		    launch: {program: gpu_engine, args: [-m, "$model", --port, "0", --max-num-batched-tokens, "64"]}
		workload:
		  prompts: {text: ["Explain a mutex.", "Now in one line."]}
		  output_tokens: 12
		  request: {ignore_eos: true}
		load: {closed: {concurrency: [1, 4], requests: 6}}
		output: {plots: []}
	YAML
	expect 0 "$3 at $2" loadgen run s.yaml --out "$2-$3" --progress none
	for pair in outcome:ok output_tokens:12 token_source:usage finish_reason:length; do
		[ "$(column "$2-$3/requests.csv" "${pair%%:*}" | sort -u)" = "${pair#*:}" ] ||
			fail "$3 at $2: ${pair%%:*} is not ${pair#*:} in every row"
	done
	[ "$(column "$2-$3/requests.csv" token1_ns | grep -c .)" = 12 ] || fail "$3 at $2: a request without a first token"
}

try gguf llama openai-chat
try safetensors qwen3 openai-completions

command -v python3 >/dev/null || exit 0
mkdir rough
model=$("$BIN_DIR/write_tiny_model" rough)
# On the processor, where an answer does not depend on its company, and in little memory, so that requests are preempted.
# Under ASan what was freed is soon used again, or memory would only grow.
ASAN_OPTIONS="${ASAN_OPTIONS:-}:quarantine_size_mb=1:thread_local_quarantine_size_kb=16" "${bound[@]}" "$BIN_DIR/gpu_engine" -m "$model" \
	--device cpu --port 0 --max-num-seqs 16 --max-num-batched-tokens 64 --ctx-size 512 --kv-cache 256KiB >listening 2>err &
engine=$!
await_lines listening 1 $engine
url=$(sed 's/^listening on //' listening)
expect 0 "rough clients" python3 "$here/tests/load/rough_clients.py" "$url" $engine "${ROUGH_SECONDS:-2}"
cat out
kill $engine
wait $engine || fail "gpu_engine ended with $?: $(cat err)"

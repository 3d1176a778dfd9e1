#!/usr/bin/env bash
# Every dialect that fakeengine speaks, from scenario to rows, at engines with the habits of the servers it belongs to:
# tokens are told by usage, the length is the one asked for, and what a server refuses is left out and said.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# try WIRE DIALECT FINISH_REASON
try() {
	cat >s.yaml <<-YAML
		name: dialects
		targets:
		  - name: $1
		    dialect: $2
		    launch: {program: fakeengine, args: [--port, "0", --prefill-ms, "5", --per-token-ms, "1", --tokens, "12", --wire, "$1"]}
		workload:
		  prompts: {text: ["Explain a mutex.", "Now in one line."]}
		  output_tokens: 12
		load: {closed: {concurrency: 2, requests: 4}}
		output: {plots: []}
	YAML
	expect 0 "$2 at $1" loadgen run s.yaml --out "$1-$2" --progress none
	says "target $1: streams, tells usage: 12 tokens in 12 events"
	for pair in outcome:ok output_tokens:12 token_source:usage "finish_reason:$3"; do
		[ "$(column "$1-$2/requests.csv" "${pair%%:*}" | sort -u)" = "${pair#*:}" ] ||
			fail "$2 at $1: ${pair%%:*} is not ${pair#*:} in every row"
	done
	[ "$(column "$1-$2/requests.csv" token1_ns | grep -c .)" = 4 ] || fail "$2 at $1: a request without a first token"
}

try vllm openai-chat length
try vllm openai-completions length
try sglang sglang-generate length
try tgi tgi-generate-stream length
try llamacpp llamacpp-completion limit
try transformers openai-chat length
says "refuses, so the run leaves out: stream_options, ignore_eos"
grep -A3 '"left_out"' transformers-openai-chat/run.json | grep -q ignore_eos || fail "run.json does not say what was left out"

# Without the look nothing is learnt, and each request fails by what is refused.
expect 1 "no preflight" loadgen run s.yaml --out none --progress none --no-preflight
[ "$(column none/requests.csv outcome | sort -u)" = http_4xx ] || fail "not http_4xx in every row"

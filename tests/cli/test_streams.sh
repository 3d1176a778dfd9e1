#!/usr/bin/env bash
# Many streams at once from one process to one engine: all of them open together, none lost, every token stamped.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
streams=3000
[ "$(ulimit -Hn)" = unlimited ] || [ "$(ulimit -Hn)" -gt $((streams + 500)) ] || { echo "skipped: $(ulimit -Hn) files"; exit 0; }
# The first tokens come when everybody has long connected; with them all are running.
cat >s.yaml <<-YAML
	targets:
	  - {name: fake, model: fake-model, launch: {program: fakeengine, args: [--port, "0", --prefill-ms, "1000", --per-token-ms, "200", --tokens, "4"]}}
	workload: {prompts: {text: [hello]}, output_tokens: 4}
	load: {closed: {concurrency: $streams, requests: $streams}}
	output: {plots: [], scrape: 0}
YAML
expect 0 "many streams" loadgen run s.yaml --out a --progress none --no-plots --no-preflight
[ "$(column a/points.csv ok)" = $streams ] || fail "not all are ok"
[ "$(column a/points.csv peak_running)" = "$streams.000000" ] || fail "not all ran at once: $(column a/points.csv peak_running)"
[ "$(column a/points.csv output_tokens)" = $((4 * streams)) ] || fail "tokens were lost"
[ "$(column a/requests.csv clock_source | sort -u)" = kernel ] || fail "not stamped by the kernel"

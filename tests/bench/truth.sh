#!/usr/bin/env bash
# The truth check: fakeengine notes when each token left (--truth), loadgen when it came. One CSV row for
# 1, 64 and 1,024 streams of 64 tokens, TTFT 50 ms, gap 20 ms. usage: truth.sh BIN_DIR [STREAMS...]
set -euo pipefail
bin=$1
shift
[ $# -gt 0 ] || set -- 1 64 1024
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
echo "streams,tokens,unmatched,ttft_true_ms,ttft_measured_ms,ttft_error_pct,itl_true_ms,itl_measured_ms,itl_error_pct,late_p50_us,late_p99_us,late_p99.9_us,late_max_us"
failed=0
for streams in "$@"; do
	cat >"$tmp/s.yaml" <<-YAML
		name: truth
		targets:
		  - name: fake
		    launch: {program: fakeengine, args: [--port, "0", --prefill-ms, "30", --per-token-ms, "20", --tokens, "64", --truth, $tmp/truth.$streams.csv]}
		workload: {prompts: {text: ["Say something."]}, output_tokens: 64}
		load: {closed: {concurrency: $streams, requests: $((streams < 32 ? 32 : 2 * streams))}}
		output: {plots: [], scrape: 0}
	YAML
	"$bin/loadgen" run "$tmp/s.yaml" --out "$tmp/run.$streams" --no-plots --progress none >/dev/null
	"$bin/truth_check" "$tmp/run.$streams" "$tmp/truth.$streams.csv" || failed=1
done
exit $failed

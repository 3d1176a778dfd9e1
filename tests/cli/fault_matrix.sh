#!/usr/bin/env bash
# The fault matrix: each fault of fakeengine, on both API endpoints, and what loadgen makes of it; then at about half the
# requests of a target, whose figures must be those of the other half alone. Prints a table; exits 1 if a cell is not
# what it has to be. BIN_DIR holds the programs.
#
#   BIN_DIR=build/dev/bin bash tests/cli/fault_matrix.sh
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# fault, outcome, output tokens of a request (of 10), where their number is from
rows='
none                ok             10  usage
400                 http_4xx       -   none
401                 http_4xx       -   none
404                 http_4xx       -   none
429=5s              http_429       -   none
500                 http_5xx       -   none
503                 http_5xx       -   none
slow_accept=40ms    ok             10  usage
slow_accept=5s      timeout        -   none
slow_headers=40ms   ok             10  usage
slow_headers=5s     timeout        -   none
no_answer           closed         -   none
html                protocol       -   none
json                ok             10  usage
empty               empty          -   none
cut_fin@0           truncated      -   none
cut_fin@3           truncated      3   events
cut_rst@3           truncated      3   events
half_chunk@3        truncated      3   events
stall=40ms@3        ok             10  usage
stall=5s@3          timeout        3   events
error_event@0       in_band_error  -   none
error_event@3       in_band_error  3   events
split_utf8@3        ok             10  usage
crlf                ok             10  usage
no_space            ok             10  usage
comments            ok             10  usage
role_first          ok             10  usage
no_done             ok             10  usage
usage_twice         ok             10  usage
no_usage            ok             10  events
late_usage          ok             10  events
'
rows=$(sed '/^$/d' <<<"$rows")
endpoints='openai-chat openai-completions'
half=14 # requests, of which about half are hit

"${bound[@]}" "$BIN_DIR/fakeengine" --port 0 --prefill-ms 5 --per-token-ms 1 --tokens 10 "$@" >listening 2>engine.err &
engine=$!
await_lines listening 1 $engine
url=$(sed 's/listening on //' listening)

# matrix NAME REQUESTS RATE DIALECT...: a run of all faults, a target each and dialect; its folder is NAME.
matrix() {
	local name=$1 requests=$2 rate=$3
	shift 3
	{
		echo "name: $name"
		echo 'targets:'
		while read -r fault _; do
			for dialect; do
				header="headers: {X-Fault: \"$fault$rate\"}, "
				[ "$fault" = none ] && header=
				echo "  - {name: \"$fault $dialect\", url: \"$url\", model: fake-model, $header dialect: $dialect}"
			done
		done <<<"$rows"
		cat <<-YAML
			workload:
			  prompts: {text: ["Explain a mutex.", "Now in one line."]}
			  output_tokens: 10
			load: {closed: {concurrency: $requests, requests: $requests}}
			limits: {idle: 400ms}
			output: {plots: []}
		YAML
	} >"$name.yaml"
	loadgen run "$name.yaml" --out "$name" --progress none --no-preflight >out 2>err
	code=$?
	[ $code = 1 ] || { cat out err >&2; fail "$name: exit code $code, want 1, since requests fail"; }
}

# shellcheck disable=SC2086
matrix m 2 '' $endpoints
matrix h $half :0.5 openai-chat
kill $engine

# cell NAME: what all requests of a target have in common, or all that they have.
cell() {
	paste -d' ' <(column m/requests.csv target) <(column m/requests.csv outcome) \
		<(column m/requests.csv output_tokens) <(column m/requests.csv token_source) |
		awk -v name="$1" 'index($0, name " ") == 1 { n = split($0, f, " ")
			tokens = n == 5 ? f[4] : "-"; print f[3], tokens, f[n] }' | sort -u | paste -sd'|'
}

# of_half NAME OUTCOME: how many are ok, and two figures, if the other requests of a target are OUTCOME, those that are ok whole, and its figures
# made of these alone; else what is wrong.
of_half() {
	paste -d, <(column h/requests.csv target) <(column h/requests.csv outcome) <(column h/requests.csv output_tokens) \
		<(column h/requests.csv send_ns) <(column h/requests.csv token1_ns) <(column h/requests.csv token_last_ns) <(column h/requests.csv streamed) |
		awk -F, -v name="$1" -v outcome="$2" '
			function differ(a, b) { return a - b > 1e-5 || b - a > 1e-5 }
			FNR == NR { split($0, p, ","); if (p[1] == name) { has_ok = p[2]; has_failed = p[3]; has_wasted = p[4]; has_ttft = p[5]; has_tpot = p[6] }; next }
			$1 != name { next }
			{ n++ }
			$2 == "ok" { ok++; ttft += ($5 - $4) / 1e6; if ($3 != 10) cut++ }
			$2 == "ok" && $7 == 1 { streams++; tpot += ($6 - $5) / 9e6 }
			$2 != "ok" { wasted += $3; if ($2 != outcome) other = other " " $2 }
			END {
				ttft /= ok ? ok : 1; tpot /= streams ? streams : 1
				if (other != "") print "also" other
				else if (cut) print cut " of the ok ones are not whole"
				else if (outcome == "ok" ? ok < n : ok == n || ok == 0) print ok " ok of " n
				else if (has_ok != ok || has_failed != n - ok || has_wasted != wasted + 0) print "counts: " has_ok " ok, " has_failed " failed, " has_wasted " wasted"
				else if (differ(has_ttft, ttft) || differ(has_tpot, tpot)) print "TTFT " has_ttft ", TPOT " has_tpot " for " ttft ", " tpot
				else printf "%d of %d, TTFT %.2f ms, TPOT %.2f ms\n", ok, n, ttft, tpot
			}' <(paste -d, <(column h/points.csv target) <(column h/points.csv ok) <(column h/points.csv failed) \
			<(column h/points.csv wasted_tokens) <(column h/points.csv ttft_mean_ms) <(column h/points.csv tpot_mean_ms)) -
}

wrong=0
printf '%-18s  %-26s  %-26s  %s\n' 'fault' '/v1/chat/completions' '/v1/completions' 'at half of the requests: the ok ones'
while read -r fault outcome tokens source; do
	chat=$(cell "$fault openai-chat")
	text=$(cell "$fault openai-completions")
	mark=
	for got in "$chat" "$text"; do
		[ "$got" = "$outcome $tokens $source" ] || mark="  <- want $outcome $tokens $source"
	done
	others=$(of_half "$fault openai-chat" "$outcome")
	[[ $others == *" ms" ]] || mark+="  <- want the others whole, and figures of them alone"
	[ -z "$mark" ] || wrong=$((wrong + 1))
	printf '%-18s  %-26s  %-26s  %s%s\n' "$fault" "$chat" "$text" "$others" "$mark"
done <<<"$rows"
echo "(outcome, tokens counted of 10, where their number is from; TTFT and TPOT of points.csv are those of the ok rows)"
[ $wrong = 0 ] || fail "$wrong rows of the matrix are not as they have to be"

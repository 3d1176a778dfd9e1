#!/usr/bin/env bash
# The fault matrix: each fault of fakeengine, on both API endpoints, and what loadgen makes of it. Prints a table;
# exits 1 if a cell is not what it has to be. BIN_DIR holds the programs.
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

"${bound[@]}" "$BIN_DIR/fakeengine" --port 0 --prefill-ms 5 --per-token-ms 1 --tokens 10 "$@" >listening 2>engine.err &
engine=$!
await_lines listening 1 $engine
url=$(sed 's/listening on //' listening)
{
	echo 'name: fault matrix'
	echo 'targets:'
	while read -r fault _; do
		for dialect in $endpoints; do
			header="headers: {X-Fault: \"$fault\"}, "
			[ "$fault" = none ] && header=
			echo "  - {name: \"$fault $dialect\", url: \"$url\", model: fake-model, $header dialect: $dialect}"
		done
	done <<<"$rows"
	cat <<-'YAML'
		workload:
		  prompts: {text: ["Explain a mutex.", "Now in one line."]}
		  output_tokens: 10
		load: {closed: {concurrency: 2, requests: 2}}
		limits: {idle: 400ms}
		output: {plots: []}
	YAML
} >matrix.yaml
loadgen run matrix.yaml --out m --progress none --no-preflight >out 2>err
code=$?
kill $engine
[ $code = 1 ] || { cat out err >&2; fail "the run: exit code $code, want 1, since requests fail"; }

# cell NAME: what all requests of a target have in common, or all that they have.
cell() {
	paste -d' ' <(column m/requests.csv target) <(column m/requests.csv outcome) \
		<(column m/requests.csv output_tokens) <(column m/requests.csv token_source) |
		awk -v name="$1" 'index($0, name " ") == 1 { n = split($0, f, " ")
			tokens = n == 5 ? f[4] : "-"; print f[3], tokens, f[n] }' | sort -u | paste -sd'|'
}

wrong=0
printf '%-18s  %-34s  %s\n' 'fault' '/v1/chat/completions' '/v1/completions'
while read -r fault outcome tokens source; do
	chat=$(cell "$fault openai-chat")
	text=$(cell "$fault openai-completions")
	mark=
	for got in "$chat" "$text"; do
		[ "$got" = "$outcome $tokens $source" ] || mark="  <- want $outcome $tokens $source"
	done
	[ -z "$mark" ] || wrong=$((wrong + 1))
	printf '%-18s  %-34s  %s%s\n' "$fault" "$chat" "$text" "$mark"
done <<<"$rows"
echo "(outcome, tokens counted of 10, where their number is from)"
[ $wrong = 0 ] || fail "$wrong rows of the matrix are not as they have to be"

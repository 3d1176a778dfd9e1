#!/usr/bin/env bash
# Builds and runs the tests. Installs what is missing. Last line: N passed, N failed, N skipped.
#
#   bash tests/run.sh            all suites
#   bash tests/run.sh asan       one of them:
#
#   style    formatting, the include law, clang-tidy, shell syntax
#   asan     every unit, integration, replay and command-line test under ASan + UBSan
#   release  the same without sanitizers and with NDEBUG, as it is shipped
#   fuzz     each parser under libFuzzer, briefly, from its committed corpus
set -uo pipefail
cd "$(dirname "$0")/.."
. scenarios/setup.sh

case "${1:-}" in
-h | --help)
	sed -n '2,11s/^# \{0,1\}//p' tests/run.sh
	exit 0
	;;
esac
suites=("$@")
[ $# -gt 0 ] || suites=(style asan release fuzz)
passed=0 failed=0 skipped=0

# One line a check: "ok NAME", "FAIL NAME" and what it printed, "skip NAME why".
check() {
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		passed=$((passed + 1))
		echo "ok   $name"
	else
		failed=$((failed + 1))
		printf 'FAIL %s\n%s\n' "$name" "$out"
	fi
}

# Counts from ctest's JUnit file: a cmocka program counts each of its tests, any other program counts once.
count_junit() {
	awk '
	function flush_case() {
		if (name == "") return
		if (ran == 0 || (status == "fail" && bad == 0)) {
			if (status == "run") good++
			else if (status == "fail") bad++
			else skip++
		}
		p += good; f += bad; s += skip
	}
	/<testcase / {
		flush_case()
		name = $0; status = $0; good = bad = skip = ran = 0
		sub(/.*status="/, "", status); sub(/".*/, "", status)
	}
	/^\[ RUN      \]|\[ RUN      \]/ { ran++ }
	/\[       OK \] / { good++ }
	/\[  FAILED  \] [a-z_0-9]+$/ { if (!tally) bad++ }
	/\[  SKIPPED \] [a-z_0-9]+$/ { if (!tally) skip++ }
	/\[==========\] .* run/ { tally = 1 }
	/<\/testcase>/ { tally = 0 }
	END { flush_case(); print p + 0, f + 0, s + 0 }' "$1"
}

run_ctest() {
	local preset=$1 junit counts
	junit="$PWD/build/$preset/junit.xml"
	rm -f "$junit"
	if ! (build "$preset"); then
		failed=$((failed + 1))
		echo "FAIL $preset: it does not build"
		return
	fi
	ctest --test-dir "build/$preset" --output-on-failure --no-tests=error --timeout 300 -j "$(nproc)" \
		--output-junit "$junit" || true
	if [ ! -s "$junit" ]; then
		failed=$((failed + 1))
		echo "FAIL $preset: ctest left no result"
		return
	fi
	read -r -a counts <<<"$(count_junit "$junit")"
	passed=$((passed + counts[0])) failed=$((failed + counts[1])) skipped=$((skipped + counts[2]))
}

run_style() {
	build dev
	check "style: clang-format" bash tests/style/format.sh
	check "style: include law" bash tests/style/include_law.sh build/dev
	check "style: clang-tidy" bash tests/style/tidy.sh build/dev
	check "style: names no machine" bash tests/style/words.sh
	for script in scenarios/*.sh tests/*.sh tests/*/*.sh .ci/run; do
		check "style: bash -n $script" bash -n "$script"
	done
}

# shellcheck disable=SC2086
need_packages $test_packages
# Where there is none and none can be had, the test gpu_ptx says so; in CI it fails.
bash tests/nvcc.sh >/dev/null || true
for suite in "${suites[@]}"; do
	echo "== $suite"
	case "$suite" in
	style) run_style ;;
	asan | fuzz) run_ctest "$suite" ;;
	release) run_ctest release-tests ;;
	*)
		say "$suite: no such suite; want style, asan, release or fuzz"
		exit 2
		;;
	esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# Kernels broken on purpose: each must be noticed by the checkers that list.sh names for it, and by no other. A mutant is
# one exact replacement in one file.
#   run.sh simt BIN_DIR CXX "FLAGS" [NAME...]    as C++, compiled to a shared object that takes the place of the kernels
#                                                of that name (SIMT_KERNELS, simt.h); FLAGS: the sanitizers that the
#                                                tests in BIN_DIR were built with
#   run.sh ptx BIN_DIR NVCC PTX_DIR [NAME...]    as PTX, beside that of the other kernels in PTX_DIR; also counted
# JOBS at a time, as many as there are processors.
set -u
shopt -u patsub_replacement 2>/dev/null # a & in a mutant is a &
how=$1 bin=$2 compiler=$3 with=$4
shift 4
only=" $* "
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../../gpu_engine/cuda/kernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
jobs=${JOBS:-$(nproc)}
names=()

# mutant NAME FILE TEST SEEN_BY OLD NEW
mutant() {
	local name=$1 file=$2 test=$3 seen_by=$4 old=$5 new=$6 text dir=$work/$1
	[ "$only" = "  " ] || [[ "$only" == *" $name "* ]] || return 0
	[ "$how $test" != "simt counters" ] || return 0
	names+=("$name")
	mkdir -p "$dir"
	cp "$kernels"/*.h "$kernels"/*.cu "$dir"
	text=$(cat "$kernels/$file")
	if [[ "$text" != *"$old"* ]]; then
		echo "STALE: what it replaces is no longer in $file" >"$dir/result"
		return
	fi
	printf '%s\n' "${text/"$old"/$new}" >"$dir/$file"
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	try "$name" "${file%.*}" "$test" "$seen_by" &
}

compile_simt() {
	# shellcheck disable=SC2086
	$compiler -std=c++17 -O1 -fno-strict-aliasing -fPIC -shared -fvisibility=hidden -Wl,-Bsymbolic $with -w \
		-I"$here/../simt" -I"$2" -xc++ "$2/$1.cu" -o "$2/k.so"
}

compile_ptx() {
	ln -s "$with"/*.ptx "$2" && rm "$2/$1.ptx" &&
		$compiler -std=c++17 -ptx -arch=compute_80 -o "$2/$1.ptx" "$2/$1.cu"
}

run_test() {
	case "$how $1" in
	simt*) SIMT_KERNELS=$2/k.so timeout 60 "$bin/test_gpu_$1" ;;
	*counters) BENCH_PTX=$2 timeout 120 "$bin/test_gpu_counters" ;;
	*) BENCH_PTX=$2 timeout 120 "$bin/test_ptx_$1" ;;
	esac
}

# A change of gpu.h is compiled with the kernels that the test is about.
try() {
	local name=$1 unit=$2 test=$3 listed=no noticed=yes dir=$work/$1 says
	exec 2>/dev/null # "Aborted" is what is hoped for
	[[ " $4 " != *" $how "* ]] || listed=yes
	if [ "$unit" = gpu ]; then unit=rows; fi
	if ! "compile_$how" "$unit" "$dir" 2>"$dir/compiler"; then
		echo "DOES NOT COMPILE: $(head -1 "$dir/compiler")" >"$dir/result"
		return
	fi
	! run_test "$test" "$dir" >"$dir/out" 2>&1 || noticed=no
	says=$(grep -m1 -oE 'SIMT: .*|ptxsim: .*|ERROR: AddressSanitizer: [a-z-]+|runtime error: .*|[a-z ]+, number [0-9]+: .*|ERROR.*' \
		"$dir/out" | cut -c1-100)
	case "$listed $noticed" in
	"yes yes") echo "noticed: $says" ;;
	"no no") echo "not noticed, as listed" ;;
	"yes no") echo "NOT NOTICED by $how, $test" ;;
	"no yes") echo "NOTICED, which list.sh does not say: $says" ;;
	esac >"$dir/result"
}

. "$here/list.sh"
wait
wrong=0
for name in "${names[@]}"; do
	printf '%-28s %s\n' "$name" "$(cat "$work/$name/result")"
	grep -qE '^not(iced:| noticed)' "$work/$name/result" || wrong=$((wrong + 1))
done
echo "$how: ${#names[@]} mutants, $wrong not as listed"
[ "$wrong" -eq 0 ] && [ "${#names[@]}" -gt 0 ]

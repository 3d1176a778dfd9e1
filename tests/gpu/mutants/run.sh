#!/usr/bin/env bash
# Kernels broken on purpose: each must be noticed by the test that it names. A mutant is one exact replacement in one
# file, compiled to a shared object that takes the place of the kernels of that name (SIMT_KERNELS, simt.h).
#   run.sh BIN_DIR CXX "FLAGS" [NAME]    FLAGS: the sanitizers that the tests in BIN_DIR were built with
set -u
shopt -u patsub_replacement 2>/dev/null # a & in a mutant is a &
bin=$1 cxx=$2 flags=$3 only=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
kernels=$here/../../../gpu_engine/cuda/kernels
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
jobs=$(nproc)
names=()

# mutant NAME FILE TEST OLD NEW
mutant() {
	local name=$1 file=$2 test=$3 old=$4 new=$5 text dir=$work/$1
	[ -z "$only" ] || [ "$only" = "$name" ] || return 0
	names+=("$name")
	mkdir -p "$dir"
	cp "$kernels"/*.h "$dir"
	text=$(cat "$kernels/$file")
	if [[ "$text" != *"$old"* ]]; then
		echo "STALE: what it replaces is no longer in $file" >"$dir/result"
		return
	fi
	for unit in rows gemv gemm attention prefill sample; do cp "$kernels/$unit.cu" "$dir"; done
	printf '%s\n' "${text/"$old"/$new}" >"$dir/$file"
	while [ "$(jobs -rp | wc -l)" -ge "$jobs" ]; do wait -n; done
	try "$name" "${file%.*}" "$test" &
}

# A change of gpu.h is compiled with the kernels that the test is about.
try() {
	local name=$1 unit=$2 test=$3 dir=$work/$1
	exec 2>/dev/null # "Aborted" is what is hoped for
	if [ "$unit" = gpu ]; then unit=rows; fi
	if ! $cxx -std=c++17 -O1 -fno-strict-aliasing -fPIC -shared -fvisibility=hidden -Wl,-Bsymbolic $flags -w \
		-I"$here/../simt" -I"$dir" -xc++ "$dir/$unit.cu" -o "$dir/k.so" 2>"$dir/compiler"; then
		echo "DOES NOT COMPILE: $(head -1 "$dir/compiler")" >"$dir/result"
		return
	fi
	if SIMT_KERNELS=$dir/k.so timeout 60 "$bin/$test" >"$dir/out" 2>&1; then
		echo "NOT NOTICED by $test" >"$dir/result"
	else
		echo "noticed: $(grep -m1 -oE 'SIMT: .*|ERROR: AddressSanitizer: [a-z-]+|runtime error: .*|[a-z ]+, number [0-9]+: .*|ERROR.*' \
			"$dir/out" | cut -c1-100)" >"$dir/result"
	fi
}

. "$here/list.sh"
wait
missed=0
for name in "${names[@]}"; do
	printf '%-28s %s\n' "$name" "$(cat "$work/$name/result")"
	grep -q ^noticed "$work/$name/result" || missed=$((missed + 1))
done
echo "${#names[@]} mutants, $missed not noticed"
[ "$missed" -eq 0 ] && [ "${#names[@]}" -gt 0 ]

#!/usr/bin/env bash
# Prints the nvcc that the build will find, of CUDA 13.0 or later; installs one where there is none: the compiler's five
# PyPI packages, about 100 MB, into a folder of its own in the cache, nothing else of the machine is touched.
set -eu
oldest=13.0
folder=${XDG_CACHE_HOME:-$HOME/.cache}/llm_loadgen/nvcc
nvcc=$folder/nvidia/cu13/bin/nvcc

new_enough() {
	local version
	version=$("$1" --version 2>/dev/null | sed -n 's/.*release \([0-9.]*\).*/\1/p')
	[ -n "$version" ] && [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -1)" = "$oldest" ]
}

for known in "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc "$nvcc"; do
	if [ -x "$known" ] && new_enough "$known"; then
		echo "$known"
		exit 0
	fi
done

parts=()
for part in nvcc crt runtime cccl; do parts+=("nvidia-cuda-$part==13.0.*"); done
. "$(dirname "$0")/../scenarios/setup.sh"
python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
say "installing nvcc into $folder"
rm -rf "$folder"
if ! python3 -m pip install --quiet --no-deps --disable-pip-version-check --root-user-action=ignore \
	--target "$folder" "${parts[@]}" "nvidia-nvvm==13.0.*" >&2 || ! new_enough "$nvcc"; then
	rm -rf "$folder"
	say "no nvcc: put one of CUDA $oldest or later in PATH, or let pip reach ${parts[*]} nvidia-nvvm==13.0.*"
	exit 1
fi
echo "$nvcc"

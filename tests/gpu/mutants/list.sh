# mutant NAME FILE TEST SEEN_BY OLD NEW: see run.sh. SEEN_BY: which checkers notice it, of simt and ptx; where one does
# not, why stands above it.

# ---- barriers and warps
mutant no_barrier gpu.h rows 'simt ptx' 'part[warp] = v;
	__syncthreads();' 'part[warp] = v;'
mutant divergent_barrier gpu.h rows 'simt ptx' '		part[warp] = v;
	__syncthreads();' '		{ part[warp] = v; __syncthreads(); }
	else
		__syncthreads();'
mutant lanes_left_out rows.cu rows 'simt ptx' '	if (i >= padded) /* whole' '	if (i >= n) /* whole'
mutant half_mask gpu.h rows 'simt ptx' 'v += __shfl_xor_sync(ALL_LANES, v, d);
	return v;
}

GPU_FN float warp_max' 'v += __shfl_xor_sync(0xffffu, v, d);
	return v;
}

GPU_FN float warp_max'
mutant shuffle_in_branch attention.cu attention 'simt ptx' 'w[j] = __shfl_sync(ALL_LANES, weight[j], t);' \
	'w[j] = lane < 16 ? __shfl_sync(ALL_LANES, weight[j], t) : 0;'
mutant exit_before_barrier attention.cu attention 'simt ptx' '	if (sequence < 0)
		return;' '	if (sequence < 0 || first >= head_dim)
		return;'

# ---- asynchronous copies
mutant copy_not_awaited gemm.cu products 'simt ptx' 'copy_wait<1>();' ';'
mutant no_barrier_behind_copy gemm.cu products 'simt ptx' '			copy_wait<0>();
		}
		__syncthreads();' '			copy_wait<0>();
		}'
mutant refilled_too_early gemm.cu products 'simt ptx' '		__syncthreads(); /* nobody reads' '		/* nobody reads'
mutant tile_refilled_too_early attention.cu attention 'simt ptx' '		__syncthreads(); /* nobody reads' \
	'		/* nobody reads'
mutant values_refilled_too_early prefill.cu attention 'simt ptx' '		__syncthreads(); /* the keys' '		/* the keys'
mutant keys_refilled_too_early prefill.cu attention 'simt ptx' '		__syncthreads(); /* the values' '		/* the values'
mutant copy_misaligned attention.cu attention 'simt ptx' 'key_pitch = a.head_dim + 8;' 'key_pitch = a.head_dim + 7;'

# ---- bounds
mutant rows_beyond_the_end gemv.cu products 'simt ptx' 'min(r, m - 1)' 'r'
mutant output_beyond_the_end gemm.cu products 'simt ptx' 'if (o < w.n_out && r < m)' 'if (r < m)'
mutant shared_too_small gpu.h rows 'simt ptx' 'SHARED(float, part, [WARP]);' 'SHARED(float, part, [4]);'
mutant padding_not_written rows.cu rows 'simt ptx' 'i < padded; i += step) {
		float v = i < n' 'i < n; i += step) {
		float v = i < n'

# ---- arithmetic and layout
mutant nibbles_swapped gemv.cu products 'simt ptx' 'i % 2 * 4)' '4 - i % 2 * 4)'
mutant min_added_twice gemv.cu products 'simt ptx' 'least = i % 2 == 0 ? high_half(pair) : 0.0f;' \
	'least = high_half(pair);'
mutant fragment_turned gemm.cu products 'simt ptx' '[part + lane / 8 % 2 * 8]' '[part + lane / 16 * 8]'
mutant keys_for_values attention.cu attention 'simt ptx' '(page * 2 + (is_k ? 0 : 1))' '(page * 2 + (is_k ? 1 : 0))'
mutant window_off_by_one prefill.cu attention 'simt ptx' 'back < a.window)' 'back <= a.window)'
mutant decode_window_off_by_one attention.cu attention 'simt ptx' 'window > 0 ? position - window + 1' 'window > 0 ? position - window'
mutant causal_off_by_one prefill.cu attention 'simt ptx' 'back >= 0 &&' 'back >= -1 &&'
mutant not_turned prefill.cu attention 'simt ptx' 'load_matrices_turned(of_v' 'load_matrices(of_v'
mutant other_rows_shrink prefill.cu attention 'simt ptx' 'shrink[i % 4 / 2]' 'shrink[i % 2]'
mutant total_of_a_lane prefill.cu attention 'simt ptx' 'row_total(row[h].weights)' 'row[h].weights'
mutant maximum_forgotten attention.cu attention 'simt ptx' 'rows[j].weights * shrink' 'rows[j].weights'
mutant split_forgotten attention.cu attention 'simt ptx' 'end = positions[row] / SPLIT + 1;' \
	'end = (positions[row] + SPLIT - 1) / SPLIT;'
mutant page_crossing attention.cu attention 'simt ptx' 'a.table[token / a.page_tokens]' 'a.table[first / a.page_tokens]'
mutant rope_sign attention.cu attention 'simt ptx' '(second ? other : -other)' '(second ? -other : other)'
mutant mean_forgotten rows.cu rows 'simt ptx' '(v - statistics.x) * statistics.y' 'v * statistics.y'
mutant tie_to_the_higher sample.cu tokens 'simt ptx' 'b.token < a.token' 'b.token > a.token'
mutant nucleus_too_small sample.cu tokens 'simt ptx' 'if (mass_from(weights, n, k, least, count) >= enough)' \
	'if (mass_from(weights, n, k, least, count) >= 0.5f * enough)'
mutant counts_left sample.cu tokens 'simt ptx' 'atomicExch(&seen[token], 0u)' 'atomicOr(&seen[token], 0u)'
mutant up_beyond_the_end rows.cu rows 'simt ptx' 'row[n + i] + (bias ? bias[n + i]' 'row[n + i + 1] + (bias ? bias[n + i]'

# ---- what only the interpreter's look at every byte sees: results are right in the orders that simt tries
mutant reused_too_early gpu.h rows 'ptx' '	v = warp_sum(lane < warps ? part[lane] : 0.0f);
	__syncthreads();' '	v = warp_sum(lane < warps ? part[lane] : 0.0f);'

# ---- what is only slower: the table of counters
mutant rows_in_one_bank gemm.cu counters 'ptx' '(STEP + 8) /*' 'STEP /*'
mutant keys_in_one_bank attention.cu counters 'ptx' 'key_pitch = a.head_dim + 8;' 'key_pitch = a.head_dim;'
mutant lanes_apart gemv.cu counters 'ptx' 'for (int32_t i = (int32_t)threadIdx.x % WARP; i < n_chunks; i += WARP) {
		uint4 a' 'for (int32_t i = (int32_t)threadIdx.x % WARP * (n_chunks / WARP + 1),
		     end = min(i + n_chunks / WARP + 1, n_chunks);
	     i < end; i++) {
		uint4 a'

# ---- what nobody sees here
# Without its memory clobber nvcc may move loads of shared memory above the wait; it does not.
mutant wait_without_clobber gpu.h products '' 'asm volatile("cp.async.wait_group %0;" ::"n"(behind) : "memory");' \
	'asm volatile("cp.async.wait_group %0;" ::"n"(behind));'

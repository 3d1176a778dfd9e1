# mutant NAME FILE TEST OLD NEW: see run.sh.

# ---- barriers and warps
mutant no_barrier gpu.h test_gpu_rows 'part[warp] = v;
	__syncthreads();' 'part[warp] = v;'
mutant divergent_barrier gpu.h test_gpu_rows '		part[warp] = v;
	__syncthreads();' '		{ part[warp] = v; __syncthreads(); }
	else
		__syncthreads();'
mutant lanes_left_out rows.cu test_gpu_rows '	if (i >= padded) /* whole' '	if (i >= n) /* whole'
mutant half_mask gpu.h test_gpu_rows 'v += __shfl_xor_sync(ALL_LANES, v, d);
	return v;
}

GPU_FN float warp_max' 'v += __shfl_xor_sync(0xffffu, v, d);
	return v;
}

GPU_FN float warp_max'
mutant shuffle_in_branch attention.cu test_gpu_attention 'w[j] = __shfl_sync(ALL_LANES, weight[j], t);' \
	'w[j] = lane < 16 ? __shfl_sync(ALL_LANES, weight[j], t) : 0;'
mutant exit_before_barrier attention.cu test_gpu_attention '	if (sequence < 0)
		return;' '	if (sequence < 0 || first >= head_dim)
		return;'

# ---- asynchronous copies
mutant copy_not_awaited gemm.cu test_gpu_products 'copy_wait<1>();' ';'
mutant no_barrier_behind_copy gemm.cu test_gpu_products '			copy_wait<0>();
		}
		__syncthreads();' '			copy_wait<0>();
		}'
mutant refilled_too_early gemm.cu test_gpu_products '		__syncthreads(); /* nobody reads' '		/* nobody reads'
mutant tile_refilled_too_early attention.cu test_gpu_attention '		__syncthreads(); /* nobody reads' \
	'		/* nobody reads'
mutant values_refilled_too_early prefill.cu test_gpu_attention '		__syncthreads(); /* the keys' '		/* the keys'
mutant keys_refilled_too_early prefill.cu test_gpu_attention '		__syncthreads(); /* the values' '		/* the values'
mutant copy_misaligned attention.cu test_gpu_attention 'key_pitch = a.head_dim + 8;' 'key_pitch = a.head_dim + 7;'

# ---- bounds
mutant rows_beyond_the_end gemv.cu test_gpu_products 'min(r, m - 1)' 'r'
mutant output_beyond_the_end gemm.cu test_gpu_products 'if (o < w.n_out && r < m)' 'if (r < m)'
mutant shared_too_small gpu.h test_gpu_rows 'SHARED(float, part, [WARP]);' 'SHARED(float, part, [4]);'
mutant padding_not_written rows.cu test_gpu_rows 'i < padded; i += step) {
		float v = i < n' 'i < n; i += step) {
		float v = i < n'

# ---- arithmetic and layout
mutant nibbles_swapped gemv.cu test_gpu_products 'dot_16(low, __ldg(b), dot_16(high, __ldg(b + 1), 0))' \
	'dot_16(high, __ldg(b), dot_16(low, __ldg(b + 1), 0))'
mutant min_added_twice gemv.cu test_gpu_products 'least = i % 2 == 0 ? high_half(pair) : 0.0f;' \
	'least = high_half(pair);'
mutant fragment_turned gemm.cu test_gpu_products '[part + lane / 8 % 2 * 8]' '[part + lane / 16 * 8]'
mutant keys_for_values attention.cu test_gpu_attention '(page * 2 + (is_k ? 0 : 1))' '(page * 2 + (is_k ? 1 : 0))'
mutant window_off_by_one prefill.cu test_gpu_attention 'back < a.window)' 'back <= a.window)'
mutant decode_window_off_by_one attention.cu test_gpu_attention 'window > 0 ? position - window + 1' 'window > 0 ? position - window'
mutant causal_off_by_one prefill.cu test_gpu_attention 'back >= 0 &&' 'back >= -1 &&'
mutant not_turned prefill.cu test_gpu_attention 'load_matrices_turned(of_v' 'load_matrices(of_v'
mutant other_rows_shrink prefill.cu test_gpu_attention 'shrink[i % 4 / 2]' 'shrink[i % 2]'
mutant total_of_a_lane prefill.cu test_gpu_attention 'row_total(row[h].weights)' 'row[h].weights'
mutant maximum_forgotten attention.cu test_gpu_attention 'rows[j].weights * shrink' 'rows[j].weights'
mutant split_forgotten attention.cu test_gpu_attention 'end = positions[row] / SPLIT + 1;' \
	'end = (positions[row] + SPLIT - 1) / SPLIT;'
mutant page_crossing attention.cu test_gpu_attention 'a.table[token / a.page_tokens]' 'a.table[first / a.page_tokens]'
mutant rope_sign attention.cu test_gpu_attention '(second ? other : -other)' '(second ? -other : other)'
mutant mean_forgotten rows.cu test_gpu_rows '(v - statistics.x) * statistics.y' 'v * statistics.y'
mutant tie_to_the_higher sample.cu test_gpu_tokens 'b.token < a.token' 'b.token > a.token'
mutant nucleus_too_small sample.cu test_gpu_tokens 'if (mass_from(weights, n, k, least, count) >= enough)' \
	'if (mass_from(weights, n, k, least, count) >= 0.5f * enough)'
mutant counts_left sample.cu test_gpu_tokens 'atomicExch(&seen[token], 0u)' 'atomicOr(&seen[token], 0u)'
mutant up_beyond_the_end rows.cu test_gpu_rows 'row[n + i] + (bias ? bias[n + i]' 'row[n + i + 1] + (bias ? bias[n + i]'

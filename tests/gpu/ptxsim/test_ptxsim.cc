/*
 * The interpreter against plain C: every group of instructions on values with corners in them,
 * under several orders of blocks, warps and copies, with all checks on. Then its checks against
 * kernels that are wrong on purpose.
 */
#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <cstdarg>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include "client.h"
#include "numeric.h"
extern "C" {
#include <cmocka.h>
}

#define PTX(name) PTX_DIR "/" name ".ptx"

static std::mt19937 dice(20);

static float some_float()
{
	static const float corners[] = {0, -0.0f, 1, -1, 0.5f, 65504, 1e-8f, 3e-5f, -2.75f, 100};
	return dice() % 4 ? (float)((int)(dice() % 20001) - 10000) / 1000 : corners[dice() % 10];
}

static int some_int()
{
	static const int corners[] = {0, 1, -1, INT32_MAX, INT32_MIN, 0x80, 0x7f80, 31, 32};
	return dice() % 4 ? (int)dice() : corners[dice() % 9];
}

static std::vector<float> floats(size_t n)
{
	std::vector<float> v(n);
	for (auto &x : v)
		x = some_float();
	return v;
}

static void close_to(double got, double want, double relative)
{
	if (std::isnan(want) ? !std::isnan(got)
			     : !(fabs(got - want) <= relative * fabs(want) + 1e-30 || got == want))
		fail_msg("got %.9g, want %.9g", got, want);
}

/* The runs of every kernel: in order and with everything out of order that may be. */
static const std::vector<const char *> settings[] = {
	{"PTXSIM_CHECK=race,init"},
	{"PTXSIM_CHECK=race,init", "PTXSIM_SEED=1", "PTXSIM_CP_ASYNC=early"},
	{"PTXSIM_SEED=2", "PTXSIM_CP_ASYNC=random", "PTXSIM_ASYNC=late"},
	{"PTXSIM_SEED=3"},
};

static void under(const std::vector<const char *> &s)
{
	s.size() == 1	? driver_begin({s[0]})
	: s.size() == 2 ? driver_begin({s[0], s[1]})
			: driver_begin({s[0], s[1], s[2]});
}

static void integers(void **)
{
	enum { N = 200 };
	std::vector<int> a(N), b(N);
	for (int i = 0; i < N; i++)
		a[i] = some_int(), b[i] = i % 9 ? some_int() : i % 40;
	driver_begin({"PTXSIM_CHECK=race,init"});
	bench t(PTX("arithmetic"));
	CUdeviceptr out = t.room(N * 16 * 4), da = t.upload(a), db = t.upload(b);
	assert_int_equal(t.run("k_integers", 4, 64, out, da, db, (int)N), CUDA_SUCCESS);
	auto got = t.download<int>(out, N * 16);
	for (int i = 0; i < N; i++) {
		int64_t x = a[i], y = b[i];
		uint32_t ux = (uint32_t)x, uy = (uint32_t)y, reversed = 0;
		int32_t dot = 100;
		for (int k = 0; k < 4; k++)
			dot += (int8_t)(ux >> 8 * k) * (int8_t)(uy >> 8 * k);
		for (int k = 0; k < 32; k++)
			reversed |= (uy >> k & 1) << (31 - k);
		uint64_t both = (uint64_t)uy << 32 | ux;
		uint32_t permuted = (uint32_t)((both >> 24 & 255) | (both >> 8 & 255) << 8 |
					       (both >> 40 & 255) << 16 | (both >> 48 & 255) << 24);
		int64_t want[16] = {x + y,
				    x * y,
				    y ? x / y : 7,
				    y ? ux % (uy | 1) : 9,
				    x * y >> 32,
				    x * y >> 13,
				    x >> (uy & 31),
				    ux >> (uy & 31),
				    (int64_t)((uint32_t)std::min(x, y) ^ std::max(ux, uy)),
				    __builtin_popcount(ux) + ((ux ? __builtin_clz(ux) : 32) << 8) +
					    ((int32_t)reversed >> 8),
				    dot,
				    permuted,
				    (int64_t)(uint32_t)(both >> 11),
				    ((x >> 5) & 0x1ff) | (int64_t)(uy << 20),
				    (int64_t)(int16_t)ux * (int8_t)uy + (uint8_t)(ux >> 8),
				    std::abs(x) - ((x & y) | ~x)};
		for (int k = 0; k < 16; k++)
			if ((uint32_t)got[i * 16 + k] != (uint32_t)want[k])
				fail_msg("result %d of %d and %d: got %d, want %d", k, a[i], b[i],
					 got[i * 16 + k], (int)want[k]);
	}
}

static void single_precision(void **)
{
	enum { N = 200 };
	auto a = floats(N), b = floats(N);
	driver_begin({"PTXSIM_CHECK=race,init"});
	bench t(PTX("arithmetic"));
	CUdeviceptr out = t.room(N * 12 * 4), da = t.upload(a), db = t.upload(b);
	assert_int_equal(t.run("k_floats", 4, 64, out, da, db, (int)N), CUDA_SUCCESS);
	auto got = t.download<float>(out, N * 12);
	for (int i = 0; i < N; i++) {
		float x = a[i], y = b[i], *g = &got[(size_t)i * 12];
		close_to(g[0], std::fma(y, 3.0f, x), 1e-6);
		assert_true(y == 0 || g[1] == x / y);
		assert_true(g[2] == std::fmax(x, std::fmin(y, 0.5f)));
		close_to(g[3], (float)std::exp((double)x), 1e-5);
		close_to(g[4], 1 / std::sqrt(std::fabs((double)x) + 0.25), 1e-6);
		assert_true(g[5] == std::sqrt(std::fabs(y)));
		close_to(g[6], std::nearbyint(x * 10), 0);
		close_to(g[7], std::truncf(x * 10) + std::floor(y * 10) * 100, 1e-6);
		if (std::fabs(std::fabs(x) - 0.5f) > 0.01)
			close_to(g[8], std::log(std::fabs((double)x) + 0.5), 1e-5);
		assert_true(y == 0 || std::fabs(g[9] - x / y) <= 1e-6f * std::fabs(x / y));
		close_to(g[10], (float)((double)x * y), 0);
		assert_true(g[11] == (x < y ? 1 : x > y ? 2 : 3));
	}
}

static void half_precision(void **)
{
	enum { N = 200 };
	auto a = floats(N), b = floats(N);
	driver_begin({});
	bench t(PTX("arithmetic"));
	CUdeviceptr out = t.room(N * 8 * 2), da = t.upload(a), db = t.upload(b);
	assert_int_equal(t.run("k_halves", 4, 64, out, da, db, (int)N), CUDA_SUCCESS);
	auto got = t.download<uint16_t>(out, N * 8);
	for (int i = 0; i < N; i++) {
		double x = half_to_float(to_half(a[i])), y = half_to_float(to_half(b[i]));
		double u = bf16_to_float(to_bf16(a[i])), v = bf16_to_float(to_bf16(b[i]));
		uint32_t want[8] = {
			to_half(a[i]),	    to_bf16(a[i]),
			to_half(x + y),	    to_half(x * y),
			to_half(x * x + x), to_half(y * y + y),
			to_bf16(u * v + u), to_half(std::fma((float)x, 2.0f, (float)v))};
		for (int k = 0; k < 8; k++)
			if (got[(size_t)i * 8 + k] != want[k] &&
			    (want[k] | got[(size_t)i * 8 + k]) != 0x8000)
				fail_msg("result %d of %g and %g: got %04x, want %04x", k, a[i],
					 b[i], got[(size_t)i * 8 + k], want[k]);
	}
}

/* The quick conversions against the exact ones, on every half and on many floats. */
static void conversions(void **)
{
	for (uint32_t h = 0; h < 0x10000; h++) {
		float f = half_to_float(h);
		if (f != f)
			continue;
		assert_int_equal(float_to_half(f), h);
		assert_int_equal(to_half(f), h);
		float g = bf16_to_float(h);
		if (g == g)
			assert_int_equal(float_to_bf16(g), h);
	}
	for (int n = 0; n < 200000; n++) {
		float f = bits_as<float>((uint32_t)dice());
		assert_int_equal(float_to_half(f), to_half(f));
		assert_int_equal(float_to_bf16(f), to_bf16(f));
	}
	assert_int_equal(to_half(65519.99), 0x7bff);
	assert_int_equal(to_half(65520), 0x7c00);
	assert_int_equal(to_half(-0x1p-24), 0x8001);
}

static void block_sums(void **)
{
	for (auto &s : settings) {
		for (unsigned threads : {32u, 128u, 1024u}) {
			enum { BLOCKS = 3, N = 1000 };
			auto x = floats(BLOCKS * N);
			under(s);
			bench t(PTX("warps"));
			CUdeviceptr out = t.room(BLOCKS * 4), dx = t.upload(x);
			assert_int_equal(t.run("k_block_sum", BLOCKS, threads, out, dx, (int)N),
					 CUDA_SUCCESS);
			auto got = t.download<float>(out, BLOCKS);
			for (int b = 0; b < BLOCKS; b++) {
				double sum = 0, size = 0;
				for (int i = 0; i < N; i++)
					sum += x[b * N + i], size += fabs(x[b * N + i]);
				assert_true(fabs(got[b] - sum) <= 1e-6 * size);
			}
		}
	}
}

static void warp_operations(void **)
{
	std::vector<int> x(32);
	int sum = 0, most = INT32_MIN;
	uint32_t ballot = 0;
	for (int l = 0; l < 32; l++) {
		x[l] = (int)(dice() % 900);
		sum += x[l], most = std::max(most, x[l]), ballot |= (uint32_t)(x[l] & 1) << l;
	}
	x[9] = 77, sum = most = 0, ballot = 0;
	for (int l = 0; l < 32; l++)
		sum += x[l], most = std::max(most, x[l]), ballot |= (uint32_t)(x[l] & 1) << l;
	for (auto &s : settings) {
		under(s);
		bench t(PTX("warps"));
		CUdeviceptr out = t.room(32 * 8 * 4), dx = t.upload(x);
		assert_int_equal(t.run("k_warp_ops", 1, 32, out, dx), CUDA_SUCCESS);
		auto got = t.download<int>(out, 32 * 8);
		auto trips = [&](int l) {
			int n = 0;
			for (int i = 0; i < l; i++)
				n += x[l] & i;
			return n;
		};
		for (int l = 0; l < 32; l++) {
			int want[8] = {l >= 3 ? x[l - 3] : x[l],
				       l % 8 + 5 < 8 ? x[l + 5] : x[l],
				       x[l / 16 * 16 + l * 7 % 16],
				       (int)ballot,
				       3,
				       sum,
				       most,
				       trips(l ^ 1)};
			assert_memory_equal(&got[(size_t)l * 8], want, sizeof want);
		}
	}
}

static void exchanges_and_atomics(void **)
{
	for (auto &s : settings) {
		under(s);
		bench t(PTX("warps"));
		auto x = floats(128);
		CUdeviceptr out = t.room(512), dx = t.upload(x);
		t.dynamic = 256;
		assert_int_equal(t.run("k_exchange", 2, 64, out, dx), CUDA_SUCCESS);
		auto got = t.download<float>(out, 128);
		for (int i = 0; i < 128; i++)
			assert_true(got[i] == x[(size_t)(i / 64 * 64 + ((63 - i % 64) ^ 31))]);
		t.dynamic = 0;
		enum { N = 100 };
		std::vector<uint32_t> u(N), start = {0, 0, 1u << 30, 0, 0, 0, 0, 0, 0, 0},
					    want = start;
		uint64_t wide = 0;
		for (auto &v : u) {
			v = dice() % 100000 + 1;
			want[0] += v, want[1] = std::max(want[1], v),
				      want[2] = std::min(want[2], v);
			want[3] |= 1u << (v & 31), wide += (uint64_t)v << 20;
		}
		want[4] = N % 10;
		CUdeviceptr dout = t.upload(start), du = t.upload(u);
		assert_int_equal(t.run("k_atomics", 4, 32, dout, du, (int)N), CUDA_SUCCESS);
		auto at = t.download<uint32_t>(dout, 10);
		assert_memory_equal(at.data(), want.data(), 20);
		assert_true(std::find(u.begin(), u.end(), at[5]) != u.end());
		assert_true((at[6] | (uint64_t)at[7] << 32) == wide);
		assert_true(bits_as<float>(at[8]) == N * 0.5f);
	}
}

static void grid_barrier(void **)
{
	for (auto &s : settings) {
		enum { BLOCKS = 6 };
		under(s);
		bench t(PTX("warps"));
		auto x = floats(BLOCKS);
		float sum = 0;
		for (float v : x)
			sum += v * 2;
		CUdeviceptr out = t.room(BLOCKS * 4), part = t.room(BLOCKS * 4), dx = t.upload(x);
		t.cooperative = true;
		assert_int_equal(t.run("k_grid_sum", BLOCKS, 64, out, part, dx), CUDA_SUCCESS);
		auto got = t.download<float>(part, BLOCKS);
		for (float v : got)
			close_to(v, sum, 1e-6);
	}
}

static void widths_and_spaces(void **)
{
	std::vector<uint8_t> in(512);
	for (auto &b : in)
		b = (uint8_t)dice();
	for (auto &s : settings) {
		under(s);
		bench t(PTX("memory"));
		CUdeviceptr out = t.room(480), din = t.upload(in), counter;
		size_t bytes;
		assert_int_equal(t.run("k_widths", 1, 32, out, din), CUDA_SUCCESS);
		auto got = t.download<uint8_t>(out, 480);
		for (int i = 0; i < 32; i++) {
			int16_t scaled = (int16_t)((int8_t)in[(size_t)i] * 100);
			float entry = 0.5f + (float)(i & 3);
			assert_int_equal(got[i], (uint8_t)(in[(size_t)i * 3] + 1));
			assert_memory_equal(&got[32 + (size_t)i * 2], &scaled, 2);
			assert_memory_equal(&got[96 + (size_t)i * 4], &entry, 4);
			assert_memory_equal(&got[224 + (size_t)i * 8], &in[(31 - (size_t)i) * 8],
					    8);
		}
		assert_int_equal(cuModuleGetGlobal_v2(&counter, &bytes, t.module, "counter"),
				 CUDA_SUCCESS);
		assert_int_equal(bytes, 8);
		assert_int_equal(t.download<int>(counter, 2)[1], in[7]);
	}
}

static void copies(void **)
{
	for (auto &s : settings) {
		enum { BLOCKS = 5, LAST = 8 };
		under(s);
		bench t(PTX("memory"));
		auto x = floats(BLOCKS * 128);
		CUdeviceptr out = t.room(128), dx = t.upload(x);
		assert_int_equal(t.run("k_pipeline", 1, 32, out, dx, (int)BLOCKS, (int)LAST),
				 CUDA_SUCCESS);
		auto got = t.download<float>(out, 32);
		for (int l = 0; l < 32; l++) {
			double sum = 0, size = 0;
			for (int i = 0; i < BLOCKS * 128; i++) {
				bool zero = i / 128 == BLOCKS - 1 && i % 4 >= LAST / 4;
				double term = zero ? 0 : (double)x[(size_t)i] * (i % 128 + l);
				sum += term, size += fabs(term);
			}
			assert_true(fabs(got[(size_t)l] - sum) <= 1e-5 * size);
		}
	}
}

static void tiles_of(const char *kernel, uint32_t (*narrowed)(double), float (*widened)(uint32_t))
{
	for (int k : {16, 48}) {
		std::vector<uint16_t> a((size_t)(16 * k)), b((size_t)(8 * k));
		for (auto &v : a)
			v = (uint16_t)narrowed((double)(dice() % 2001) / 1000 - 1);
		for (auto &v : b)
			v = (uint16_t)narrowed((double)(dice() % 2001) / 1000 - 1);
		bench t(PTX("matrix"));
		CUdeviceptr out = t.room(512), da = t.upload(a), db = t.upload(b);
		assert_int_equal(t.run(kernel, 1, 32, out, da, db, k), CUDA_SUCCESS);
		auto got = t.download<float>(out, 128);
		for (int m = 0; m < 16; m++) {
			for (int n = 0; n < 8; n++) {
				double sum = 0;
				for (int i = 0; i < k; i++)
					sum += (double)widened(a[(size_t)(m * k + i)]) *
					       widened(b[(size_t)(n * k + i)]);
				assert_true(fabs(got[(size_t)(m * 8 + n)] - sum) < 1e-5 * k);
			}
		}
	}
}

static void matrices(void **)
{
	for (auto &s : settings) {
		under(s);
		tiles_of("k_mma_f16", to_half, half_to_float);
		tiles_of("k_mma_bf16", to_bf16, bf16_to_float);
		bench t(PTX("matrix"));
		std::vector<int8_t> a(512), b(256);
		for (auto &v : a)
			v = (int8_t)dice();
		for (auto &v : b)
			v = (int8_t)dice();
		CUdeviceptr out = t.room(512), da = t.upload(a), db = t.upload(b);
		assert_int_equal(t.run("k_mma_s8", 1, 32, out, da, db), CUDA_SUCCESS);
		auto got = t.download<int>(out, 128);
		for (int m = 0; m < 16; m++) {
			for (int n = 0; n < 8; n++) {
				int sum = 1;
				for (int i = 0; i < 32; i++)
					sum += a[(size_t)(m * 32 + i)] * b[(size_t)(n * 32 + i)];
				assert_int_equal(got[(size_t)(m * 8 + n)], sum);
			}
		}
		std::vector<uint16_t> square(64);
		for (auto &v : square)
			v = (uint16_t)dice();
		CUdeviceptr turned = t.room(128), ds = t.upload(square);
		assert_int_equal(t.run("k_transpose", 1, 32, turned, ds), CUDA_SUCCESS);
		auto words = t.download<uint16_t>(turned, 64);
		for (int r = 0; r < 8; r++)
			for (int c = 0; c < 8; c++)
				assert_int_equal(words[(size_t)(r * 8 + c)],
						 square[(size_t)(c * 8 + r)]);
	}
}

/* Which check notices which mistake, and what it says. */
static const struct mutant {
	const char *kernel, *check;
	unsigned blocks, threads;
	CUresult answer;
	const char *says;
	bool cooperative;
} mutants[] = {
	{"b_race_read", "race", 1, 64, 719, "race in shared memory", false},
	{"b_race_write", "race", 1, 64, 719, "race in shared memory", false},
	{"b_race_warp", "race", 1, 32, 719, "race in shared memory", false},
	{"b_race_blocks", "race", 2, 32, 719, "race in global memory", false},
	{"b_race_grid", "race", 4, 32, 719, "race in global memory", true},
	{"b_global_bounds", "", 1, 64, 700, "outside of all device memory", false},
	{"b_shared_bounds", "", 1, 64, 700, "of shared memory", false},
	{"b_misaligned", "", 1, 32, 716, "misaligned read of 16 bytes", false},
	{"b_divergent_barrier", "", 1, 64, 719, "divergent barrier", false},
	{"b_exit_before_barrier", "", 1, 64, 719,
	 "a barrier after threads of the block have exited", false},
	{"b_lane_not_in_mask", "", 1, 32, 719, "the calling lane is not in its member mask", false},
	{"b_partial_mask", "", 1, 32, 719, "only lanes 0000ffff of the member mask", false},
	{"b_exited_lane", "", 1, 32, 719, "only lanes 000fffff of the member mask", false},
	{"b_copy_without_wait", "race", 1, 64, 719, "has not been waited for", false},
	{"b_copy_without_barrier", "race", 1, 64, 719, "race in shared memory", false},
	{"b_copy_refill", "race", 1, 64, 719, "race in shared memory", false},
	{"b_copy_never_waited", "", 1, 64, 719, "never waited for", false},
	{"b_uninitialised_shared", "init", 1, 64, 719, "uninitialised shared memory", false},
	{"b_uninitialised_global", "init", 1, 64, 719, "uninitialised global memory", false},
	{"b_spin", "", 1, 32, 719, "does not end", false},
	{"b_trap", "", 1, 32, 710, "trap", false},
};

static void mutants_are_noticed(void **)
{
	std::vector<float> x(256);
	for (size_t i = 0; i < x.size(); i++)
		x[i] = (float)i;
	for (auto &m : mutants) {
		std::string check = std::string("PTXSIM_CHECK=") + m.check;
		for (const char *seed : {"PTXSIM_SEED=0", "PTXSIM_SEED=5"}) {
			driver_begin({check.c_str(), "PTXSIM_MAX_STEPS=100000", seed});
			bench t(PTX("broken"));
			bool out_of_bounds = strstr(m.kernel, "global_bounds");
			CUdeviceptr dx = t.upload(x), out = t.room(out_of_bounds ? 256 : 1024);
			if (!strcmp(m.kernel, "b_spin") || !strcmp(m.kernel, "b_race_blocks"))
				cuMemsetD8_v2(out, 0, 4);
			t.cooperative = m.cooperative;
			CUresult rc = t.run(m.kernel, m.blocks, m.threads, out, dx);
			if (rc != m.answer || !strstr(ptxsim_last_fault(), m.says))
				fail_msg("%s: answer %d, \"%s\"", m.kernel, rc,
					 ptxsim_last_fault());
			assert_int_equal(cuCtxSynchronize(), m.answer); /* and so for ever */
		}
	}
}

int main()
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers),
		cmocka_unit_test(single_precision),
		cmocka_unit_test(half_precision),
		cmocka_unit_test(conversions),
		cmocka_unit_test(block_sums),
		cmocka_unit_test(warp_operations),
		cmocka_unit_test(exchanges_and_atomics),
		cmocka_unit_test(grid_barrier),
		cmocka_unit_test(widths_and_spaces),
		cmocka_unit_test(copies),
		cmocka_unit_test(matrices),
		cmocka_unit_test(mutants_are_noticed),
	};
	return cmocka_run_group_tests(tests, nullptr, nullptr);
}

/*
 * Products with packed weights beside the memory's roof: SmolLM2-135M's matrices, all layers of
 * them, so that weights come from memory as in a step. The roof is what the same threads read per
 * second, by plain loads, from a buffer that no cache holds, just before each kind; a row's ratio
 * is to the tokens that roof would allow for the kind's bytes.
 *
 * usage: bench_cpu [THREADS [ISA]]
 */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/check.h"
#include "base/die.h"
#include "cpu/kernels.h"
#include "cpu/threads.h"

#define LAYERS	   30
#define ROOF_BYTES (512l << 20)
#define MIN_S	   0.5 /* of each measurement */

/* A step's products: attention's, then the feed-forward's, for each layer, then the head's. */
static const struct shape {
	int32_t n_in, n_out, times;
} shapes[] = {
	{576, 960, LAYERS},  {576, 576, LAYERS}, {576, 3072, LAYERS},
	{1536, 576, LAYERS}, {576, 49152, 1},
};

#define MAX_MATRICES (4 * LAYERS + 1)

struct step {
	const struct kernels *kernels;
	struct packed_matrix matrix[MAX_MATRICES];
	int32_t n;
	struct activations in[2]; /* 576 and 1536 wide */
	int32_t n_rows;		  /* tokens */
	int32_t head_rows;	  /* tokens whose logits are wanted */
	float *y;
};

struct roof {
	const uint64_t *data;
	uint64_t sum; /* so that the reads are not for nothing */
};

static void *map_huge(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		die("%zu bytes: out of memory", bytes);
	madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static void read_all(struct threads *t, int32_t self, void *arg)
{
	struct roof *roof = arg;
	size_t words = ROOF_BYTES / sizeof(uint64_t) / (size_t)threads_count(t);
	const uint64_t *from = roof->data + words * (size_t)self;
	uint64_t sum[8] = {0};

	for (size_t i = 0; i + 8 <= words; i += 8)
		for (size_t j = 0; j < 8; j++)
			sum[j] ^= from[i + j];
	__atomic_fetch_xor(&roof->sum,
			   sum[0] ^ sum[1] ^ sum[2] ^ sum[3] ^ sum[4] ^ sum[5] ^ sum[6] ^ sum[7],
			   __ATOMIC_RELAXED);
}

/* Bytes per second; the best of some passes, as others may use the memory. */
static double measure_roof(struct threads *t, struct roof *roof)
{
	double best_s = 1e9, start = now_s();

	while (now_s() - start < MIN_S) {
		double begun = now_s();

		threads_run(t, read_all, roof);
		if (now_s() - begun < best_s)
			best_s = now_s() - begun;
	}
	return ROOF_BYTES / best_s;
}

static size_t step_bytes(enum pack_kind kind)
{
	size_t bytes = 0;

	for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
		bytes += pack_tile_bytes(kind, shapes[i].n_in / PACK_INPUTS) *
			 (size_t)shapes[i].n_out / PACK_ROWS * (size_t)shapes[i].times;
	return bytes;
}

/* Matrices whose bytes are whatever is cheap and finite: speed does not depend on them. */
static void make_matrices(struct step *s, enum pack_kind kind, uint8_t *memory)
{
	size_t bytes = step_bytes(kind);

	memset(memory, 0x11, bytes);
	s->n = 0;
	for (int32_t layer = 0; layer < LAYERS; layer++)
		for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
			const struct shape *shape = &shapes[i];
			struct packed_matrix *m = &s->matrix[s->n];
			struct packed p = {
				.kind = kind,
				.n_in = shape->n_in,
				.n_out = shape->n_out,
				.n_tiles = shape->n_out / PACK_ROWS,
				.n_groups = shape->n_in / PACK_INPUTS,
				.tile_bytes = pack_tile_bytes(kind, shape->n_in / PACK_INPUTS),

				.data = memory,
			};

			if (shape->times == 1 && layer < LAYERS - 1)
				continue;
			*m = (struct packed_matrix){.n_in = shape->n_in,
						    .n_out = shape->n_out,
						    .n_tiles = p.n_tiles,
						    .forms = pack_info(kind)->forms,
						    .n_parts = 1,
						    .part = {p}};
			memory += p.tile_bytes * (size_t)p.n_tiles;
			s->n++;
		}
}

/* What forward does with each matrix but for what lies between: inputs into their form, a barrier,
 * the product, a barrier. */
static void run_step(struct threads *t, int32_t self, void *arg)
{
	struct step *s = arg;
	int32_t item, first, end;

	for (int32_t i = 0; i < s->n; i++) {
		const struct packed_matrix *m = &s->matrix[i];
		const struct activations *a = &s->in[m->n_in != s->in[0].n_in];
		int32_t rows = i == s->n - 1 ? s->head_rows : s->n_rows;
		int32_t unit = m->n_tiles >= 512 ? 32 : 4;

		threads_share(rows, self, threads_count(t), &first, &end);
		s->kernels->prepare_rows(a, first, end - first, s->y + (size_t)first * 1536, 1536);
		threads_barrier(t);
		while ((item = threads_take(t)) * unit < m->n_tiles) {
			int32_t left = m->n_tiles - item * unit;

			matmul(s->kernels, m, item * unit, left < unit ? left : unit, a, 0, rows,
			       s->y, m->n_out);
		}
		threads_barrier(t);
	}
}

static double cpu_s(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void measure(struct threads *t, struct step *s, const char *kind, double roof_tokens_per_s)
{
	struct result r = {.bench = "cpu", .name = kind, .streams = s->n_rows};
	double start, cpu;

	threads_run(t, run_step, s);
	start = now_s();
	cpu = cpu_s();
	do {
		threads_run(t, run_step, s);
		r.tokens += s->n_rows;
		r.seconds = now_s() - start;
	} while (r.seconds < MIN_S);
	r.cpu_s = cpu_s() - cpu;
	print_result(&r, r.tokens / r.seconds / roof_tokens_per_s);
}

static void print_roof(double bytes_per_s)
{
	printf("# roof: %.1f GB/s\n", bytes_per_s / 1e9);
}

int main(int argc, char **argv)
{
	static const int32_t batches[] = {1, 2, 4, 8, 16, 32, 512};
	static const enum pack_kind kinds[] = {PACK_Q4_1, PACK_Q8_0, PACK_Q8_1,
					       PACK_F16,  PACK_BF16, PACK_F32};
	struct threads *t = threads_new(threads_default(argc > 1 ? atoi(argv[1]) : 0));
	uint8_t *memory = map_huge(step_bytes(PACK_F32));
	struct roof roof = {.data = map_huge(ROOF_BYTES)};
	struct step s = {0};
	struct err e;

	if (kernels_choose(&s.kernels, argc > 2 ? argv[2] : NULL, &e))
		die("%s", e.msg);
	memset((void *)roof.data, 1, ROOF_BYTES);
	activations_init(&s.in[0], 576, 512, ACTIVATIONS_FLOAT | ACTIVATIONS_INT8);
	activations_init(&s.in[1], 1536, 512, ACTIVATIONS_FLOAT | ACTIVATIONS_INT8);
	s.y = xcalloc((size_t)512 * 49152, sizeof(*s.y));
	print_head();
	for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
		double bytes_per_s = measure_roof(t, &roof);

		make_matrices(&s, kinds[k], memory);
		print_roof(bytes_per_s);
		for (size_t b = 0; b < ARRAY_LEN(batches); b++) {
			s.n_rows = batches[b];
			s.head_rows = batches[b] > 32 ? 1 : batches[b];
			measure(t, &s, pack_info(kinds[k])->name,
				bytes_per_s / (double)step_bytes(kinds[k]));
		}
	}
	threads_free(t);
	free(s.y);
	activations_release(&s.in[0]);
	activations_release(&s.in[1]);
	return 0;
}

/*
 * Time per token of a decode step on cards that nobody had: what the interpreter counts, divided by
 * the figures of data sheets, kernel by kernel. Prints Markdown (or CSV).
 *
 * A launch takes as long as the slowest of four: its bytes from memory, its instructions, its
 * requests of the first cache and of shared memory, its tensor products; and the gap to the next
 * launch on top. Not in it: waiting for memory where too few loads are under way, tails, clocks
 * that fall. PTX instructions stand for the fewer that ptxas makes of them. So it is a bound with
 * one pessimistic part, good for where a step's time goes, and no measurement.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "counting.h"

#define CONTEXT	 1024
#define N_MODELS 2

/* Between two kernels of a graph, from others' measurements of graphs on such cards. */
#define LAUNCH_GAP_S 1.3e-6

/* Of an SM, a clock: warp instructions issued, bytes that the first cache or shared memory gives.
 */
#define ISSUE_PER_CLOCK	   4
#define L1_BYTES_PER_CLOCK 128

#define SECTOR_BYTES	32
#define WAVEFRONT_BYTES 128
#define MMA_FLOPS	(2.0 * 16 * 8 * 16)

/* Data sheets: memory, dense 16-bit tensor products with float sums, multiprocessors, boost clock.
 */
static const struct card {
	const char *name;
	double bytes_per_s, flops_per_s, n_sms, clock_hz;
} cards[] = {{"A100 80GB SXM", 2039e9, 312e12, 108, 1.41e9},
	     {"H100 80GB SXM", 3350e9, 989e12, 132, 1.83e9},
	     {"RTX 4090", 1008e9, 165e12, 128, 2.52e9}};
#define N_CARDS (sizeof(cards) / sizeof(*cards))

enum { MEMORY, ISSUE, L1, TENSOR, GAPS, N_LIMITS };
static const char *const limit_names[N_LIMITS] = {"memory", "instructions", "L1 and shared",
						  "tensor", "gaps"};

struct estimate {
	double step_s, roof_s, launches;
	double of[N_LIMITS]; /* seconds of the step in which this is what is waited for */
};

static void add_launches(struct estimate *e, const struct counted *c, const struct card *card)
{
	const struct ptxsim_counts *n = &c->n;
	double sms = c->blocks < card->n_sms ? c->blocks : card->n_sms, s[N_LIMITS] = {0};
	int slowest = MEMORY;

	s[MEMORY] = (double)(n->read_bytes + n->write_bytes) / card->bytes_per_s;
	s[ISSUE] = (double)n->warp_insns / (ISSUE_PER_CLOCK * sms * card->clock_hz);
	s[L1] = ((double)n->sectors * SECTOR_BYTES + (double)n->wavefronts * WAVEFRONT_BYTES) /
		(L1_BYTES_PER_CLOCK * sms * card->clock_hz);
	s[TENSOR] = (double)n->mma * MMA_FLOPS / card->flops_per_s;
	for (int i = 0; i < GAPS; i++)
		slowest = s[i] > s[slowest] ? i : slowest;
	e->of[slowest] += s[slowest] * c->times * c->launches;
	e->of[GAPS] += LAUNCH_GAP_S * c->launches;
	e->launches += c->launches;
}

/* The roof: weights once, keys and values once, at the card's bandwidth. */
static struct estimate estimate(const struct model_shape *model, int32_t m,
				const struct step_counts *step, const struct card *card)
{
	struct estimate e = {0};
	double bytes =
		(double)m * CONTEXT * model->n_layers * 4 * model->n_kv_heads * model->head_dim;

	for (int32_t i = 0; i < step->n; i++) {
		const struct counted *c = &step->kernel[i];

		bytes += c->weight_bytes * c->times * c->launches;
		add_launches(&e, c, card);
	}
	for (int i = 0; i < N_LIMITS; i++)
		e.step_s += e.of[i];
	e.roof_s = bytes / card->bytes_per_s;
	return e;
}

static void print_row(const struct model_shape *model, const char *weights, int32_t m,
		      const struct step_counts *step, bool csv)
{
	for (size_t i = 0; i < N_CARDS; i++) {
		struct estimate e = estimate(model, m, step, &cards[i]);

		printf(csv ? "%s,%s,%d,%s,%.0f,%.4f,%.4f,%.1f,%.1f"
			   : "| %s | %s | %d | %s | %.0f | %.3f | %.3f | %.0f | %.0f |",
		       model->name, weights, m, cards[i].name, e.launches, e.step_s * 1e3,
		       e.roof_s * 1e3, e.roof_s / e.step_s * 100, m / e.step_s);
		for (int k = 0; k < N_LIMITS; k++)
			printf(csv ? ",%.1f" : " %.0f |", e.of[k] / e.step_s * 100);
		printf("\n");
	}
}

static void print_head(bool csv)
{
	static const char *const columns[] = {"model",	 "weights",   "sequences",
					      "card",	 "launches",  "step ms",
					      "roof ms", "% of roof", "tokens/s"};
	const size_t n = sizeof(columns) / sizeof(*columns);

	if (!csv)
		printf("Estimated, never measured: a decode step, %d tokens of context a sequence, "
		       "from what the\ninterpreter of PTX counts and the figures of data sheets; "
		       "%.1f us between launches. The roof:\nweights, keys and values once at the "
		       "card's bandwidth. Last columns: %% of the step in which\nthat is waited "
		       "for.\n\n",
		       CONTEXT, LAUNCH_GAP_S * 1e6);
	for (size_t i = 0; i < n; i++)
		printf(csv ? "%s%s" : "%s %s ", csv ? i == 0 ? "" : "," : "|", columns[i]);
	for (int i = 0; i < N_LIMITS; i++)
		printf(csv ? ",%s %%" : "| %s ", limit_names[i]);
	printf(csv ? "\n" : "|\n");
	for (size_t i = 0; i < n + N_LIMITS && !csv; i++)
		printf("|---%s", i + 1 == n + N_LIMITS ? "|\n" : "");
}

int main(int argc, char **argv)
{
	static const struct model_shape *const models[N_MODELS] = {&smollm2_135m, &llama_3_1_8b};
	static const struct {
		const char *name;
		enum dtype dtype;
	} weights[] = {{"BF16", DTYPE_BF16}, {"Q8_0", DTYPE_Q8_0}, {"Q4_K", DTYPE_Q4_1}};
	static const int32_t sequences[] = {1, 8, 64};
	bool csv = argc == 2 && strcmp(argv[1], "csv") == 0;

	if (argc > 2 || (argc == 2 && !csv)) {
		fprintf(stderr, "usage: gpu_estimate [csv]\n");
		return 2;
	}
	counting_begin();
	print_head(csv);
	for (int i = 0; i < N_MODELS; i++) {
		for (size_t w = 0; w < sizeof(weights) / sizeof(*weights); w++) {
			for (size_t m = 0; m < sizeof(sequences) / sizeof(*sequences); m++) {
				struct step_counts step;

				count_step(models[i], weights[w].dtype, sequences[m], CONTEXT,
					   &step);
				print_row(models[i], weights[w].name, sequences[m], &step, csv);
			}
		}
	}
	return 0;
}

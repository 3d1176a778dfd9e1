/*
 * What loadgen measured against what the engine did: per token the time loadgen stamped its arrival
 * with, minus the time fakeengine noted for its departure (--truth), on one clock; and what a token
 * cost either side.
 *
 * usage: truth_check RESULTS_DIR TRUTH.csv      a CSV row of the run's one point
 *        truth_check --header
 *
 * Exits with 1 if a mean or p99 of TTFT or a mean ITL is off by 1 % or more, or a request failed.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/die.h"
#include "base/hist.h"
#include "base/jsonx.h"
#include "loadgen/results.h"
#include "loadgen/truth.h"

#define MAX_RUN_JSON (16u << 20)

static const char header[] =
	"requests,tokens,tokens_per_s,ttft_mean_true_ms,ttft_mean_ms,ttft_p99_true_ms,ttft_p99_ms,"
	"itl_mean_true_ms,itl_mean_ms,itl_p99_true_ms,itl_p99_ms,error_p50_us,error_p99_us,"
	"error_p99.9_us,send_late_p99_us,own_cpu_us_per_token,engine_cpu_us_per_token,"
	"engine_late_p99_us,client,unmatched,engine_late_p99.9_us";

static int64_t zero_of(const char *dir)
{
	char *path = xasprintf("%s/run.json", dir);
	int64_t zero_ns = -1;
	cJSON *root = NULL;
	struct buf b;
	struct err e;

	buf_init(&b, MAX_RUN_JSON);
	if (buf_read_file(&b, path, &e) != RC_OK ||
	    json_parse(&root, buf_head(&b), buf_size(&b), &e) != RC_OK ||
	    json_get_int(root, path, "start_monotonic_ns", 0, INT64_MAX, &zero_ns, &e) != RC_OK)
		die("%s", e.msg);
	cJSON_Delete(root);
	buf_release(&b);
	free(path);
	return zero_ns;
}

/* Cores that the engine kept busy on average, from server.csv; NaN if it was not looked at. */
static double engine_cores(const char *dir)
{
	char *path = xasprintf("%s/server.csv", dir);
	int name, value;
	struct csv_table *t;
	double sum = 0, v;
	size_t n = 0;
	struct err e;

	if (csv_read(&t, path, true, &e) != RC_OK || csv_need(t, "name", &name, &e) != RC_OK ||
	    csv_need(t, "value", &value, &e) != RC_OK)
		die("%s", e.msg);
	for (size_t i = 0; i < csv_rows(t); i++) {
		if (strcmp(csv_field(t, i, name), "cpu_cores") != 0)
			continue;
		if (csv_field_num(t, i, value, NAN, &v, &e) != RC_OK)
			die("%s", e.msg);
		sum += v;
		n++;
	}
	csv_table_free(t);
	free(path);
	return n ? sum / (double)n : NAN;
}

static double us(const struct hist *h, double q)
{
	return (double)hist_quantile(h, q) / 1e3;
}

static bool is_off(double measured, double real)
{
	return !(fabs(measured / real - 1) < 0.01);
}

int main(int argc, char **argv)
{
	struct truth_samples departed, arrived;
	struct truth_check c = {.late_ns = hist_new(),
				.engine_late_ns = hist_new(),
				.departed = &departed,
				.arrived = &arrived};
	double ttft_p99[2], itl_p99[2], tokens;
	const struct point *p;
	struct loaded_run *run;
	struct truth *truth;
	struct err e;

	memset(&departed, 0, sizeof(departed));
	memset(&arrived, 0, sizeof(arrived));
	die_set_program(argv[0]);
	if (argc == 2 && strcmp(argv[1], "--header") == 0) {
		puts(header);
		return 0;
	}
	if (argc != 3)
		die("usage: truth_check RESULTS_DIR TRUTH.csv");
	if (results_load(&run, argv[1], &e) != RC_OK || truth_load(&truth, argv[2], &e) != RC_OK)
		die("%s", e.msg);
	truth_compare(truth, run->records, run->n_records, -1, zero_of(argv[1]), &c);
	if (!c.n_ttft || !c.n_itl || run->n_points != 1)
		die("%s: want a run of one point whose requests stand in %s", argv[1], argv[2]);
	p = &run->points[0];
	tokens = (double)p->output_tokens;
	ttft_p99[0] = sample_percentile(&departed.ttft_ms, 99);
	ttft_p99[1] = sample_percentile(&arrived.ttft_ms, 99);
	itl_p99[0] = sample_percentile(&departed.itl_ms, 99);
	itl_p99[1] = sample_percentile(&arrived.itl_ms, 99);
	printf("%lld,%lld,%.0f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.3f,%.1f,%.1f,%.1f,%.1f,%.2f,%."
	       "2f,%.0f,%s,%lld,%.0f\n",
	       (long long)p->ok, (long long)c.tokens, p->output_tokens_per_s, c.ttft_true_ms,
	       c.ttft_ms, ttft_p99[0], ttft_p99[1], c.itl_true_ms, c.itl_ms, itl_p99[0], itl_p99[1],
	       us(c.late_ns, 0.5), us(c.late_ns, 0.99), us(c.late_ns, 0.999),
	       p->self.send_late_p99_us, 1e6 * p->self.cpu_share * p->duration_s / tokens,
	       1e6 * engine_cores(argv[1]) * p->duration_s / tokens, us(c.engine_late_ns, 0.99),
	       verdict_name(p->verdict), (long long)c.unmatched, us(c.engine_late_ns, 0.999));
	return is_off(c.ttft_ms, c.ttft_true_ms) || is_off(ttft_p99[1], ttft_p99[0]) ||
	       is_off(c.itl_ms, c.itl_true_ms) || c.unmatched || p->ok < p->planned;
}

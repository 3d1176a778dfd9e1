/*
 * What loadgen measured against what the engine did: per token the time loadgen stamped its arrival
 * with, minus the time fakeengine noted for its departure (--truth), on one clock.
 *
 * usage: truth_check RESULTS_DIR TRUTH.csv
 *
 * Prints a CSV row and exits with 1 if mean TTFT or mean ITL is off by 1 % or more.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/die.h"
#include "base/hist.h"
#include "base/jsonx.h"
#include "loadgen/results.h"
#include "loadgen/truth.h"

#define MAX_RUN_JSON (16u << 20)

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

int main(int argc, char **argv)
{
	struct truth_check c = {.late_ns = hist_new()};
	struct loaded_run *run;
	struct truth *truth;
	size_t n_streams = 0;
	double ttft, itl;
	struct err e;

	die_set_program(argv[0]);
	if (argc != 3)
		die("usage: truth_check RESULTS_DIR TRUTH.csv");
	if (results_load(&run, argv[1], &e) != RC_OK || truth_load(&truth, argv[2], &e) != RC_OK)
		die("%s", e.msg);
	truth_compare(truth, run->records, run->n_records, -1, zero_of(argv[1]), &c);
	if (!c.n_ttft || !c.n_itl)
		die("no request of %s stands in %s", argv[1], argv[2]);
	for (size_t i = 0; i < run->n_points; i++)
		n_streams = (size_t)fmax((double)n_streams, run->points[i].peak_running);
	ttft = c.ttft_ms / c.ttft_true_ms - 1;
	itl = c.itl_ms / c.itl_true_ms - 1;
	printf("%zu,%lld,%lld,%.3f,%.3f,%+.3f,%.4f,%.4f,%+.3f,%.1f,%.1f,%.1f,%.1f\n", n_streams,
	       (long long)c.tokens, (long long)c.unmatched, c.ttft_true_ms, c.ttft_ms, 100 * ttft,
	       c.itl_true_ms, c.itl_ms, 100 * itl, (double)hist_quantile(c.late_ns, 0.5) / 1e3,
	       (double)hist_quantile(c.late_ns, 0.99) / 1e3,
	       (double)hist_quantile(c.late_ns, 0.999) / 1e3, (double)hist_max(c.late_ns) / 1e3);
	return fabs(ttft) < 0.01 && fabs(itl) < 0.01 && c.unmatched == 0 ? 0 : 1;
}

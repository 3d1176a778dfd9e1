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
#include <string.h>

#include "base/csv.h"
#include "base/die.h"
#include "base/hist.h"
#include "base/jsonx.h"
#include "loadgen/results.h"

#define MAX_RUN_JSON (16u << 20)

struct check {
	const struct loaded_run *run;
	int64_t zero_ns; /* the run's, on CLOCK_MONOTONIC */
	struct hist *late_ns;
	int64_t tokens, unmatched, early;
	double ttft_ms[2], itl_ms[2]; /* sums: the truth, and as measured */
	int64_t n_ttft, n_itl;
};

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

static const struct record *find_record(const struct loaded_run *run, int64_t id)
{
	for (size_t i = 0; i < run->n_records; i++)
		if (run->records[i].request_id == id)
			return &run->records[i];
	return NULL;
}

/* Rows [from, to) of the truth are the tokens of one request, in order. */
static void check_request(struct check *c, const struct record *r, const int64_t *sent_ns,
			  int64_t n)
{
	const struct token_event *ev;

	if (!r || r->n_events != n) {
		c->unmatched += n;
		return;
	}
	ev = r->event;
	for (int64_t k = 0; k < n; k++) {
		int64_t late_ns = ev[k].t_ns + c->zero_ns - sent_ns[k];

		c->early += late_ns < 0;
		hist_record(c->late_ns, llabs(late_ns));
		c->tokens++;
	}
	c->ttft_ms[0] += (double)(sent_ns[0] - c->zero_ns - r->send_ns) / 1e6;
	c->ttft_ms[1] += (double)(ev[0].t_ns - r->send_ns) / 1e6;
	c->n_ttft++;
	if (n > 1) {
		c->itl_ms[0] += (double)(sent_ns[n - 1] - sent_ns[0]) / 1e6;
		c->itl_ms[1] += (double)(ev[n - 1].t_ns - ev[0].t_ns) / 1e6;
		c->n_itl += n - 1;
	}
}

struct token {
	int64_t request, index, sent_ns;
};

static int by_request(const void *a, const void *b)
{
	const struct token *x = a, *y = b;

	if (x->request != y->request)
		return x->request < y->request ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

static struct token *read_truth(const char *path, size_t *n)
{
	int request, index, sent;
	struct csv_table *t;
	struct token *v;
	struct err e;

	if (csv_read(&t, path, true, &e) || csv_need(t, "request_id", &request, &e) ||
	    csv_need(t, "token_index", &index, &e) || csv_need(t, "sent_ns", &sent, &e))
		die("%s", e.msg);
	*n = 0;
	v = xcalloc(csv_rows(t) + 1, sizeof(*v));
	for (size_t i = 0; i < csv_rows(t); i++) {
		struct token *k = &v[*n];

		if (strncmp(csv_field(t, i, request), "req-", 4) != 0)
			continue;
		k->request = atoll(csv_field(t, i, request) + 4);
		if (csv_field_int(t, i, index, 0, &k->index, &e) ||
		    csv_field_int(t, i, sent, 0, &k->sent_ns, &e))
			die("%s", e.msg);
		(*n)++;
	}
	csv_table_free(t);
	qsort(v, *n, sizeof(*v), by_request);
	return v;
}

int main(int argc, char **argv)
{
	struct check c = {.late_ns = hist_new()};
	struct loaded_run *run;
	struct token *truth;
	size_t n, n_streams = 0;
	int64_t *sent_ns;
	double ttft, itl;
	struct err e;

	die_set_program(argv[0]);
	if (argc != 3)
		die("usage: truth_check RESULTS_DIR TRUTH.csv");
	if (results_load(&run, argv[1], &e) != RC_OK)
		die("%s", e.msg);
	c.run = run;
	c.zero_ns = zero_of(argv[1]);
	truth = read_truth(argv[2], &n);
	sent_ns = xcalloc(n + 1, sizeof(*sent_ns));
	for (size_t from = 0, to = 0; from < n; from = to) {
		const struct record *r = find_record(run, truth[from].request);

		for (to = from; to < n && truth[to].request == truth[from].request; to++)
			sent_ns[to - from] = truth[to].sent_ns;
		if (r && r->level >= 0)
			check_request(&c, r, sent_ns, (int64_t)(to - from));
	}
	if (!c.n_ttft || !c.n_itl)
		die("no request of %s stands in %s", argv[1], argv[2]);
	for (size_t i = 0; i < run->n_points; i++)
		n_streams = (size_t)fmax((double)n_streams, run->points[i].peak_running);
	ttft = c.ttft_ms[1] / c.ttft_ms[0] - 1;
	itl = c.itl_ms[1] / c.itl_ms[0] - 1;
	printf("%zu,%lld,%lld,%.3f,%.3f,%+.3f,%.4f,%.4f,%+.3f,%.1f,%.1f,%.1f,%.1f\n", n_streams,
	       (long long)c.tokens, (long long)c.unmatched, c.ttft_ms[0] / (double)c.n_ttft,
	       c.ttft_ms[1] / (double)c.n_ttft, 100 * ttft, c.itl_ms[0] / (double)c.n_itl,
	       c.itl_ms[1] / (double)c.n_itl, 100 * itl,
	       (double)hist_quantile(c.late_ns, 0.5) / 1e3,
	       (double)hist_quantile(c.late_ns, 0.99) / 1e3,
	       (double)hist_quantile(c.late_ns, 0.999) / 1e3, (double)hist_max(c.late_ns) / 1e3);
	return fabs(ttft) < 0.01 && fabs(itl) < 0.01 && c.unmatched == 0 ? 0 : 1;
}

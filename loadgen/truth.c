/*
 * Owns the reading of a truth log and its comparison with records. Pure but for the file. Must not
 * know who ran the engine.
 */
#include "truth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/csv.h"
#include "base/die.h"
#include "base/units.h"

struct token {
	int64_t request, index, due_ns, sent_ns;
};

struct truth {
	struct token *v; /* by request, then index */
	size_t n;
};

static int by_request(const void *a, const void *b)
{
	const struct token *x = a, *y = b;

	if (x->request != y->request)
		return x->request < y->request ? -1 : 1;
	return (x->index > y->index) - (x->index < y->index);
}

enum rc truth_load(struct truth **out, const char *path, struct err *e)
{
	static const char mark[] = "req-";
	int request = -1, index = -1, due = -1, sent = -1;
	struct csv_table *csv = NULL;
	struct truth *t = xcalloc(1, sizeof(*t));
	enum rc rc = csv_read(&csv, path, true, e);

	*out = NULL;
	if (!rc)
		rc = csv_need(csv, "request_id", &request, e);
	if (!rc)
		rc = csv_need(csv, "token_index", &index, e);
	if (!rc)
		rc = csv_need(csv, "due_ns", &due, e);
	if (!rc)
		rc = csv_need(csv, "sent_ns", &sent, e);
	if (!rc)
		t->v = xcalloc(csv_rows(csv) + 1, sizeof(*t->v));
	for (size_t i = 0; !rc && i < csv_rows(csv); i++) {
		const char *name = csv_field(csv, i, request);
		struct token *k = &t->v[t->n];

		if (strncmp(name, mark, sizeof(mark) - 1) != 0)
			continue;
		k->request = strtoll(name + sizeof(mark) - 1, NULL, 10);
		rc = csv_field_int(csv, i, index, 0, &k->index, e);
		if (!rc)
			rc = csv_field_int(csv, i, due, 0, &k->due_ns, e);
		if (!rc)
			rc = csv_field_int(csv, i, sent, 0, &k->sent_ns, e);
		t->n++;
	}
	csv_table_free(csv);
	if (rc) {
		truth_free(t);
		return rc;
	}
	qsort(t->v, t->n, sizeof(*t->v), by_request);
	*out = t;
	return RC_OK;
}

void truth_free(struct truth *t)
{
	if (!t)
		return;
	free(t->v);
	free(t);
}

/* The tokens of a request: the first, and how many. */
static const struct token *tokens_of(const struct truth *t, int64_t request, int32_t *n)
{
	size_t low = 0, high = t->n, end;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (t->v[mid].request < request)
			low = mid + 1;
		else
			high = mid;
	}
	for (end = low; end < t->n && t->v[end].request == request; end++)
		;
	*n = (int32_t)(end - low);
	return &t->v[low];
}

static void add_samples(const struct record *r, const struct token *sent, int32_t n,
			int64_t zero_ns, struct truth_check *c)
{
	sample_add(&c->departed->ttft_ms, ns_to_ms(sent[0].sent_ns - zero_ns - r->send_ns));
	sample_add(&c->arrived->ttft_ms, ns_to_ms(r->event[0].t_ns - r->send_ns));
	for (int32_t k = 1; k < n; k++) {
		sample_add(&c->departed->itl_ms, ns_to_ms(sent[k].sent_ns - sent[k - 1].sent_ns));
		sample_add(&c->arrived->itl_ms, ns_to_ms(r->event[k].t_ns - r->event[k - 1].t_ns));
	}
}

static void compare_request(const struct record *r, const struct token *sent, int32_t n,
			    int64_t zero_ns, struct truth_check *c)
{
	if (r->n_events != n) {
		c->unmatched += n;
		return;
	}
	for (int32_t k = 0; k < n; k++)
		hist_record(c->late_ns, llabs(r->event[k].t_ns + zero_ns - sent[k].sent_ns));
	for (int32_t k = 0; c->engine_late_ns && k < n; k++)
		hist_record(c->engine_late_ns, sent[k].sent_ns - sent[k].due_ns);
	if (c->departed && c->arrived)
		add_samples(r, sent, n, zero_ns, c);
	c->tokens += n;
	c->ttft_true_ms += ns_to_ms(sent[0].sent_ns - zero_ns - r->send_ns);
	c->ttft_ms += ns_to_ms(r->event[0].t_ns - r->send_ns);
	c->n_ttft++;
	if (n > 1) {
		c->itl_true_ms += ns_to_ms(sent[n - 1].sent_ns - sent[0].sent_ns);
		c->itl_ms += ns_to_ms(r->event[n - 1].t_ns - r->event[0].t_ns);
		c->n_itl += n - 1;
	}
}

void truth_compare(const struct truth *t, const struct record *records, size_t n, int point,
		   int64_t zero_ns, struct truth_check *c)
{
	*c = (struct truth_check){.late_ns = c->late_ns,
				  .engine_late_ns = c->engine_late_ns,
				  .departed = c->departed,
				  .arrived = c->arrived};
	for (size_t i = 0; i < n; i++) {
		const struct record *r = &records[i];
		const struct token *sent;
		int32_t n_sent;

		if (r->level < 0 || (point >= 0 && r->point != point))
			continue;
		sent = tokens_of(t, r->request_id, &n_sent);
		if (n_sent)
			compare_request(r, sent, n_sent, zero_ns, c);
	}
	c->ttft_true_ms /= c->n_ttft ? (double)c->n_ttft : NAN;
	c->ttft_ms /= c->n_ttft ? (double)c->n_ttft : NAN;
	c->itl_true_ms /= c->n_itl ? (double)c->n_itl : NAN;
	c->itl_ms /= c->n_itl ? (double)c->n_itl : NAN;
}

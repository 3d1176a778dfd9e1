/*
 * Owns the shape of a histogram and of the text format. Pure; must not know which metrics there
 * are.
 *
 * Numbers are written as Python's client library writes them (the shortest that reads back the
 * same, whole ones with
 * ".0"), since the scrapers of real engines have met no others.
 */
#include "prom.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void prom_hist_init(struct prom_hist *h, const double *bound, int n_bounds)
{
	CHECK(n_bounds > 0 && n_bounds <= PROM_MAX_BOUNDS);
	memset(h, 0, sizeof(*h));
	h->bound = bound;
	h->n_bounds = n_bounds;
}

void prom_hist_observe(struct prom_hist *h, double value)
{
	int low = 0, high = h->n_bounds, last = h->last;

	h->sum += value;
	if ((last == 0 || value > h->bound[last - 1]) &&
	    (last == h->n_bounds || value <= h->bound[last])) {
		h->bucket[last]++;
		return;
	}
	while (low < high) {
		int mid = (low + high) / 2;

		if (value <= h->bound[mid])
			high = mid;
		else
			low = mid + 1;
	}
	h->bucket[low]++;
	h->last = low;
}

uint64_t prom_hist_count(const struct prom_hist *h)
{
	uint64_t n = 0;

	for (int i = 0; i <= h->n_bounds; i++)
		n += h->bucket[i];
	return n;
}

static void number(char *out, size_t cap, double v)
{
	if (isinf(v)) {
		snprintf(out, cap, "%s", v > 0 ? "+Inf" : "-Inf");
		return;
	}
	if (v == floor(v) && fabs(v) < 1e15) {
		snprintf(out, cap, "%.1f", v);
		return;
	}
	/* what fifteen digits or fewer say exactly, %.15g says in as few */
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(out, cap, "%.*g", digits, v);
		if (strtod(out, NULL) == v)
			return;
	}
}

void prom_family(struct buf *b, const char *name, const char *kind, const char *help)
{
	buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind);
}

void prom_sample(struct buf *b, const char *name, const char *labels, double value)
{
	char text[40];

	number(text, sizeof(text), value);
	if (*labels)
		buf_printf(b, "%s{%s} %s\n", name, labels, text);
	else
		buf_printf(b, "%s %s\n", name, text);
}

void prom_hist_samples(struct buf *b, const char *name, const char *before, const char *after,
		       const struct prom_hist *h)
{
	const char *left = *before ? "," : "", *right = *after ? "," : "";
	const char *both = *before && *after ? "," : "";
	const char *open = *before || *after ? "{" : "", *close = *open ? "}" : "";
	uint64_t n = 0;
	char text[40];

	for (int i = 0; i <= h->n_bounds; i++) {
		n += h->bucket[i];
		number(text, sizeof(text), i < h->n_bounds ? h->bound[i] : HUGE_VAL);
		/* by hand: a page has hundreds of these lines, and tokens wait for it */
		buf_puts(b, name);
		buf_puts(b, "_bucket{");
		buf_puts(b, before);
		buf_puts(b, left);
		buf_puts(b, "le=\"");
		buf_puts(b, text);
		buf_puts(b, "\"");
		buf_puts(b, right);
		buf_puts(b, after);
		buf_puts(b, "} ");
		buf_putint(b, (int64_t)n);
		buf_puts(b, ".0\n");
	}
	buf_printf(b, "%s_count%s%s%s%s%s %llu.0\n", name, open, before, both, after, close,
		   (unsigned long long)n);
	number(text, sizeof(text), h->sum);
	buf_printf(b, "%s_sum%s%s%s%s%s %s\n", name, open, before, both, after, close, text);
}

void prom_label_value(struct buf *b, const char *s)
{
	for (; *s; s++) {
		if (*s == '\n')
			buf_puts(b, "\\n");
		else if (*s == '"' || *s == '\\')
			buf_printf(b, "\\%c", *s);
		else
			buf_putc(b, *s);
	}
}

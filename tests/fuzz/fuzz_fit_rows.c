/*
 * Any bytes as the rows of some tool: rows that make sense, or one line. The first byte chooses
 * what is asked about them.
 */
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/opt.h"
#include "fakeengine/fit_events.h"
#include "fakeengine/fit_read.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_rows(const struct fit_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		const struct fit_row *w = &rows->row[i];

		CHECK(w->prompt_tokens > 0 && w->output_tokens > 0);
		CHECK(w->arrival_ns >= 0 && w->first_ns >= w->arrival_ns);
		CHECK(w->last_ns >= w->first_ns && w->run >= 0 && w->run < rows->n_runs);
		CHECK(w->next < (int64_t)rows->n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const columns[] = {
		"arrival=a:ms,prompt_tokens=b,output_tokens=c,ttft=d:us,itls=e"};
	const struct opt_list list = {(const char **)columns, 1};
	struct fit_source s = {0};
	struct fit_events *events;
	struct fit_table *t;
	struct fit_rows rows = {0};
	struct err e = {.msg = ""};

	if (size == 0)
		return 0;
	s.columns = data[0] & 1 ? &list : NULL;
	s.concurrency = data[0] & 2 ? 3 : 0;
	s.points = data[0] & 4 ? "0,1" : NULL;
	if (fit_table_parse(&t, "f", (const char *)data + 1, size - 1, &e) == RC_OK) {
		if (fit_read_table(&rows, t, "f", &s, &e) == RC_OK &&
		    fit_rows_finish(&rows, &e) == RC_OK)
			check_rows(&rows);
		else
			CHECK(e.msg[0]);
		fit_rows_release(&rows);
		fit_table_free(t);
	}
	if (fit_events_parse(&events, "f", data + 1, size - 1, &e) == RC_OK)
		fit_events_free(events);
	return 0;
}

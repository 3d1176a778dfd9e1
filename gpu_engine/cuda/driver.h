/*
 * A card: the driver that was found at run time, the card's context, one stream and the kernels of
 * this program, ready to be launched. libcuda.so.1, or what ENGINE_LIBCUDA names, is opened here
 * and nowhere else.
 *
 * Any one thread at a time, after cuda_attach() on it. Copies, launches and clearing are put to the
 * stream, one behind the other; what they do is done, and what went wrong in it is told, at
 * cuda_wait().
 *
 * Errors are latched: each function of the stream looks at e first, does nothing if there is an
 * error in it, and returns that. So a sequence of them is written without looking, and e, which
 * begins empty, holds the first failure. A message is one line with the driver's name for it.
 */
#ifndef CUDA_DRIVER_H
#define CUDA_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "launch.h"

struct cuda;

/* The first card. RC_IO: no driver, one that is too old (with the function it lacks), no card, one
 * that is too old, or a build without kernels. */
enum rc cuda_open(struct cuda **out, struct err *e);
void cuda_close(struct cuda *c); /* all memory of the card goes with it; NULL legal */

/* This thread uses it from now on. */
enum rc cuda_attach(struct cuda *c, struct err *e);

/* "NAME (sm_90), driver 13.0" */
void cuda_describe(const struct cuda *c, char *out, size_t size);

/* What the driver tells of the card; 0 = it does not. */
struct cuda_facts {
	char name[96], bus_id[32];
	int32_t sm, driver; /* 90, 13000 */
	int32_t multiprocessors, memory_bits;
	int64_t memory_bytes, l2_bytes;
	double clock_hz, memory_clock_hz; /* at most */
};
enum rc cuda_facts(const struct cuda *c, struct cuda_facts *out, struct err *e);

enum rc cuda_free_bytes(const struct cuda *c, int64_t *out, struct err *e);

/* ---- memory; `what` is for the message: "1.2 GiB for keys and values" ---- */

enum rc cuda_alloc(struct cuda *c, void **out, size_t bytes, const char *what, struct err *e);
void cuda_free(struct cuda *c, void *p); /* NULL legal */

/* Memory with one address for card and host, which must not touch it while the card works: what
 * tests look into. Freed by cuda_free(). */
enum rc cuda_alloc_shared(struct cuda *c, void **out, size_t bytes, const char *what,
			  struct err *e);

/* The host's, pinned: what copies are made from and to. */
enum rc cuda_alloc_host(struct cuda *c, void **out, size_t bytes, const char *what, struct err *e);
void cuda_free_host(struct cuda *c, void *p);

/* ---- the stream ---- */

struct gpu_queue *cuda_queue(struct cuda *c);

/* The host's memory stays as it is until cuda_wait(). */
enum rc cuda_upload(struct cuda *c, void *to, const void *from, size_t bytes, struct err *e);
enum rc cuda_download(struct cuda *c, void *to, const void *from, size_t bytes, struct err *e);
enum rc cuda_clear(struct cuda *c, void *at, size_t bytes, struct err *e);

/* Until all of it is done. Waits also with an error in e, which it leaves as it is: what is on its
 * way must not meet memory that is gone. */
enum rc cuda_wait(struct cuda *c, struct err *e);

/* ---- graphs: what was put to the stream once, again in one launch ---- */

struct cuda_graph;

/* From here on the stream records instead of doing, and until cuda_capture_end() this thread may
 * neither wait nor take memory. Addresses, sizes and arguments are recorded as they are. RC_IO as
 * well: a driver that has no graphs. */
enum rc cuda_capture_begin(struct cuda *c, struct err *e);

/* To be called after a begin that went well, whatever is in e since then: the stream does things
 * again behind it. *out is NULL if there is an error. */
enum rc cuda_capture_end(struct cuda *c, struct cuda_graph **out, struct err *e);

enum rc cuda_graph_launch(struct cuda *c, const struct cuda_graph *g, struct err *e);
void cuda_graph_free(struct cuda *c, struct cuda_graph *g); /* not in use any more; NULL legal */

/* ---- time ---- */

/* How long the card takes for what is put to the stream between the two, by its own clock. stop
 * waits; *out_s is 0 after an error. */
enum rc cuda_time_start(struct cuda *c, struct err *e);
enum rc cuda_time_stop(struct cuda *c, double *out_s, struct err *e);

#endif

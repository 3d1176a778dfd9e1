/*
 * What the benchmarks share: processes pinned to a core each, loopback sockets, the bytes of one
 * token, and a row of the CSV that all of them print.
 *
 * Every measurement stands beside a floor and a peer of the same run: absolute times mean little on
 * a shared machine. Server and client are processes of their own, one core each.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SERVER_CORE 0
#define CLIENT_CORE 1
#define TOKEN_BYTES 252 /* one SSE event with its chunk framing, as vLLM sends a token */

void pin_to_core(int core);
double now_s(void);
void sleep_until_s(double at_s);
void raise_fd_limit(void);

int listen_any(int *port);	    /* loopback, a free port, blocking, big backlog */
int connect_port(int port);	    /* blocking; TCP_NODELAY */
int listen_path(const char *path);  /* the same by a unix socket */
int connect_path(const char *path); /* ... */
void set_nodelay(int fd);	    /* without it the kernel merges tokens, and they cost less */
void set_nonblocking(int fd);
void write_all(int fd, const void *p, size_t n); /* blocking socket */

/* The head of a streamed answer, one token's chunk (TOKEN_BYTES long), and the end of the stream
 * with its finish and usage events. All static. */
extern const char stream_head[];
extern const char token_chunk[TOKEN_BYTES + 1];
size_t format_stream_end(char *out, size_t cap, int tokens);

/* Runs fn(arg) in a child on `core`; the child exits with what fn returns. */
pid_t spawn(int core, int (*fn)(void *arg), void *arg);

/* Runs a program in a child on `core`, its stdout in a pipe (or NULL: thrown away). */
pid_t spawn_program(int core, char *const argv[], int *out_fd);

/* loadgen on CLIENT_CORE at http://127.0.0.1:port, all `streams` at once, without what is not load:
 * no preflight, no figures, no scraping. A prompt is eight words. */
struct loadgen_job {
	const char *bin_dir, *out_dir;
	int port, streams, tokens; /* tokens a request */
	long requests;
	bool whole_answers; /* not streamed */
};
pid_t start_loadgen(const struct loadgen_job *j);

void remove_folder(const char *path); /* with all that is in it */

/* Waits for a child and dies unless its exit code is 0. CPU seconds are user + system. */
struct usage {
	double cpu_s, peak_bytes;
};
struct usage wait_usage(pid_t pid, const char *what);
double wait_cpu_s(pid_t pid, const char *what);
double process_cpu_s(pid_t pid); /* of one that runs, user + system, so far */

/* bench,case,streams,tokens,seconds,tokens_per_s,cpu_us_per_token,ratio: ratio is the floor's CPU
 * per token over this one's on the engine side, this one's over the floor's on the load side (1 =
 * as good as the floor). */
struct result {
	const char *bench, *name;
	int streams;
	double tokens, seconds, cpu_s;
};
double cpu_us_per_token(const struct result *r);
void print_head(void);
void print_result(const struct result *r, double ratio);

double peak_memory_bytes(pid_t pid); /* of a process that runs: its VmHWM */

/* A goal and where it stands, as a row "what,unit,streams,floor,own,peer,ratio,goal,verdict" of the
 * file that the environment's BENCH_GOALS names (run.sh makes a table of it); without it, on
 * stderr. */
struct goal {
	const char *what, *unit; /* of floor, own and peer */
	int streams;		 /* 0: does not apply */
	double floor, own, peer; /* 0: was not measured */
	double ratio;		 /* what the goal is about; 0: it is about own */
	double least, most;	 /* the limit: one of them, the other is 0 */
};
void print_goal(const struct goal *g);

#endif

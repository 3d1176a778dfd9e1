/*
 * What the benchmarks share: processes pinned to a core each, loopback sockets, the bytes of one
 * token, and a row of the CSV that all of them print.
 *
 * Every measurement stands beside a floor and a peer of the same run: absolute times mean little on
 * a shared machine. Server and client are processes of their own, one core each.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

#define SERVER_CORE 0
#define CLIENT_CORE 1
#define TOKEN_BYTES 252 /* one SSE event with its chunk framing, as vLLM sends a token */

void pin_to_core(int core);
double now_s(void);
void raise_fd_limit(void);

int listen_any(int *port);  /* loopback, a free port, blocking, big backlog */
int connect_port(int port); /* blocking; TCP_NODELAY */
void set_nodelay(int fd);   /* without it the kernel merges tokens, and they cost less */
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

/* Waits; returns the user + system CPU seconds the child used. Dies if it failed (expect_signal 0)
 * or was not ended by that signal or with exit code 0. */
double wait_cpu_s(pid_t pid, const char *what);

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

#endif

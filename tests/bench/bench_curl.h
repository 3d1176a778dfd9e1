/*
 * libcurl as a peer: its multi handle driven the way a careful program does.
 */
#ifndef BENCH_CURL_H
#define BENCH_CURL_H

#include <curl/curl.h>
#include <stdbool.h>

size_t throw_away(char *p, size_t size, size_t n, void *arg); /* CURLOPT_WRITEFUNCTION */

/* Until nothing runs any more. on_done, or NULL: of each transfer that has ended; true = it has put
 * another one on. */
void drive_curl(CURLM *m, bool (*on_done)(CURLM *m, CURL *easy, void *arg), void *arg);

#endif

/*
 * Numbers with units, both ways. Parsing is strict: no trailing text, no sign where none makes
 * sense, overflow is an error; the message names the text and gives an example of what is allowed
 * (no place: the caller prefixes it).
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdint.h>
#include <stddef.h>

#include "err.h"

enum rc parse_int(const char *s, int64_t min, int64_t max, int64_t *out, struct err *e);
enum rc parse_double(const char *s, double min, double max, double *out, struct err *e);

/* "250ms" "1.5s" "80us" "10ns" "2m" "1h", to the nearest ns; bare numbers but 0 are refused. */
enum rc parse_duration(const char *s, int64_t *out_ns, struct err *e);

/* Counts: "20", "4k" (4,000), "4Ki" (4,096), "2M", "1.5k"; k M G Ki Mi Gi. Must come out whole. */
enum rc parse_count(const char *s, int64_t min, int64_t max, int64_t *out, struct err *e);

/* Bytes: "1024", "80GiB", "16GB", "512KiB", "4kB", to the nearest byte. */
enum rc parse_bytes(const char *s, int64_t *out_bytes, struct err *e);

/* Per second: "10", "10/s", "600/min", "7200/h", "inf" (HUGE_VAL). > 0. */
enum rc parse_rate(const char *s, double *out_per_s, struct err *e);

/* For people: "84.2 ms", "1.50 s", "12.3k", "15.8 GiB". Returns out. 32 bytes are enough. */
char *format_duration(char *out, size_t cap, int64_t ns);
char *format_count(char *out, size_t cap, double n);
char *format_bytes(char *out, size_t cap, double bytes);

static inline double ns_to_ms(int64_t ns)
{
	return (double)ns / 1e6;
}

static inline double ns_to_s(int64_t ns)
{
	return (double)ns / 1e9;
}

#endif

/*
 * Owns the reading and writing of numbers with units. Pure. The only place that knows how a person
 * spells a duration, a size or a rate; everything behind it computes in ns, bytes and per second.
 *
 * Whole numbers with a unit are read in integers, digit by digit, so that "9007199254740993" or
 * "0.1us" are what they say and never the nearest double.
 */
#include "units.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "clock.h"
#include "utf8.h"

__extension__ typedef unsigned __int128 u128;

/* For "%.*s": as much of a bad text as a message quotes. */
#define QUOTE(s) (int)utf8_cut(s, 64), (s)

#define MAX_FRACTION_DIGITS 18 /* 10^18 times INT64_MAX still fits 128 bits */

struct unit {
	const char *name;
	int64_t factor;
};

static const struct unit durations[] = {
	{"ns", 1},	 {"us", NS_PER_US},    {"ms", NS_PER_MS},
	{"s", NS_PER_S}, {"m", 60 * NS_PER_S}, {"h", 3600 * NS_PER_S},
	{NULL, 0},
};

static const struct unit counts[] = {
	{"", 1},
	{"k", INT64_C(1000)},
	{"M", INT64_C(1000000)},
	{"G", INT64_C(1000000000)},
	{"Ki", INT64_C(1) << 10},
	{"Mi", INT64_C(1) << 20},
	{"Gi", INT64_C(1) << 30},
	{NULL, 0},
};

static const struct unit sizes[] = {
	{"", 1},
	{"B", 1},
	{"kB", INT64_C(1000)},
	{"MB", INT64_C(1000000)},
	{"GB", INT64_C(1000000000)},
	{"TB", INT64_C(1000000000000)},
	{"KiB", INT64_C(1) << 10},
	{"MiB", INT64_C(1) << 20},
	{"GiB", INT64_C(1) << 30},
	{"TiB", INT64_C(1) << 40},
	{NULL, 0},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The number to name in "such as": 1, or what is allowed and nearest to it. */
static double example(double min, double max)
{
	return fmin(fmax(1, min), max);
}

enum rc parse_int(const char *s, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	bool negative = *s == '-', fits = true;
	uint64_t limit = (uint64_t)INT64_MAX + negative, n = 0;
	const char *p = s + negative;
	int64_t value;

	CHECK(min <= max);
	do {
		if (!is_digit(*p))
			return err_set(e, RC_INPUT, "\"%.*s\" is not a whole number, such as %.0f",
				       QUOTE(s), example((double)min, (double)max));
		fits = fits && n <= (limit - (uint64_t)(*p - '0')) / 10;
		if (fits)
			n = 10 * n + (uint64_t)(*p - '0');
	} while (*++p);
	/* -(n - 1) - 1: INT64_MIN has no positive twin */
	value = negative && n ? -(int64_t)(n - 1) - 1 : (int64_t)n;
	if (!fits || value < min || value > max || (negative && min >= 0))
		return err_set(e, RC_INPUT,
			       "%.*s is out of range: %" PRId64 " to %" PRId64 " is allowed",
			       QUOTE(s), min, max);
	*out = value;
	return RC_OK;
}

/* The length of a decimal number without a sign, "12", "1.5", ".5", with_exponent also "2e-3"; 0 if
 * there is none. */
static size_t decimal_length(const char *s, bool with_exponent)
{
	size_t whole = strspn(s, "0123456789"), n = whole, digits;

	if (s[n] == '.') {
		digits = strspn(s + n + 1, "0123456789");
		if (digits == 0)
			return 0;
		n += 1 + digits;
	}
	if (n > 0 && with_exponent && (s[n] == 'e' || s[n] == 'E')) {
		size_t sign = s[n + 1] == '-' || s[n + 1] == '+';

		digits = strspn(s + n + 1 + sign, "0123456789");
		n += digits ? 1 + sign + digits : 0;
	}
	return n;
}

enum rc parse_double(const char *s, double min, double max, double *out, struct err *e)
{
	bool negative = *s == '-';
	size_t n = decimal_length(s + negative, true);
	double value;

	/* strtod() alone would take blanks, "+", "nan", "infinity" and hexadecimal */
	if (n == 0 || s[negative + n])
		return err_set(e, RC_INPUT, "\"%.*s\" is not a number, such as %.6g", QUOTE(s),
			       example(min, max));
	value = strtod(s, NULL);
	if (!isfinite(value) || value < min || value > max || (negative && min >= 0))
		return err_set(e, RC_INPUT, "%.*s is out of range: %.15g to %.15g is allowed",
			       QUOTE(s), min, max);
	*out = value;
	return RC_OK;
}

enum scale_result { SCALE_OK, SCALE_SYNTAX, SCALE_RANGE, SCALE_FRACTION };

/*
 * "1.5k" with its unit applied. What remains below one is an error when it has to come out whole,
 * else rounded to nearest, halves up.
 */
static enum scale_result scale(const char *s, const struct unit *units, bool whole, int64_t *out)
{
	size_t n = decimal_length(s, false), digits = 0;
	const char *point = memchr(s, '.', n);
	u128 number = 0, power = 1, value;
	const struct unit *u = units;
	int64_t factor;

	while (u->name && strcmp(u->name, s + n) != 0)
		u++;
	if (n == 0 || (!u->name && strcmp(s, "0") != 0))
		return SCALE_SYNTAX;
	factor = u->name ? u->factor : 1;
	while (point && s[n - 1] == '0')
		n--; /* zeros at the end of a fraction say nothing */

	/* s = number / power */
	for (size_t i = 0; i < n; i++) {
		if (s + i == point)
			continue;
		if (point && s + i > point) {
			if (++digits > MAX_FRACTION_DIGITS)
				return SCALE_FRACTION;
			power *= 10;
		}
		number = 10 * number + (u128)(s[i] - '0');
		if (number / power > (u128)(INT64_MAX / factor))
			return SCALE_RANGE;
	}
	value = number * (u128)factor;
	if (whole && value % power != 0)
		return SCALE_FRACTION;
	value = value / power + (value % power >= power - value % power);
	if (value > INT64_MAX)
		return SCALE_RANGE;
	*out = (int64_t)value;
	return SCALE_OK;
}

enum rc parse_duration(const char *s, int64_t *out_ns, struct err *e)
{
	switch (scale(s, durations, false, out_ns)) {
	case SCALE_OK:
		return RC_OK;
	case SCALE_SYNTAX:
		break;
	case SCALE_RANGE:
		return err_set(e, RC_INPUT, "%.*s is too long: at most 292 years, such as 1h",
			       QUOTE(s));
	case SCALE_FRACTION:
		return err_set(e, RC_INPUT,
			       "%.*s has more than %d digits behind the point; write 1.5s, say",
			       QUOTE(s), MAX_FRACTION_DIGITS);
	}
	return err_set(e, RC_INPUT,
		       "\"%.*s\" is not a duration, such as 250ms or 1.5s (ns, us, ms, s, m, h)",
		       QUOTE(s));
}

enum rc parse_count(const char *s, int64_t min, int64_t max, int64_t *out, struct err *e)
{
	int64_t value;

	CHECK(min <= max);
	switch (scale(s, counts, true, &value)) {
	case SCALE_OK:
		if (value >= min && value <= max) {
			*out = value;
			return RC_OK;
		}
		break;
	case SCALE_SYNTAX:
		return err_set(
			e, RC_INPUT,
			"\"%.*s\" is not a count, such as 20, 1.5k or 4Ki (k, M, G, Ki, Mi, Gi)",
			QUOTE(s));
	case SCALE_RANGE:
		break;
	case SCALE_FRACTION:
		return err_set(e, RC_INPUT,
			       "%.*s does not come out as a whole number, as 20 and 1.5k do",
			       QUOTE(s));
	}
	return err_set(e, RC_INPUT, "%.*s is out of range: %" PRId64 " to %" PRId64 " is allowed",
		       QUOTE(s), min, max);
}

enum rc parse_bytes(const char *s, int64_t *out_bytes, struct err *e)
{
	switch (scale(s, sizes, false, out_bytes)) {
	case SCALE_OK:
		return RC_OK;
	case SCALE_SYNTAX:
		break;
	case SCALE_RANGE:
		return err_set(e, RC_INPUT,
			       "%.*s is too large: below 8388608TiB is allowed, such as 80GiB",
			       QUOTE(s));
	case SCALE_FRACTION:
		return err_set(e, RC_INPUT,
			       "%.*s has more than %d digits behind the point; write 1.5GiB, say",
			       QUOTE(s), MAX_FRACTION_DIGITS);
	}
	return err_set(e, RC_INPUT,
		       "\"%.*s\" is not a size, such as 512KiB or 16GB (B, kB, MB, GB, TB, KiB, "
		       "MiB, GiB, TiB)",
		       QUOTE(s));
}

enum rc parse_rate(const char *s, double *out_per_s, struct err *e)
{
	static const struct {
		const char *name;
		double seconds;
	} per[] = {{"", 1}, {"/s", 1}, {"/min", 60}, {"/h", 3600}};
	size_t n = decimal_length(s, true);
	double value;

	if (strcmp(s, "inf") == 0) {
		*out_per_s = HUGE_VAL;
		return RC_OK;
	}
	for (size_t i = 0; n > 0 && i < ARRAY_LEN(per); i++) {
		if (strcmp(s + n, per[i].name) != 0)
			continue;
		value = strtod(s, NULL) / per[i].seconds;
		if (!isfinite(value) || value <= 0)
			return err_set(
				e, RC_INPUT,
				"%.*s is out of range: a rate is above 0, such as 10/s, or inf",
				QUOTE(s));
		*out_per_s = value;
		return RC_OK;
	}
	return err_set(e, RC_INPUT, "\"%.*s\" is not a rate, such as 10, 10/s, 600/min or inf",
		       QUOTE(s));
}

/* Three significant digits: "1.50", "12.3", "842". */
static void print_3_digits(char *out, size_t cap, double x, const char *separator, const char *unit)
{
	double size = fabs(x);
	int decimals = size < 9.995 ? 2 : size < 99.95 ? 1 : 0;

	snprintf(out, cap, "%.*f%s%s", decimals, x, separator, unit);
}

char *format_duration(char *out, size_t cap, int64_t ns)
{
	/* below: where the next unit takes over, short of the number that would round up to it */
	static const struct {
		const char *name;
		double ns, below;
	} ladder[] = {
		{"us", 1e3, 999.5},   {"ms", 1e6, 999.5},      {"s", 1e9, 119.5},
		{"min", 60e9, 119.5}, {"h", 3600e9, HUGE_VAL},
	};
	double size = fabs((double)ns);
	size_t i = 0;

	if (size < 1000) {
		snprintf(out, cap, "%" PRId64 " ns", ns);
		return out;
	}
	while (size / ladder[i].ns >= ladder[i].below)
		i++;
	print_3_digits(out, cap, (double)ns / ladder[i].ns, " ", ladder[i].name);
	return out;
}

static bool print_not_finite(char *out, size_t cap, double x)
{
	if (isfinite(x))
		return false;
	snprintf(out, cap, "%s", isnan(x) ? "-" : x > 0 ? "inf" : "-inf");
	return true;
}

char *format_count(char *out, size_t cap, double n)
{
	static const char *const unit[] = {"", "k", "M", "G", "T"};
	size_t i = 0;

	if (print_not_finite(out, cap, n))
		return out;
	if (fabs(n) < 999.5 && n == rint(n)) {
		snprintf(out, cap, "%.0f", n);
		return out;
	}
	for (; fabs(n) >= 999.5 && i + 1 < ARRAY_LEN(unit); i++)
		n /= 1000;
	print_3_digits(out, cap, n, "", unit[i]);
	return out;
}

char *format_bytes(char *out, size_t cap, double bytes)
{
	static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
	size_t i = 0;

	if (print_not_finite(out, cap, bytes))
		return out;
	if (fabs(bytes) < 1023.5) {
		snprintf(out, cap, "%.0f B", bytes);
		return out;
	}
	for (; fabs(bytes) >= 1023.5 && i + 1 < ARRAY_LEN(unit); i++)
		bytes /= 1024;
	print_3_digits(out, cap, bytes, " ", unit[i]);
	return out;
}

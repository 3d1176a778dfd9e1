/*
 * Assertions, for programming errors only: bad input goes through err.h, a broken environment
 * through die.h.
 *
 * CHECK(x)   always on; prints the place and the expression, then aborts.
 * DCHECK(x)  for hot paths: compiled out with NDEBUG.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

_Noreturn void check_failed(const char *file, int line, const char *expression);

#define CHECK(x)                                                                                   \
	do {                                                                                       \
		if (!(x))                                                                          \
			check_failed(__FILE__, __LINE__, #x);                                      \
	} while (0)

#ifdef NDEBUG
#define DCHECK(x) ((void)sizeof((x) ? 1 : 0))
#else
#define DCHECK(x) CHECK(x)
#endif

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif

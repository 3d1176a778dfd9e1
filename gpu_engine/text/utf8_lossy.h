/*
 * Bytes that are no UTF-8, made UTF-8: each longest part that could have begun a character, or else
 * each byte, becomes one U+FFFD. That is what Python's and Rust's lossy decoding do, and so what
 * the reference tokenisers see. Pure.
 */
#ifndef TEXT_UTF8_LOSSY_H
#define TEXT_UTF8_LOSSY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

bool utf8_is_valid(const char *s, size_t len);
void utf8_lossy(struct buf *out, const char *s, size_t len); /* appends */

#endif

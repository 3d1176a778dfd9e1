/*
 * Unicode's canonical composition (NFC): some vocabularies were trained on text in that form, and
 * their tokenisers bring any text into it first. Pure.
 */
#ifndef TEXT_NFC_H
#define TEXT_NFC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/* True if a quick look is enough to see that composing changes nothing, as with all of Latin-1. */
bool nfc_is_composed(const char *s, size_t len);

/* Appends s, which must be UTF-8, composed. */
void nfc_compose(struct buf *out, const char *s, size_t len);

#endif

#!/usr/bin/env python3
"""Writes gpu_engine/text/nfc_table.h from Python's own copy of the Unicode character database.

usage: make_nfc_table.py > gpu_engine/text/nfc_table.h && clang-format -i gpu_engine/text/nfc_table.h
"""
import sys
import unicodedata

pairs, classes = [], []
for cp in range(0x110000):
    c = chr(cp)
    d = unicodedata.decomposition(c)
    if d and not d.startswith("<"):
        parts = [int(x, 16) for x in d.split()]
        composes = len(parts) == 2 and unicodedata.normalize("NFC", c) == c
        pairs.append((cp, parts[0], parts[1] if len(parts) == 2 else 0, composes))
    k = unicodedata.combining(c)
    if k and classes and classes[-1][1] == cp - 1 and classes[-1][2] == k:
        classes[-1][1] = cp
    elif k:
        classes.append([cp, cp, k])

print(f"""/*
 * Unicode {unicodedata.unidata_version}: canonical decompositions and combining classes, as
 * tests/text/make_nfc_table.py writes them. Hangul goes by arithmetic and is not in it.
 */
#ifndef TEXT_NFC_TABLE_H
#define TEXT_NFC_TABLE_H

#include <stdint.h>

/* Three numbers a row, sorted by the first: it is made of the second and the third (0: of the second
 * alone). */
static const uint32_t nfc_pairs[] = {{""")
for cp, a, b, back in pairs:
    print("0x%x, 0x%x, 0x%x," % (cp, a, b))
print("""};

/* Three numbers a row: the code points from the first to the second have this combining class; all
 * others have 0. */
static const uint32_t nfc_classes[] = {""")
for a, b, k in classes:
    print("0x%x, 0x%x, %d," % (a, b, k))
print("""};

/* The rows of nfc_pairs that go both ways, in the order of what they are made of. */
static const uint16_t nfc_composing[] = {""")
for i in sorted((i for i, p in enumerate(pairs) if p[3]), key=lambda i: pairs[i][1:3]):
    print("%d," % i)
print("};\n\n#endif")

/*
 * Owns the reading of GGUF, versions 2 and 3: bytes in, checked tables out. Runs once at start.
 * Must not know what a key or a tensor is for, but for the few keys that describe the file itself.
 *
 * Every read goes through struct cursor, which knows how many bytes are left; counts are held
 * against them before memory is asked for, so a hostile file costs at most a small multiple of its
 * own size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "model_reader.h"

#define DEFAULT_ALIGNMENT 32
#define MAX_ALIGNMENT	  (1 << 20)
#define MAX_NAME	  64 /* bytes of a tensor's name */
#define MAX_KEY		  65535
#define MAX_NESTING	  4
#define MIN_META_BYTES	  (8 + 1 + 4 + 1)	  /* length, key, type, value */
#define MIN_INFO_BYTES	  (8 + 1 + 4 + 8 + 4 + 8) /* length, name, n_dims, a dim, type, offset */
#define MAX_SHARDS	  99999

/* GGUF's numbers for the types of values. */
enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_TYPES
};

static const struct value_type {
	enum meta_type type;
	int32_t width; /* 0: not fixed */
} value_types[GGUF_TYPES] = {
	[GGUF_U8] = {META_UINT, 1},	  [GGUF_I8] = {META_INT, 1},
	[GGUF_U16] = {META_UINT, 2},	  [GGUF_I16] = {META_INT, 2},
	[GGUF_U32] = {META_UINT, 4},	  [GGUF_I32] = {META_INT, 4},
	[GGUF_F32] = {META_REAL, 4},	  [GGUF_BOOL] = {META_BOOL, 1},
	[GGUF_STRING] = {META_STRING, 0}, [GGUF_ARRAY] = {META_ARRAY, 0},
	[GGUF_U64] = {META_UINT, 8},	  [GGUF_I64] = {META_INT, 8},
	[GGUF_F64] = {META_REAL, 8},
};

/* ---- reading bytes ---- */

struct cursor {
	const uint8_t *start, *p, *end;
	const char *path;
	const char *kind; /* "key" or "tensor"; NULL: the header */
	struct meta_string name;
	struct err *e;
};

static size_t left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

/* The message with its place: file, offset, and the key or tensor that is being read. */
__attribute__((format(printf, 3, 4))) static enum rc bad(const struct cursor *c, const uint8_t *at,
							 const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(c->e, RC_INPUT, fmt, ap);
	va_end(ap);
	if (!c->e)
		return RC_INPUT;
	if (c->kind)
		err_prefix(c->e, "%s '%.*s': ", c->kind, (int)c->name.len, c->name.text);
	return err_prefix(c->e, "%s: offset %zu: ", c->path, (size_t)(at - c->start));
}

static enum rc need(const struct cursor *c, uint64_t n, const char *what)
{
	if (n <= left(c))
		return RC_OK;
	return bad(c, c->p, "the file ends in %s (%llu bytes wanted, %zu left)", what,
		   (unsigned long long)n, left(c));
}

static enum rc read_number(struct cursor *c, size_t width, uint64_t *out, const char *what)
{
	enum rc rc = need(c, width, what);

	if (rc != RC_OK)
		return rc;
	*out = 0;
	memcpy(out, c->p, width);
	c->p += width;
	return RC_OK;
}

static enum rc read_string(struct cursor *c, struct meta_string *out, const char *what)
{
	uint64_t len;
	enum rc rc = read_number(c, 8, &len, what);

	if (rc == RC_OK)
		rc = need(c, len, what);
	if (rc != RC_OK)
		return rc;
	*out = (struct meta_string){(const char *)c->p, (size_t)len};
	c->p += len;
	return RC_OK;
}

/* A key's or a tensor's name; from then on messages carry it. */
static enum rc read_name(struct cursor *c, const char *kind, size_t max, struct meta_string *out)
{
	const uint8_t *at = c->p;
	enum rc rc;

	c->kind = NULL;
	rc = read_string(c, out, "a name");
	if (rc != RC_OK)
		return rc;
	if (out->len == 0 || out->len > max)
		return bad(c, at, "a %s's name of %zu bytes, want 1 to %zu", kind, out->len, max);
	if (memchr(out->text, '\0', out->len))
		return bad(c, at, "a %s's name with a zero byte", kind);
	c->kind = kind;
	c->name = *out;
	return RC_OK;
}

/* ---- keys ---- */

static enum rc read_type(struct cursor *c, uint64_t *type)
{
	const uint8_t *at = c->p;
	enum rc rc = read_number(c, 4, type, "a value's type");

	if (rc == RC_OK && *type >= GGUF_TYPES)
		rc = bad(c, at, "value type %llu, want 0 to %d", (unsigned long long)*type,
			 GGUF_TYPES - 1);
	return rc;
}

static enum rc read_scalar(struct cursor *c, enum gguf_type type, struct meta *m)
{
	const struct value_type *t = &value_types[type];
	const uint8_t *at = c->p;
	uint64_t v = 0;
	enum rc rc;
	float s;

	m->type = t->type;
	if (type == GGUF_STRING)
		return read_string(c, &m->s, "a string");
	rc = read_number(c, (size_t)t->width, &v, "a value");
	if (rc != RC_OK)
		return rc;
	switch (t->type) {
	case META_INT:
		if (t->width < 8 && v >> (t->width * 8 - 1))
			v |= ~UINT64_C(0) << (t->width * 8);
		m->i = (int64_t)v;
		break;
	case META_REAL:
		if (t->width == 8) {
			memcpy(&m->d, &v, sizeof(m->d));
			break;
		}
		memcpy(&s, &v, sizeof(s));
		m->d = (double)s;
		break;
	case META_BOOL:
		if (v > 1)
			return bad(c, at, "a bool of value %u, want 0 or 1", (unsigned)v);
		m->b = v == 1;
		break;
	default:
		m->u = v;
	}
	return RC_OK;
}

/* `m`: where the items are noted down; NULL for an array within an array, which is checked and
 * passed over: no key that means anything to us has one. */
static enum rc read_array(struct cursor *c, struct meta *m, int depth)
{
	const struct value_type *t;
	uint64_t type, n, min_bytes;
	const uint8_t *at = c->p;
	enum rc rc = read_type(c, &type);

	if (rc == RC_OK)
		rc = read_number(c, 8, &n, "an array's length");
	if (rc != RC_OK)
		return rc;
	if (depth > MAX_NESTING)
		return bad(c, at, "arrays nested deeper than %d", MAX_NESTING);
	t = &value_types[type];
	min_bytes = type == GGUF_STRING ? 8 : type == GGUF_ARRAY ? 12 : (uint64_t)t->width;
	if (n > left(c) / min_bytes)
		return bad(c, at, "an array of %llu items in %zu bytes", (unsigned long long)n,
			   left(c));
	if (m) {
		m->type = META_ARRAY;
		m->a.type = t->type;
		m->a.n = n;
		m->a.at = c->p;
		m->a.width = t->width;
		m->a.string = type == GGUF_STRING && n ? xcalloc(n, sizeof(*m->a.string)) : NULL;
	}
	if (t->width > 0) {
		for (uint64_t i = 0; type == GGUF_BOOL && i < n; i++)
			if (c->p[i] > 1)
				return bad(c, c->p + i, "a bool of value %u, want 0 or 1", c->p[i]);
		c->p += n * (uint64_t)t->width;
		return RC_OK;
	}
	for (uint64_t i = 0; rc == RC_OK && i < n; i++) {
		struct meta_string passed;

		if (type == GGUF_STRING)
			rc = read_string(c, m ? &m->a.string[i] : &passed, "a string of an array");
		else
			rc = read_array(c, NULL, depth + 1);
	}
	return rc;
}

static enum rc read_metas(struct cursor *c, struct model_file *f, uint64_t n)
{
	f->meta = xcalloc((size_t)n + 1, sizeof(*f->meta));
	for (uint64_t i = 0; i < n; i++) {
		struct meta *m = &f->meta[i];
		uint64_t type;
		enum rc rc = read_name(c, "key", MAX_KEY, &m->key);

		if (rc == RC_OK)
			rc = read_type(c, &type);
		if (rc != RC_OK)
			return rc;
		f->n_meta++; /* from here on it is released with the file */
		rc = type == GGUF_ARRAY ? read_array(c, m, 1)
					: read_scalar(c, (enum gguf_type)type, m);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

/* ---- tensors ---- */

/* Names for the message, of what others write and we do not read. */
static const char *foreign_dtype(uint64_t id)
{
	static const char *const names[] = {
		[9] = "Q8_1",	  [10] = "Q2_K",   [11] = "Q3_K",    [15] = "Q8_K",
		[16] = "IQ2_XXS", [17] = "IQ2_XS", [18] = "IQ3_XXS", [19] = "IQ1_S",
		[20] = "IQ4_NL",  [21] = "IQ3_S",  [22] = "IQ2_S",   [23] = "IQ4_XS",
		[24] = "I8",	  [25] = "I16",	   [26] = "I32",     [27] = "I64",
		[28] = "F64",	  [29] = "IQ1_M",  [34] = "TQ1_0",   [35] = "TQ2_0",
		[39] = "MXFP4",	  [40] = "NVFP4",
	};

	return id < ARRAY_LEN(names) && names[id] ? names[id] : "unknown";
}

static enum rc read_dims(struct cursor *c, struct tensor *t, int64_t *elements)
{
	const uint8_t *at = c->p;
	uint64_t n, dim;
	enum rc rc = read_number(c, 4, &n, "a tensor's shape");

	if (rc != RC_OK)
		return rc;
	if (n < 1 || n > TENSOR_MAX_DIMS)
		return bad(c, at, "%llu dimensions, want 1 to %d", (unsigned long long)n,
			   TENSOR_MAX_DIMS);
	t->n_dims = (int32_t)n;
	*elements = 1;
	for (int i = 0; i < TENSOR_MAX_DIMS; i++) {
		at = c->p;
		t->dim[i] = 1;
		if (i >= t->n_dims)
			continue;
		rc = read_number(c, 8, &dim, "a tensor's shape");
		if (rc != RC_OK)
			return rc;
		if (dim < 1 || dim > INT64_MAX ||
		    __builtin_mul_overflow(*elements, (int64_t)dim, elements))
			return bad(c, at, "dimension %d is %llu", i, (unsigned long long)dim);
		t->dim[i] = (int64_t)dim;
	}
	return RC_OK;
}

/* The offset ends up in t->data as if the data began at 0: where they begin is known only behind
 * the last tensor's description. */
static enum rc read_info(struct cursor *c, struct tensor *t, uint64_t *offset)
{
	const struct dtype_info *info;
	const uint8_t *at;
	int64_t elements = 0, blocks;
	uint64_t id;
	enum rc rc = read_dims(c, t, &elements);

	if (rc != RC_OK)
		return rc;
	at = c->p;
	rc = read_number(c, 4, &id, "a tensor's type");
	if (rc != RC_OK)
		return rc;
	if (id > INT32_MAX || !dtype_from_gguf((int32_t)id, &t->dtype))
		return bad(c, at, "type %llu (%s) is not supported", (unsigned long long)id,
			   foreign_dtype(id));
	info = dtype_info(t->dtype);
	if (t->dim[0] % info->block != 0)
		return bad(c, at, "rows of %lld are no multiple of %s's %d", (long long)t->dim[0],
			   info->name, info->block);
	blocks = elements / info->block;
	if (__builtin_mul_overflow((size_t)blocks, (size_t)info->block_bytes, &t->bytes))
		return bad(c, at, "%lld elements are too many", (long long)elements);
	return read_number(c, 8, offset, "a tensor's offset");
}

/* No two share a byte. */
static enum rc check_overlap(struct cursor *c, const struct tensor *t, int32_t n)
{
	struct tensor *by_place = tensors_by_place(t, n);
	enum rc rc = RC_OK;

	c->kind = NULL;
	for (int32_t i = 1; i < n && rc == RC_OK; i++) {
		const struct tensor *a = &by_place[i - 1], *b = &by_place[i];

		if ((size_t)((const uint8_t *)b->data - (const uint8_t *)a->data) < a->bytes)
			rc = bad(c, b->data, "tensor '%s' begins within tensor '%s'", b->name,
				 a->name);
	}
	free(by_place);
	return rc;
}

/* Turns offsets into pointers. */
static enum rc place_tensors(struct cursor *c, struct tensor *t, int32_t n, const uint64_t *offset,
			     uint64_t alignment)
{
	uint64_t used = (uint64_t)(c->p - c->start), pad = -used & (alignment - 1);
	const uint8_t *data = c->p + (pad < left(c) ? pad : left(c));
	uint64_t size = (uint64_t)(c->end - data);

	for (int32_t i = 0; i < n; i++) {
		c->kind = "tensor";
		c->name = (struct meta_string){t[i].name, strlen(t[i].name)};
		if (offset[i] % alignment != 0)
			return bad(c, data,
				   "its place, %llu, is no multiple of the alignment, %llu",
				   (unsigned long long)offset[i], (unsigned long long)alignment);
		if (offset[i] > size || t[i].bytes > size - offset[i])
			return bad(c, data, "%zu bytes at %llu of the data, which has %llu",
				   t[i].bytes, (unsigned long long)offset[i],
				   (unsigned long long)size);
		t[i].data = data + offset[i];
	}
	return check_overlap(c, t, n);
}

static enum rc read_tensors(struct cursor *c, struct model_file *f, struct model_map *map,
			    int32_t n)
{
	struct tensor *t = model_file_more_tensors(f, n);
	uint64_t *offset = xcalloc((size_t)n + 1, sizeof(*offset));
	char *name = map->names = xmalloc((size_t)n * (MAX_NAME + 1) + 1);
	int64_t alignment = DEFAULT_ALIGNMENT;
	enum rc rc = RC_OK;

	for (int32_t i = 0; i < n && rc == RC_OK; i++) {
		struct meta_string s;

		t[i].name = "";
		rc = read_name(c, "tensor", MAX_NAME, &s);
		if (rc != RC_OK)
			break;
		t[i].name = name;
		memcpy(name, s.text, s.len);
		name[s.len] = '\0';
		name += s.len + 1;
		rc = read_info(c, &t[i], &offset[i]);
	}
	if (rc == RC_OK)
		rc = meta_get_int(f, "general.alignment", 1, MAX_ALIGNMENT, &alignment, c->e);
	if (rc == RC_OK && (alignment & (alignment - 1)) != 0)
		rc = err_set(c->e, RC_INPUT,
			     "%s: key 'general.alignment': got %lld, want a power of two", c->path,
			     (long long)alignment);
	if (rc == RC_OK)
		rc = place_tensors(c, t, n, offset, (uint64_t)alignment);
	free(offset);
	return rc;
}

/* ---- the file ---- */

static enum rc read_header(struct cursor *c, uint64_t *n_tensors, uint64_t *n_metas)
{
	uint64_t magic, version;
	const uint8_t *at;
	enum rc rc = read_number(c, 4, &magic, "the header");

	if (rc == RC_OK)
		rc = read_number(c, 4, &version, "the header");
	if (rc == RC_OK)
		rc = read_number(c, 8, n_tensors, "the header");
	at = c->p;
	if (rc == RC_OK)
		rc = read_number(c, 8, n_metas, "the header");
	if (rc != RC_OK)
		return rc;
	if (memcmp(c->start, "GGUF", 4) != 0)
		return bad(c, c->start, "no GGUF file: want the bytes \"GGUF\"");
	if (version != 2 && version != 3)
		return bad(c, c->start + 4, "GGUF version %llu, want 2 or 3%s",
			   (unsigned long long)version,
			   (version & 0xffff) == 0 ? " (the file is big endian)" : "");
	if (*n_metas > left(c) / MIN_META_BYTES)
		return bad(c, at, "%llu keys in %zu bytes", (unsigned long long)*n_metas, left(c));
	if (*n_tensors > left(c) / MIN_INFO_BYTES || *n_tensors > INT32_MAX)
		return bad(c, at - 8, "%llu tensors in %zu bytes", (unsigned long long)*n_tensors,
			   left(c));
	return RC_OK;
}

enum rc gguf_parse(struct model_file *f, struct model_map *map, struct err *e)
{
	struct cursor c = {.start = map->data,
			   .p = map->data,
			   .end = map->data + map->size,
			   .path = map->path,
			   .e = e};
	uint64_t n_tensors, n_metas;
	enum rc rc = read_header(&c, &n_tensors, &n_metas);

	if (rc == RC_OK)
		rc = read_metas(&c, f, n_metas);
	if (rc == RC_OK)
		rc = model_file_sort(f, e); /* keys can be looked up from here on */
	if (rc == RC_OK)
		rc = read_tensors(&c, f, map, (int32_t)n_tensors);
	return rc;
}

/* ---- shards ---- */

/* "model-00001-of-00003.gguf" is shard 1 of 3. Returns the length of what stands before the
 * numbers, or 0 if it is not such a name. */
static size_t shard_name(const char *path, int *no, int *count)
{
	static const char pattern[] = "-00001-of-00003.gguf";
	size_t n = strlen(path), k = sizeof(pattern) - 1;
	int end = 0;

	if (n <= k || sscanf(path + n - k, "-%5d-of-%5d.gguf%n", no, count, &end) != 2 ||
	    end != (int)k)
		return 0;
	return n - k;
}

static enum rc check_shard(const struct model_file *f, const char *path, int64_t no, int64_t count,
			   struct err *e)
{
	int64_t got_no = -1, got_count = -1;
	enum rc rc = meta_get_int(f, "split.no", 0, MAX_SHARDS, &got_no, e);

	if (rc == RC_OK)
		rc = meta_get_int(f, "split.count", 0, MAX_SHARDS, &got_count, e);
	if (rc != RC_OK)
		return rc;
	if (got_no != no || got_count != count)
		return err_set(e, RC_INPUT,
			       "%s: keys 'split.no' and 'split.count': got %lld of %lld, want %lld "
			       "of %lld",
			       path, (long long)got_no, (long long)got_count, (long long)no,
			       (long long)count);
	return RC_OK;
}

/* Shard `no` (from 0): its tensors join f, its keys have done their duty. */
static enum rc add_shard(struct model_file *f, const char *path, int no, int count, struct err *e)
{
	struct model_file part;
	struct model_map *map;
	enum rc rc;

	model_file_init(&part, path);
	rc = model_map_file(&map, &part, path, e);
	if (rc == RC_OK)
		rc = gguf_parse(&part, map, e);
	if (rc == RC_OK)
		rc = check_shard(&part, path, no, count, e);
	if (rc == RC_OK)
		model_file_join(f, &part);
	model_file_release(&part);
	return rc;
}

enum rc gguf_read(struct model_file *f, struct model_map *first, struct err *e)
{
	int64_t split_count = 1, n_tensors = -1;
	int no, count;
	size_t stem;
	enum rc rc = gguf_parse(f, first, e);

	if (rc == RC_OK)
		rc = meta_get_int(f, "split.count", 0, MAX_SHARDS, &split_count, e);
	if (rc != RC_OK || split_count <= 1)
		return rc;
	stem = shard_name(first->path, &no, &count);
	if (stem == 0 || count != split_count)
		return err_set(e, RC_INPUT,
			       "%s: key 'split.count': one of %lld shards, so its name should end "
			       "in -00001-of-%05lld.gguf",
			       first->path, (long long)split_count, (long long)split_count);
	if (no != 1)
		return err_set(e, RC_INPUT, "%s: shard %d of %d; want the first one", first->path,
			       no, count);
	rc = check_shard(f, first->path, 0, count, e);
	for (no = 2; rc == RC_OK && no <= count; no++) {
		char *path = xasprintf("%.*s-%05d-of-%05d.gguf", (int)stem, first->path, no, count);

		rc = add_shard(f, path, no - 1, count, e);
		free(path);
	}
	if (rc == RC_OK)
		rc = meta_get_int(f, "split.tensors.count", 0, INT32_MAX, &n_tensors, e);
	if (rc == RC_OK && n_tensors >= 0 && n_tensors != f->n_tensors)
		rc = err_set(e, RC_INPUT,
			     "%s: key 'split.tensors.count': %lld tensors announced, %d found in "
			     "%d shards",
			     f->path, (long long)n_tensors, f->n_tensors, count);
	return rc;
}

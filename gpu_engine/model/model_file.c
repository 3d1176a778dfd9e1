/*
 * Owns the mapped files and the sorted tables of tensors and keys; what the bytes mean is the
 * readers' affair (gguf.c, safetensors.c). Used by one thread at start; the tables are constant
 * afterwards and any thread may look into them. Must not know architectures.
 */
#include "model_file.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "model_reader.h"

/* ---- mapped files ---- */

static struct model_map *add_map(struct model_file *f, const char *path)
{
	struct model_map *m = xcalloc(1, sizeof(*m));

	m->path = xstrdup(path);
	m->next = f->maps;
	f->maps = m;
	return m;
}

struct model_map *model_map_bytes(struct model_file *f, const void *data, size_t size,
				  const char *path)
{
	struct model_map *m = add_map(f, path);

	m->data = data;
	m->size = size;
	m->borrowed = true;
	return m;
}

enum rc model_map_file(struct model_map **out, struct model_file *f, const char *path,
		       struct err *e)
{
	enum rc rc = RC_OK;
	struct stat st;
	void *data;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return err_set(e, RC_IO, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0) {
		rc = err_set(e, RC_IO, "%s: %s", path, strerror(errno));
		goto done;
	}
	if (!S_ISREG(st.st_mode) || st.st_size == 0) {
		rc = err_set(e, RC_INPUT, "%s: %s", path,
			     S_ISREG(st.st_mode) ? "the file is empty" : "not a regular file");
		goto done;
	}
	data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (data == MAP_FAILED) {
		rc = err_set(e, RC_IO, "%s: cannot be mapped: %s", path, strerror(errno));
		goto done;
	}
	*out = add_map(f, path);
	(*out)->data = data;
	(*out)->size = (size_t)st.st_size;
done:
	close(fd);
	return rc;
}

static void free_map(struct model_map *m)
{
	if (!m->borrowed)
		munmap((void *)(uintptr_t)m->data, m->size);
	free(m->names);
	free(m->path);
	free(m);
}

/* Whole pages, outwards: a neighbour that shares one reads it from the file again. */
void model_file_drop(const struct model_file *f, const struct tensor *t)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)t->data & -page;

	for (const struct model_map *m = f->maps; m; m = m->next)
		if (m->borrowed && (const uint8_t *)t->data >= m->data &&
		    (const uint8_t *)t->data < m->data + m->size)
			return;
	/* Advice: where it is not taken, the pages stay until the kernel wants them. */
	(void)madvise((void *)from, (uintptr_t)t->data + t->bytes - from, MADV_DONTNEED);
}

/* ---- opening and closing ---- */

void model_file_init(struct model_file *f, const char *path)
{
	*f = (struct model_file){.path = xstrdup(path)};
}

void model_file_release(struct model_file *f)
{
	while (f->maps) {
		struct model_map *m = f->maps;

		f->maps = m->next;
		free_map(m);
	}
	for (int32_t i = 0; i < f->n_meta; i++)
		if (f->meta[i].type == META_ARRAY)
			free(f->meta[i].a.string);
	free(f->meta);
	free(f->tensor);
	cJSON_Delete(f->config);
	cJSON_Delete(f->tokenizer);
	free(f->path);
}

void model_file_close(struct model_file *f)
{
	if (!f)
		return;
	model_file_release(f);
	free(f);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && strcmp(s + n - k, end) == 0;
}

static enum rc read_any(struct model_file *f, struct err *e)
{
	struct model_map *map = NULL;
	struct stat st;
	enum rc rc;

	if (stat(f->path, &st) < 0)
		return err_set(e, RC_IO, "%s: %s", f->path, strerror(errno));
	if (S_ISDIR(st.st_mode) || ends_with(f->path, ".safetensors") ||
	    ends_with(f->path, ".json")) {
		f->format = MODEL_SAFETENSORS;
		return safetensors_read(f, f->path, e);
	}
	rc = model_map_file(&map, f, f->path, e);
	if (rc != RC_OK)
		return rc;
	CHECK(map);
	if (map->size < 4 || memcmp(map->data, "GGUF", 4) != 0)
		return err_set(e, RC_INPUT,
			       "%s: offset 0: no GGUF file (want the bytes \"GGUF\"), and neither "
			       "*.safetensors, *.safetensors.index.json nor a folder",
			       f->path);
	f->format = MODEL_GGUF;
	return gguf_read(f, map, e);
}

enum rc model_file_open(struct model_file **out, const char *path, struct err *e)
{
	struct model_file *f = xmalloc(sizeof(*f));
	enum rc rc;

	model_file_init(f, path);
	rc = read_any(f, e);
	if (rc == RC_OK)
		rc = model_file_sort(f, e);
	if (rc != RC_OK) {
		model_file_close(f);
		return rc;
	}
	*out = f;
	return RC_OK;
}

/* ---- the tables ---- */

struct tensor *model_file_more_tensors(struct model_file *f, int32_t n)
{
	struct tensor *first;

	f->tensor =
		xreallocarray(f->tensor, (size_t)f->n_tensors + (size_t)n + 1, sizeof(*f->tensor));
	first = f->tensor + f->n_tensors;
	memset(first, 0, (size_t)n * sizeof(*first));
	f->n_tensors += n;
	return first;
}

void model_file_join(struct model_file *f, struct model_file *from)
{
	struct model_map **end = &f->maps;

	if (from->n_tensors > 0)
		memcpy(model_file_more_tensors(f, from->n_tensors), from->tensor,
		       (size_t)from->n_tensors * sizeof(*from->tensor));
	from->n_tensors = 0;
	while (*end)
		end = &(*end)->next;
	*end = from->maps;
	from->maps = NULL;
}

static int compare_place(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	if (x->data != y->data)
		return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
	return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

struct tensor *tensors_by_place(const struct tensor *t, int32_t n)
{
	struct tensor *sorted = xcalloc((size_t)n + 1, sizeof(*sorted));

	if (n > 0)
		memcpy(sorted, t, (size_t)n * sizeof(*t));
	qsort(sorted, (size_t)n, sizeof(*sorted), compare_place);
	return sorted;
}

static int compare_strings(struct meta_string a, struct meta_string b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int order = n ? memcmp(a.text, b.text, n) : 0;

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

static int compare_keys(const void *a, const void *b)
{
	return compare_strings(((const struct meta *)a)->key, ((const struct meta *)b)->key);
}

enum rc model_file_sort(struct model_file *f, struct err *e)
{
	if (f->n_tensors > 0)
		qsort(f->tensor, (size_t)f->n_tensors, sizeof(*f->tensor), compare_names);
	if (f->n_meta > 0)
		qsort(f->meta, (size_t)f->n_meta, sizeof(*f->meta), compare_keys);
	for (int32_t i = 1; i < f->n_tensors; i++)
		if (strcmp(f->tensor[i - 1].name, f->tensor[i].name) == 0)
			return err_set(e, RC_INPUT, "%s: tensor '%s' is there twice", f->path,
				       f->tensor[i].name);
	for (int32_t i = 1; i < f->n_meta; i++)
		if (compare_strings(f->meta[i - 1].key, f->meta[i].key) == 0)
			return err_set(e, RC_INPUT, "%s: key '%.*s' is there twice", f->path,
				       (int)f->meta[i].key.len, f->meta[i].key.text);
	return RC_OK;
}

const struct tensor *model_file_tensor(const struct model_file *f, const char *name)
{
	struct tensor key = {.name = name};

	if (!f->n_tensors)
		return NULL;
	return bsearch(&key, f->tensor, (size_t)f->n_tensors, sizeof(key), compare_names);
}

const struct meta *model_file_meta(const struct model_file *f, const char *key)
{
	struct meta want = {.key = {key, strlen(key)}};

	if (!f->n_meta)
		return NULL;
	return bsearch(&want, f->meta, (size_t)f->n_meta, sizeof(want), compare_keys);
}

/* ---- typed reads ---- */

static const char *const type_names[] = {
	[META_UINT] = "an integer", [META_INT] = "an integer",	[META_REAL] = "a number",
	[META_BOOL] = "a bool",	    [META_STRING] = "a string", [META_ARRAY] = "an array",
};

static enum rc wrong_type(const struct model_file *f, const struct meta *m, const char *want,
			  struct err *e)
{
	return err_set(e, RC_INPUT, "%s: key '%.*s': got %s, want %s", f->path, (int)m->key.len,
		       m->key.text, type_names[m->type], want);
}

enum rc meta_get_int(const struct model_file *f, const char *key, int64_t min, int64_t max,
		     int64_t *out, struct err *e)
{
	const struct meta *m = model_file_meta(f, key);

	if (!m)
		return RC_OK;
	if (m->type != META_UINT && m->type != META_INT)
		return wrong_type(f, m, "an integer", e);
	if (m->type == META_UINT && m->u > INT64_MAX)
		return err_set(e, RC_INPUT, "%s: key '%s': got %llu, want at most %lld", f->path,
			       key, (unsigned long long)m->u, (long long)max);
	if (m->i < min || m->i > max)
		return err_set(e, RC_INPUT, "%s: key '%s': got %lld, want %lld to %lld", f->path,
			       key, (long long)m->i, (long long)min, (long long)max);
	*out = m->i;
	return RC_OK;
}

enum rc meta_get_real(const struct model_file *f, const char *key, double *out, struct err *e)
{
	const struct meta *m = model_file_meta(f, key);
	double d;

	if (!m)
		return RC_OK;
	if (m->type > META_REAL)
		return wrong_type(f, m, "a number", e);
	d = m->type == META_UINT ? (double)m->u : m->type == META_INT ? (double)m->i : m->d;
	if (!isfinite(d))
		return err_set(e, RC_INPUT, "%s: key '%s': got %g, want a finite number", f->path,
			       key, d);
	*out = d;
	return RC_OK;
}

enum rc meta_get_bool(const struct model_file *f, const char *key, bool *out, struct err *e)
{
	const struct meta *m = model_file_meta(f, key);

	if (!m)
		return RC_OK;
	if (m->type != META_BOOL)
		return wrong_type(f, m, "a bool", e);
	*out = m->b;
	return RC_OK;
}

enum rc meta_get_string(const struct model_file *f, const char *key, struct meta_string *out,
			struct err *e)
{
	const struct meta *m = model_file_meta(f, key);

	if (!m)
		return RC_OK;
	if (m->type != META_STRING)
		return wrong_type(f, m, "a string", e);
	*out = m->s;
	return RC_OK;
}

int64_t meta_item_int(const struct meta *m, uint64_t i)
{
	const uint8_t *at = (const uint8_t *)m->a.at + i * (uint64_t)m->a.width;
	bool is_signed = m->a.type == META_INT;
	uint64_t v = 0;

	CHECK(m->type == META_ARRAY && i < m->a.n && m->a.type != META_STRING &&
	      m->a.type != META_ARRAY);
	if (m->a.type == META_REAL)
		return (int64_t)meta_item_real(m, i);
	memcpy(&v, at, (size_t)m->a.width); /* little endian (dtype.c insists) */
	if (is_signed && m->a.width < 8 && v >> (m->a.width * 8 - 1))
		v |= ~UINT64_C(0) << (m->a.width * 8);
	return (int64_t)v;
}

double meta_item_real(const struct meta *m, uint64_t i)
{
	const uint8_t *at = (const uint8_t *)m->a.at + i * (uint64_t)m->a.width;
	double d;
	float s;

	CHECK(m->type == META_ARRAY && i < m->a.n);
	if (m->a.type != META_REAL)
		return (double)meta_item_int(m, i);
	if (m->a.width == 4) {
		memcpy(&s, at, sizeof(s));
		return (double)s;
	}
	memcpy(&d, at, sizeof(d));
	return d;
}

/*
 * Owns the reading of safetensors: the header that describes the tensors, the index that spreads
 * them over files, and the JSON files that stand beside them. Runs once at start. Must not know
 * what a tensor or a key of config.json is for.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "model_reader.h"

#define HEADER_MAX ((uint64_t)100 << 20) /* the format's own cap */
#define JSON_MAX   ((size_t)256 << 20)	 /* the largest tokenizer.json seen has 33 MB */
#define SHARDS_MAX 10000

/* ---- one file ---- */

/* Integers and flags are buffers that a framework saved with the model (masks, positions), never
 * weights: they take part in the check of the layout and are passed over. */
static const struct width {
	const char *name;
	int32_t bytes;
	bool is_weight;
	enum dtype dtype;
} widths[] = {
	{"F32", 4, true, DTYPE_F32},	{"F16", 2, true, DTYPE_F16},
	{"BF16", 2, true, DTYPE_BF16},	{"BOOL", 1, false, DTYPE_COUNT},
	{"U8", 1, false, DTYPE_COUNT},	{"I8", 1, false, DTYPE_COUNT},
	{"I16", 2, false, DTYPE_COUNT}, {"U16", 2, false, DTYPE_COUNT},
	{"I32", 4, false, DTYPE_COUNT}, {"U32", 4, false, DTYPE_COUNT},
	{"I64", 8, false, DTYPE_COUNT}, {"U64", 8, false, DTYPE_COUNT},
};

static const struct width *width_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(widths); i++)
		if (strcmp(widths[i].name, name) == 0)
			return &widths[i];
	return NULL;
}

/* A number of the header that counts something, or -1. */
static int64_t whole(const cJSON *v)
{
	double d = cJSON_IsNumber(v) ? v->valuedouble : -1;

	return d >= 0 && d <= 0x1p53 && d == (double)(int64_t)d ? (int64_t)d : -1;
}

/* Rows come last in our dim[], first in the file. No dimension at all is a single number. */
static enum rc read_shape(struct tensor *t, const cJSON *shape, int64_t *elements, struct err *e)
{
	int n = cJSON_GetArraySize(shape);
	const cJSON *v;

	if (!cJSON_IsArray(shape) || n > TENSOR_MAX_DIMS)
		return err_set(e, RC_INPUT, "shape: want an array of at most %d numbers",
			       TENSOR_MAX_DIMS);
	for (int i = 0; i < TENSOR_MAX_DIMS; i++)
		t->dim[i] = 1;
	t->n_dims = n ? n : 1;
	*elements = 1;
	cJSON_ArrayForEach(v, shape)
	{
		int64_t dim = whole(v);

		if (dim < 0 || __builtin_mul_overflow(*elements, dim, elements))
			return err_set(e, RC_INPUT, "shape: a dimension is no count, or too large");
		t->dim[--n] = dim;
	}
	return RC_OK;
}

/* `data`: what follows the header, `size` bytes. */
static enum rc read_tensor(struct tensor *t, const cJSON *o, const uint8_t *data, uint64_t size,
			   struct err *e)
{
	const cJSON *dtype = cJSON_GetObjectItemCaseSensitive(o, "dtype");
	const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(o, "data_offsets");
	int64_t begin, end, elements = 0, bytes;
	const struct width *w;
	enum rc rc;

	/* Three keys, all of them there: so none is there twice. */
	if (!cJSON_IsString(dtype) || cJSON_GetArraySize(o) != 3 ||
	    cJSON_GetArraySize(offsets) != 2)
		return err_set(e, RC_INPUT, "want {\"dtype\", \"shape\", \"data_offsets\"}");
	w = width_of(dtype->valuestring);
	if (!w)
		return err_set(e, RC_INPUT, "dtype: \"%s\" is not supported; want F32, F16 or BF16",
			       dtype->valuestring);
	t->dtype = w->dtype;
	rc = read_shape(t, cJSON_GetObjectItemCaseSensitive(o, "shape"), &elements, e);
	if (rc != RC_OK)
		return rc;
	begin = whole(offsets->child);
	end = whole(offsets->child->next);
	if (begin < 0 || end < begin || (uint64_t)end > size)
		return err_set(e, RC_INPUT,
			       "data_offsets: %" PRId64 " to %" PRId64 " of %" PRIu64 " bytes",
			       begin, end, size);
	if (__builtin_mul_overflow(elements, (int64_t)w->bytes, &bytes) || end - begin != bytes)
		return err_set(e, RC_INPUT,
			       "data_offsets: %" PRId64 " bytes for %" PRId64 " elements of %s",
			       end - begin, elements, w->name);
	t->data = data + begin;
	t->bytes = (size_t)bytes;
	return RC_OK;
}

/* From the first byte to the last, without a gap: what the format asks for, so that nothing hides
 * in a file. */
static enum rc check_layout(const struct model_map *map, const struct tensor *t, int32_t n,
			    const uint8_t *data, struct err *e)
{
	struct tensor *by_place = tensors_by_place(t, n);
	const uint8_t *at = data, *end = map->data + map->size;
	enum rc rc = RC_OK;

	for (int32_t i = 0; i < n && rc == RC_OK; i++) {
		if (by_place[i].data != at)
			rc = err_set(e, RC_INPUT,
				     "%s: offset %td: tensor '%s' begins here, the one before ends "
				     "at %td",
				     map->path, (const uint8_t *)by_place[i].data - map->data,
				     by_place[i].name, at - map->data);
		at = (const uint8_t *)by_place[i].data + by_place[i].bytes;
	}
	if (rc == RC_OK && at != end)
		rc = err_set(e, RC_INPUT, "%s: offset %td: %td bytes behind the last tensor",
			     map->path, at - map->data, end - at);
	free(by_place);
	return rc;
}

static size_t names_bytes(const cJSON *header)
{
	size_t n = 1;
	const cJSON *o;

	cJSON_ArrayForEach(o, header) n += strlen(o->string) + 1;
	return n;
}

static enum rc read_tensors(struct model_file *f, struct model_map *map, const cJSON *header,
			    const uint8_t *data, struct err *e)
{
	struct tensor *t = xcalloc((size_t)cJSON_GetArraySize(header) + 1, sizeof(*t));
	char *name = map->names = xmalloc(names_bytes(header));
	int32_t n = 0;
	enum rc rc = RC_OK;
	const cJSON *o;

	cJSON_ArrayForEach(o, header)
	{
		if (strcmp(o->string, "__metadata__") == 0)
			continue;
		t[n].name = name;
		memcpy(name, o->string, strlen(o->string) + 1);
		name += strlen(name) + 1;
		rc = read_tensor(&t[n], o, data, (uint64_t)(map->data + map->size - data), e);
		if (rc != RC_OK) {
			err_prefix(e, "%s: offset 8: tensor '%s': ", map->path, o->string);
			goto done;
		}
		n++;
	}
	rc = check_layout(map, t, n, data, e);
	if (rc != RC_OK)
		goto done;
	for (int32_t i = 0; i < n; i++)
		if (t[i].dtype != DTYPE_COUNT)
			*model_file_more_tensors(f, 1) = t[i];
done:
	free(t);
	return rc;
}

enum rc safetensors_parse(struct model_file *f, struct model_map *map, struct err *e)
{
	cJSON *header = NULL;
	uint64_t n = 0;
	enum rc rc;

	if (map->size < 8)
		return err_set(e, RC_INPUT, "%s: offset 0: %zu bytes are no safetensors file",
			       map->path, map->size);
	memcpy(&n, map->data, sizeof(n)); /* little endian (dtype.c insists) */
	if (n > HEADER_MAX || n > map->size - 8)
		return err_set(e, RC_INPUT,
			       "%s: offset 0: a header of %" PRIu64 " bytes in a file of %zu%s",
			       map->path, n, map->size,
			       n > HEADER_MAX ? ", want at most 100 MiB" : "");
	rc = json_parse(&header, (const char *)map->data + 8, (size_t)n, e);
	if (rc == RC_OK && !cJSON_IsObject(header))
		rc = err_set(e, RC_INPUT, "want an object");
	if (rc != RC_OK) {
		err_prefix(e, "%s: offset 8: header: ", map->path);
		goto done;
	}
	rc = read_tensors(f, map, header, map->data + 8 + n, e);
done:
	cJSON_Delete(header);
	return rc;
}

/* ---- files beside each other ---- */

/* The file of that name in the folder of `path`. The caller's to free. */
static char *beside(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return slash ? xasprintf("%.*s%s", (int)(slash + 1 - path), path, name) : xstrdup(name);
}

static bool exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* An object from a JSON file. A missing one is RC_IO if it is required, else *out stays NULL. */
static enum rc read_json(cJSON **out, const char *path, bool required, struct err *e)
{
	struct buf b;
	enum rc rc;

	if (!required && !exists(path))
		return RC_OK;
	buf_init(&b, JSON_MAX);
	rc = (enum rc)buf_read_file(&b, path, e);
	if (rc == RC_OK) {
		rc = json_parse(out, buf_head(&b), buf_size(&b), e);
		if (rc == RC_OK && !cJSON_IsObject(*out))
			rc = err_set(e, RC_INPUT, "want an object");
		if (rc != RC_OK)
			err_prefix(e, "%s: ", path);
	}
	buf_release(&b);
	return rc;
}

/* `name` from the folder of `path` into *tree and, as its member `extra`, what `extra`.json holds,
 * if that is there. */
static enum rc read_with(cJSON **tree, const char *path, const char *name, bool required,
			 const char *extra, struct err *e)
{
	char *main_path = beside(path, name), *extra_name = xasprintf("%s.json", extra),
	     *extra_path = beside(path, extra_name);
	cJSON *more = NULL;
	enum rc rc = read_json(tree, main_path, required, e);

	if (rc == RC_OK && *tree)
		rc = read_json(&more, extra_path, false, e);
	if (rc == RC_OK && more)
		cJSON_AddItemToObject(*tree, extra, more);
	else
		cJSON_Delete(more);
	free(main_path);
	free(extra_name);
	free(extra_path);
	return rc;
}

/* A template that stands in a file of its own takes the place it used to have. */
static enum rc read_chat_template(struct model_file *f, struct err *e)
{
	cJSON *config = cJSON_GetObjectItemCaseSensitive(f->tokenizer, "tokenizer_config");
	char *path = beside(f->path, "chat_template.jinja");
	enum rc rc = RC_OK;

	if (config && exists(path) && !cJSON_HasObjectItem(config, "chat_template")) {
		struct buf b;

		buf_init(&b, JSON_MAX);
		rc = (enum rc)buf_read_file(&b, path, e);
		if (rc == RC_OK)
			cJSON_AddStringToObject(config, "chat_template", buf_cstr(&b));
		buf_release(&b);
	}
	free(path);
	return rc;
}

/* ---- shards ---- */

static enum rc add_file(struct model_file *f, const char *path, struct err *e)
{
	struct model_map *map;
	enum rc rc = model_map_file(&map, f, path, e);

	return rc == RC_OK ? safetensors_parse(f, map, e) : rc;
}

static const struct model_map *find_map(const struct model_file *f, const char *path)
{
	for (const struct model_map *m = f->maps; m; m = m->next)
		if (strcmp(m->path, path) == 0)
			return m;
	return NULL;
}

/* A tensor has to lie in the file that the index names. One that is not found was passed over, or
 * is missing: then whoever needs it will say so. */
static enum rc check_index(const struct model_file *f, const cJSON *map, struct err *e)
{
	const cJSON *entry;
	enum rc rc = RC_OK;

	cJSON_ArrayForEach(entry, map)
	{
		const struct tensor *t = model_file_tensor(f, entry->string);
		char *path = beside(f->path, entry->valuestring);
		const struct model_map *m = find_map(f, path);

		CHECK(m);
		if (t && ((const uint8_t *)t->data < m->data ||
			  (const uint8_t *)t->data + t->bytes > m->data + m->size))
			rc = err_set(e, RC_INPUT, "%s: weight_map: tensor '%s' is not in %s",
				     f->path, entry->string, entry->valuestring);
		free(path);
		if (rc != RC_OK)
			return rc;
	}
	return RC_OK;
}

static enum rc read_shards(struct model_file *f, const cJSON *map, struct err *e)
{
	int n_shards = 0;
	const cJSON *entry;
	enum rc rc = RC_OK;

	cJSON_ArrayForEach(entry, map)
	{
		const char *name = cJSON_IsString(entry) ? entry->valuestring : "";
		char *path;

		if (*name == '\0' || strchr(name, '/'))
			return err_set(e, RC_INPUT,
				       "%s: weight_map: tensor '%s': want the name of a file "
				       "beside the index",
				       f->path, entry->string);
		path = beside(f->path, name);
		if (!find_map(f, path)) {
			if (++n_shards > SHARDS_MAX)
				rc = err_set(e, RC_LIMIT, "%s: weight_map: more than %d files",
					     f->path, SHARDS_MAX);
			else
				rc = add_file(f, path, e);
		}
		free(path);
		if (rc != RC_OK)
			return rc;
	}
	rc = model_file_sort(f, e);
	return rc == RC_OK ? check_index(f, map, e) : rc;
}

static enum rc read_index(struct model_file *f, struct err *e)
{
	const cJSON *map = NULL;
	cJSON *index = NULL;
	enum rc rc = read_json(&index, f->path, true, e);

	if (rc == RC_OK) {
		rc = json_get_object(index, "", "weight_map", &map, e);
		if (rc == RC_OK && !map)
			rc = err_set(e, RC_INPUT, "weight_map: missing");
		if (rc != RC_OK)
			err_prefix(e, "%s: ", f->path);
	}
	if (rc == RC_OK)
		rc = read_shards(f, map, e);
	cJSON_Delete(index);
	return rc;
}

/* From a folder to the file in it, in f->path. */
static enum rc find_in_folder(struct model_file *f, const char *folder, struct err *e)
{
	static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		char *path = xasprintf("%s/%s", folder, names[i]);

		if (exists(path)) {
			free(f->path);
			f->path = path;
			return RC_OK;
		}
		free(path);
	}
	return err_set(e, RC_INPUT, "%s: a folder without %s and without %s", folder, names[0],
		       names[1]);
}

enum rc safetensors_read(struct model_file *f, const char *path, struct err *e)
{
	static const char index_end[] = ".index.json";
	size_t n = strlen(path), k = sizeof(index_end) - 1;
	struct stat st;
	enum rc rc = RC_OK;

	if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
		char *folder = xstrdup(path);

		rc = find_in_folder(f, folder, e);
		free(folder);
		if (rc != RC_OK)
			return rc;
		n = strlen(f->path);
	}
	if (n > k && strcmp(f->path + n - k, index_end) == 0)
		rc = read_index(f, e);
	else
		rc = add_file(f, f->path, e);
	if (rc == RC_OK)
		rc = read_with(&f->config, f->path, "config.json", true, "generation_config", e);
	if (rc == RC_OK)
		rc = read_with(&f->tokenizer, f->path, "tokenizer.json", false, "tokenizer_config",
			       e);
	return rc == RC_OK ? read_chat_template(f, e) : rc;
}

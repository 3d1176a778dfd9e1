/*
 * A model's file as it lies on the disk, mapped and checked, whatever its format: tensors by name,
 * and the metadata beside them. GGUF v2/v3 (one file, or the first of its shards), safetensors with
 * config.json and tokenizer.json beside it (a file, its index, or their folder).
 *
 * Nothing is believed: sizes, offsets, counts and names are checked against the file before
 * anything points into it; what is wrong is RC_INPUT with the file, the tensor or key, and the
 * offset. A file that shrinks while it is mapped is the one thing that can not be caught.
 */
#ifndef MODEL_MODEL_FILE_H
#define MODEL_MODEL_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/jsonx.h"
#include "dtype.h"

#define TENSOR_MAX_DIMS 4

struct tensor {
	const char *name;
	enum dtype dtype;
	int32_t n_dims;
	int64_t dim[TENSOR_MAX_DIMS]; /* dim[0] is contiguous: a matrix is [n_in, n_out]; unused: 1
				       */
	const void *data;	      /* into the map; alignment is the file's affair */
	size_t bytes;
};

/* GGUF's typed values. Strings are not terminated; arrays are looked at item by item. */
enum meta_type {
	META_UINT,
	META_INT,
	META_REAL,
	META_BOOL,
	META_STRING,
	META_ARRAY,
};

struct meta_string {
	const char *text;
	size_t len;
};

struct meta {
	struct meta_string key;
	enum meta_type type;
	union {
		uint64_t u;
		int64_t i;
		double d;
		bool b;
		struct meta_string s;
		struct {
			enum meta_type type;
			uint64_t n;
			const void *at;		    /* use meta_item_...() */
			int32_t width;		    /* bytes an item; 0 for strings */
			struct meta_string *string; /* META_STRING: n views, owned by the file */
		} a;
	};
};

enum model_format { MODEL_GGUF, MODEL_SAFETENSORS };

struct model_file {
	enum model_format format;
	char *path;	       /* as it was given */
	struct tensor *tensor; /* sorted by name */
	int32_t n_tensors;
	struct meta *meta; /* GGUF: sorted by key; else none */
	int32_t n_meta;
	cJSON *config;	  /* safetensors: config.json, with generation_config.json, if there is one,
			   * as its member "generation_config" */
	cJSON *tokenizer; /* ... tokenizer.json, likewise with "tokenizer_config", and the text of
			   * chat_template.jinja in that as "chat_template"; or NULL */
	struct model_map *maps; /* the reader's own */
};

enum rc model_file_open(struct model_file **out, const char *path, struct err *e);
void model_file_close(struct model_file *f);

const struct tensor *model_file_tensor(const struct model_file *f, const char *name); /* or NULL */
const struct meta *model_file_meta(const struct model_file *f, const char *key);      /* or NULL */

/* Typed reads of a GGUF key: absent leaves *out as it is, another type or range is RC_INPUT with
 * the key. Integers of every width and sign are taken if they fit. */
enum rc meta_get_int(const struct model_file *f, const char *key, int64_t min, int64_t max,
		     int64_t *out, struct err *e);
enum rc meta_get_real(const struct model_file *f, const char *key, double *out, struct err *e);
enum rc meta_get_bool(const struct model_file *f, const char *key, bool *out, struct err *e);
enum rc meta_get_string(const struct model_file *f, const char *key, struct meta_string *out,
			struct err *e);

/* Item i of an array of numbers. */
int64_t meta_item_int(const struct meta *m, uint64_t i);
double meta_item_real(const struct meta *m, uint64_t i);

/* Tells the kernel that a tensor's pages are not needed any more: they have been repacked. */
void model_file_drop(const struct model_file *f, const struct tensor *t);

#endif

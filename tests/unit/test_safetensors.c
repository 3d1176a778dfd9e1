/*
 * safetensors: what a header says is found again, each way in which it can be broken is refused
 * with the place, and the files that stand beside each other are found.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../support/tiny_model.h"
#include "base/check.h"
#include "base/die.h"
#include "model/model_reader.h"

#define HEAD "{\"__metadata__\":{\"format\":\"pt\"},"
#define A    "\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}"
#define B    "\"b\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[24,30]}"

struct bytes {
	struct model_file f;
	uint8_t *data; /* exactly as many as there are, so that a sanitizer sees one too many */
};

/* A file of that header and n_data bytes 0, 1, 2, ... */
static enum rc parse(struct bytes *b, const char *header, size_t n_data, struct err *e)
{
	uint64_t n = strlen(header);
	size_t size = 8 + n + n_data;
	enum rc rc;

	b->data = xmalloc(size);
	memcpy(b->data, &n, 8);
	memcpy(b->data + 8, header, n);
	for (size_t i = 0; i < n_data; i++)
		b->data[8 + n + i] = (uint8_t)i;
	model_file_init(&b->f, "t.safetensors");
	b->f.format = MODEL_SAFETENSORS;
	rc = safetensors_parse(&b->f, model_map_bytes(&b->f, b->data, size, "t.safetensors"), e);
	return rc == RC_OK ? model_file_sort(&b->f, e) : rc;
}

static void release(struct bytes *b)
{
	model_file_release(&b->f);
	free(b->data);
}

/* Rows come last in our shape; what is no weight is passed over; blanks may fill the header up. */
static void test_contents(void **state)
{
	const struct tensor *t;
	struct bytes b;
	struct err e;

	(void)state;
	if (parse(&b,
		  HEAD B "," A
			 ",\"mask\":{\"dtype\":\"BOOL\",\"shape\":[1,2,2],\"data_offsets\":[30,34]"
			 "},\"one\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[34,36]}}   ",
		  36, &e) != RC_OK)
		fail_msg("%s", e.msg);
	assert_int_equal(b.f.n_tensors, 3);
	t = model_file_tensor(&b.f, "a");
	assert_int_equal(t->dim[0] * 10 + t->dim[1], 32);
	assert_int_equal(t->dtype, DTYPE_F32);
	t = model_file_tensor(&b.f, "b");
	assert_int_equal(t->n_dims, 1);
	assert_int_equal(t->dim[0], 3);
	assert_int_equal(*(const uint8_t *)t->data, 24);
	assert_int_equal(model_file_tensor(&b.f, "one")->dim[0], 1);
	assert_null(model_file_tensor(&b.f, "mask"));
	assert_null(model_file_tensor(&b.f, "__metadata__"));
	release(&b);
}

static void test_broken(void **state)
{
	static const struct {
		const char *header;
		size_t n_data;
		const char *want;
	} rows[] = {
		{"[]", 0, "offset 8: header: want an object"},
		{"{\"a\"", 0, "offset 8: header: line 1, column 5: the text ends, want ':'"},
		{"{" A "}", 23, "tensor 'a': data_offsets: 0 to 24 of 23 bytes"},
		{"{" A "}", 25, "1 bytes behind the last tensor"},
		{"{}", 1, "offset 10: 1 bytes behind the last tensor"},
		{"{" B "}", 30, "tensor 'b' begins here, the one before ends at"},
		{"{" A "," A "}", 24, "tensor 'a' begins here"},
		{"{\"a\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]},"
		 "\"a\":{\"dtype\":\"F16\",\"shape\":[0],\"data_offsets\":[0,0]}}",
		 0, "tensor 'a' is there twice"},
		{"{" A ",\"c\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[20,28]}}", 28,
		 "tensor 'c' begins here"},
		{"{" A ",\"c\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[26,34]}}", 34,
		 "tensor 'c' begins here"},
		{"{\"a\":1}", 0, "tensor 'a': want {\"dtype\", \"shape\", \"data_offsets\"}"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"shape\":[1],\"data_offsets\":[0,4]}}",
		 4, "tensor 'a': want {\"dtype\""},
		{"{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
		 "tensor 'a': dtype: \"F8_E4M3\" is not supported; want F32, F16 or BF16"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
		 "tensor 'a': shape: want an array of at most 4 numbers"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
		 "tensor 'a': shape: a dimension is no count"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[4503599627370496,4503599627370496],"
		 "\"data_offsets\":[0,4]}}",
		 4, "tensor 'a': shape: a dimension is no count, or too large"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4,
		 "no count"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4,
		 "tensor 'a': data_offsets: 4 bytes for 2 elements of F32"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
		 "data_offsets: 4 to 0 of 4 bytes"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,1e300]}}", 4,
		 "data_offsets: 0 to -1 of 4 bytes"},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
		 "want {\"dtype\""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct bytes b;
		struct err e;
		enum rc rc = parse(&b, rows[i].header, rows[i].n_data, &e);

		if (rc != RC_INPUT || !strstr(e.msg, rows[i].want) ||
		    strncmp(e.msg, "t.safetensors: ", 15) != 0)
			fail_msg("row %zu: \"%s\" is not in \"%s\"", i, rows[i].want,
				 rc ? e.msg : "no error");
		release(&b);
	}
}

/* A header that says how long it is, wrongly. */
static void test_header_length(void **state)
{
	static const struct {
		uint64_t n;
		const char *want;
	} rows[] = {
		{9, "offset 0: a header of 9 bytes in a file of 16"},
		{~0ull, "offset 0: a header of 18446744073709551615 bytes in a file of 16, want at "
			"most 100 MiB"},
		{6, "offset 8: header: line 1, column 7: the text ends"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		uint8_t data[16] = "........{\"a\":1}";
		struct model_file f;
		struct err e;

		memcpy(data, &rows[i].n, 8);
		model_file_init(&f, "t");
		assert_int_equal(
			safetensors_parse(&f, model_map_bytes(&f, data, sizeof(data), "t"), &e),
			RC_INPUT);
		if (!strstr(e.msg, rows[i].want))
			fail_msg("\"%s\" is not in \"%s\"", rows[i].want, e.msg);
		model_file_release(&f);
	}
}

/* ---- folders ---- */

struct folder {
	char path[64];
	char *model;
};

static void make(struct folder *d, const struct tiny_params *p)
{
	snprintf(d->path, sizeof(d->path), "/tmp/test_safetensors-XXXXXX");
	assert_non_null(mkdtemp(d->path));
	d->model = tiny_model_write(p, MODEL_SAFETENSORS, d->path);
}

static void write_text(const struct folder *d, const char *name, const char *text)
{
	char *path = xasprintf("%s/%s", d->path, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	free(path);
}

static void without(const struct folder *d, const char *name)
{
	char *path = xasprintf("%s/%s", d->path, name);

	unlink(path);
	free(path);
}

static void unmake(struct folder *d)
{
	static const char *const names[] = {
		"model.safetensors",
		"model.safetensors.index.json",
		"model-00001-of-00002.safetensors",
		"model-00002-of-00002.safetensors",
		"config.json",
		"generation_config.json",
		"tokenizer.json",
		"tokenizer_config.json",
		"chat_template.jinja",
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		without(d, names[i]);
	rmdir(d->path);
	free(d->model);
}

static void refuse(const struct folder *d, enum rc want_rc, const char *want)
{
	struct model_file *f;
	struct err e;

	assert_int_equal(model_file_open(&f, d->path, &e), want_rc);
	if (!strstr(e.msg, want))
		fail_msg("\"%s\" is not in \"%s\"", want, e.msg);
}

static const cJSON *member(const cJSON *o, const char *a, const char *b)
{
	return cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(o, a), b);
}

/* What stands beside the weights, whichever way they are named. */
static void test_beside(void **state)
{
	struct model_file *f;
	struct folder d;
	struct err e;

	(void)state;
	make(&d, &(struct tiny_params){0});
	for (int i = 0; i < 2; i++) {
		assert_int_equal(model_file_open(&f, i ? d.model : d.path, &e), RC_OK);
		assert_string_equal(f->path, d.model);
		assert_non_null(cJSON_GetObjectItem(f->config, "hidden_size"));
		assert_non_null(member(f->config, "generation_config", "eos_token_id"));
		assert_non_null(cJSON_GetObjectItem(f->tokenizer, "model"));
		assert_non_null(member(f->tokenizer, "tokenizer_config", "chat_template"));
		model_file_close(f);
	}
	without(&d, "generation_config.json");
	write_text(&d, "tokenizer_config.json", "{}");
	write_text(&d, "chat_template.jinja", "{{ hello }}");
	assert_int_equal(model_file_open(&f, d.path, &e), RC_OK);
	assert_null(cJSON_GetObjectItem(f->config, "generation_config"));
	assert_string_equal(member(f->tokenizer, "tokenizer_config", "chat_template")->valuestring,
			    "{{ hello }}");
	model_file_close(f);
	write_text(&d, "tokenizer_config.json", "{");
	refuse(&d, RC_INPUT, "tokenizer_config.json: line 1, column 2: the text ends");
	without(&d, "tokenizer.json");
	assert_int_equal(model_file_open(&f, d.path, &e), RC_OK);
	assert_null(f->tokenizer);
	model_file_close(f);
	write_text(&d, "config.json", "[]");
	refuse(&d, RC_INPUT, "config.json: want an object");
	without(&d, "config.json");
	refuse(&d, RC_IO, "config.json: No such file");
	unmake(&d);
}

static void test_index(void **state)
{
	static const struct {
		const char *index;
		enum rc rc;
		const char *want;
	} rows[] = {
		{"{}", RC_INPUT, "index.json: weight_map: missing"},
		{"{\"weight_map\":{\"a\":1}}", RC_INPUT, "weight_map: tensor 'a': want the name"},
		{"{\"weight_map\":{\"a\":\"../x\"}}", RC_INPUT, "a file beside the index"},
		{"{\"weight_map\":{\"a\":\"x\"}}", RC_IO, "/x: No such file"},
		{"{\"weight_map\":{\"lm_head.weight\":\"model-00001-of-00002.safetensors\",\"b\":"
		 "\"model-00002-of-00002.safetensors\"}}",
		 RC_INPUT, "tensor 'lm_head.weight' is not in model-00001-of-00002.safetensors"},
	};
	struct folder d;

	(void)state;
	make(&d, &(struct tiny_params){.shards = 2, .untied = true});
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		write_text(&d, "model.safetensors.index.json", rows[i].index);
		refuse(&d, rows[i].rc, rows[i].want);
	}
	unmake(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contents),      cmocka_unit_test(test_broken),
		cmocka_unit_test(test_header_length), cmocka_unit_test(test_beside),
		cmocka_unit_test(test_index),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/*
 * GGUF: what a file says is found again, whatever the width of its numbers; and each way in which
 * it can be broken is refused with the place.
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
#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "model/model_reader.h"

/* ---- a file, and where its parts lie ---- */

enum mark {
	MAGIC,
	VERSION,
	N_TENSORS,
	N_KEYS,
	KEY,
	TYPE,
	STRING,
	ALIGNMENT,
	FLAG,
	LIST_TYPE,
	LIST_N,
	LIST_ITEM,
	NEST_N,
	NAME,
	N_DIMS,
	DIM,
	DIM_2,
	DTYPE,
	OFFSET_2,
	NAME_2,
	DATA,
	MARKS
};

struct file {
	struct buf b;
	size_t at[MARKS];
};

static void mark(struct file *f, enum mark m)
{
	f->at[m] = buf_size(&f->b);
}

static void put(struct file *f, uint64_t v, size_t width)
{
	assert_true(buf_append(&f->b, &v, width));
}

static void put_str(struct file *f, const char *s)
{
	put(f, strlen(s), 8);
	assert_true(buf_puts(&f->b, s));
}

static void put_key(struct file *f, const char *name, uint32_t type)
{
	put_str(f, name);
	put(f, type, 4);
}

static void put_keys(struct file *f)
{
	mark(f, KEY);
	put_str(f, "some.text");
	mark(f, TYPE);
	put(f, 8, 4);
	mark(f, STRING);
	put_str(f, "abc");
	put_key(f, "general.alignment", 4);
	mark(f, ALIGNMENT);
	put(f, 32, 4);
	put_key(f, "some.flag", 7);
	mark(f, FLAG);
	put(f, 1, 1);
	put_key(f, "some.list", 9);
	mark(f, LIST_TYPE);
	put(f, 8, 4);
	mark(f, LIST_N);
	put(f, 3, 8);
	mark(f, LIST_ITEM);
	put_str(f, "x");
	put_str(f, "");
	put_str(f, "yz");
	put_key(f, "some.nest", 9);
	put(f, 9, 4);
	mark(f, NEST_N);
	put(f, 2, 8);
	for (int i = 0; i < 2; i++) {
		put(f, 5, 4);
		put(f, 1, 8);
		put(f, 7, 4);
	}
}

static void put_tensors(struct file *f)
{
	mark(f, NAME);
	put_str(f, "one");
	mark(f, N_DIMS);
	put(f, 1, 4);
	mark(f, DIM);
	put(f, 4, 8);
	put(f, 0, 4);
	put(f, 0, 8);
	mark(f, NAME_2);
	put_str(f, "two");
	put(f, 2, 4);
	mark(f, DIM_2);
	put(f, 32, 8);
	put(f, 2, 8);
	mark(f, DTYPE);
	put(f, 8, 4);
	mark(f, OFFSET_2);
	put(f, 32, 8);
	while (buf_size(&f->b) % 32 != 0)
		put(f, 0, 1);
	mark(f, DATA);
	for (int i = 0; i < 32 + 2 * 34; i++)
		put(f, (uint64_t)i, 1);
}

static void make(struct file *f, uint32_t version)
{
	buf_init(&f->b, 1 << 20);
	mark(f, MAGIC);
	assert_true(buf_puts(&f->b, "GGUF"));
	mark(f, VERSION);
	put(f, version, 4);
	mark(f, N_TENSORS);
	put(f, 2, 8);
	mark(f, N_KEYS);
	put(f, 5, 8);
	put_keys(f);
	put_tensors(f);
}

/* The bytes as a file; exactly as many as there are, so that a sanitizer sees one too many. */
static enum rc parse(struct model_file *f, const uint8_t *bytes, size_t n, uint8_t **exact,
		     struct err *e)
{
	enum rc rc;

	*exact = xmalloc(n + 1);
	*exact = realloc(*exact, n ? n : 1);
	memcpy(*exact, bytes, n);
	model_file_init(f, "t.gguf");
	rc = gguf_parse(f, model_map_bytes(f, *exact, n, "t.gguf"), e);
	return rc == RC_OK ? model_file_sort(f, e) : rc;
}

/* ---- what a file says ---- */

static void test_contents(void **state)
{
	(void)state;
	for (uint32_t version = 2; version <= 3; version++) {
		struct meta_string text = {NULL, 0};
		const struct tensor *t;
		const struct meta *m;
		struct model_file f;
		bool flag = false;
		struct file file;
		uint8_t *bytes;
		struct err e;

		make(&file, version);
		if (parse(&f, (const uint8_t *)buf_head(&file.b), buf_size(&file.b), &bytes, &e) !=
		    RC_OK)
			fail_msg("%s", e.msg);
		assert_int_equal(f.n_meta, 5);
		assert_int_equal(f.n_tensors, 2);
		assert_int_equal(meta_get_string(&f, "some.text", &text, &e), RC_OK);
		assert_int_equal(text.len, 3);
		assert_memory_equal(text.text, "abc", 3);
		assert_int_equal(meta_get_bool(&f, "some.flag", &flag, &e), RC_OK);
		assert_true(flag);
		m = model_file_meta(&f, "some.list");
		assert_int_equal(m->a.n, 3);
		assert_int_equal(m->a.string[2].len, 2);
		assert_memory_equal(m->a.string[2].text, "yz", 2);
		assert_int_equal(model_file_meta(&f, "some.nest")->a.type, META_ARRAY);
		t = model_file_tensor(&f, "two");
		assert_int_equal(t->dtype, DTYPE_Q8_0);
		assert_int_equal(t->n_dims, 2);
		assert_int_equal(t->dim[0] * 1000 + t->dim[1], 32002);
		assert_int_equal(t->bytes, 68);
		assert_int_equal(*(const uint8_t *)t->data, 32);
		assert_null(model_file_tensor(&f, "three"));
		assert_null(model_file_meta(&f, "some"));
		model_file_drop(&f, t); /* of memory that is no map: nothing happens */
		assert_int_equal(*(const uint8_t *)t->data, 32);
		model_file_release(&f);
		free(bytes);
		buf_release(&file.b);
	}
}

/* A file of one key, of every type of number, alone and in an array. */
static void test_numbers(void **state)
{
	static const struct {
		uint32_t type;
		size_t width;
		uint64_t bits;
		int64_t want;
		double want_real;
	} rows[] = {
		{0, 1, 200, 200, 200},
		{1, 1, 200, -56, -56},
		{2, 2, 65535, 65535, 65535},
		{3, 2, 65535, -1, -1},
		{4, 4, 4000000000, 4000000000, 4e9},
		{5, 4, 4000000000, -294967296, -294967296},
		{6, 4, 0x40200000, 2, 2.5},
		{10, 8, 1ull << 62, 1ll << 62, 0x1p62},
		{11, 8, ~0ull, -1, -1},
		{12, 8, 0xc004000000000000, -2, -2.5},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows) * 2; i++) {
		bool in_array = i >= ARRAY_LEN(rows), is_real;
		size_t k = i % ARRAY_LEN(rows);
		int64_t v = 0;
		double d = 0;
		struct model_file f;
		struct file file;
		uint8_t *bytes;
		struct err e;
		enum rc rc;

		is_real = rows[k].type == 6 || rows[k].type == 12;
		buf_init(&file.b, 1 << 20);
		assert_true(buf_puts(&file.b, "GGUF"));
		put(&file, 3, 4);
		put(&file, 0, 8);
		put(&file, 1, 8);
		put_key(&file, "n", in_array ? 9 : rows[k].type);
		if (in_array) {
			put(&file, rows[k].type, 4);
			put(&file, 2, 8);
			put(&file, 0, rows[k].width);
		}
		put(&file, rows[k].bits, rows[k].width);
		if (parse(&f, (const uint8_t *)buf_head(&file.b), buf_size(&file.b), &bytes, &e) !=
		    RC_OK)
			fail_msg("%s", e.msg);
		if (in_array) {
			assert_int_equal(meta_item_int(f.meta, 1), rows[k].want);
			assert_true(meta_item_real(f.meta, 1) == rows[k].want_real);
			assert_int_equal(meta_item_int(f.meta, 0), 0);
		} else {
			rc = meta_get_int(&f, "n", INT64_MIN, INT64_MAX, &v, &e);
			assert_int_equal(rc, is_real ? RC_INPUT : RC_OK);
			assert_true(is_real || v == rows[k].want);
			assert_int_equal(meta_get_real(&f, "n", &d, &e), RC_OK);
			assert_true(d == rows[k].want_real);
		}
		model_file_release(&f);
		free(bytes);
		buf_release(&file.b);
	}
}

static void test_typed_reads(void **state)
{
	struct meta_string text;
	struct model_file f;
	struct file file;
	int64_t v = 42;
	uint8_t *bytes;
	double d = 42;
	struct err e;
	bool flag;

	(void)state;
	make(&file, 3);
	assert_int_equal(
		parse(&f, (const uint8_t *)buf_head(&file.b), buf_size(&file.b), &bytes, &e),
		RC_OK);
	assert_int_equal(meta_get_int(&f, "absent", 0, 1, &v, &e), RC_OK);
	assert_int_equal(meta_get_real(&f, "absent", &d, &e), RC_OK);
	assert_true(v == 42 && d == 42);
	assert_int_equal(meta_get_int(&f, "some.text", 0, 1, &v, &e), RC_INPUT);
	assert_string_equal(e.msg, "t.gguf: key 'some.text': got a string, want an integer");
	assert_int_equal(meta_get_int(&f, "general.alignment", 0, 31, &v, &e), RC_INPUT);
	assert_string_equal(e.msg, "t.gguf: key 'general.alignment': got 32, want 0 to 31");
	assert_int_equal(meta_get_real(&f, "some.flag", &d, &e), RC_INPUT);
	assert_int_equal(meta_get_bool(&f, "some.list", &flag, &e), RC_INPUT);
	assert_int_equal(meta_get_string(&f, "some.flag", &text, &e), RC_INPUT);
	assert_true(v == 42 && d == 42);
	model_file_release(&f);
	free(bytes);
	buf_release(&file.b);
}

/* ---- what is refused ---- */

/* `bits` in `width` bytes at `delta` behind the mark. */
static void test_broken(void **state)
{
	static const struct {
		enum mark at;
		int delta;
		uint64_t bits;
		size_t width;
		const char *want;
	} rows[] = {
		{MAGIC, 0, 'g', 1, "offset 0: no GGUF file"},
		{VERSION, 0, 1, 4, "offset 4: GGUF version 1, want 2 or 3"},
		{VERSION, 0, 0x03000000, 4, "the file is big endian"},
		{N_TENSORS, 0, 1000000, 8, "offset 8: 1000000 tensors in "},
		{N_TENSORS, 0, ~0ull, 8, "tensors in "},
		{N_TENSORS, 0, 3, 8, "the file ends in a name ("},
		{N_KEYS, 0, 1ull << 60, 8, "offset 16: 1152921504606846976 keys in "},
		{N_KEYS, 0, 6, 8, "a tensor's name of 0 bytes, want 1 to 64"},
		{KEY, 0, 0, 8, "a key's name of 0 bytes, want 1 to 65535"},
		{KEY, 0, ~0ull, 8, "the file ends in a name (18446744073709551615 bytes wanted"},
		{KEY, 9, 0, 1, "a key's name with a zero byte"},
		{TYPE, 0, 13, 4, "key 'some.text': value type 13, want 0 to 12"},
		{STRING, 0, 1ull << 40, 8, "key 'some.text': the file ends in a string"},
		{ALIGNMENT, 0, 24, 4, "key 'general.alignment': got 24, want a power of two"},
		{ALIGNMENT, 0, 0, 4, "key 'general.alignment': got 0, want 1 to"},
		{ALIGNMENT, 0, 64, 4, "tensor 'two': its place, 32, is no multiple of"},
		{FLAG, 0, 2, 1, "key 'some.flag': a bool of value 2"},
		{LIST_TYPE, 0, 99, 4, "key 'some.list': value type 99"},
		{LIST_N, 0, 1ull << 61, 8,
		 "key 'some.list': an array of 2305843009213693952 items"},
		{LIST_ITEM, 0, 1ull << 33, 8, "key 'some.list': the file ends in a string of an"},
		{NEST_N, 0, 1ull << 60, 8, "key 'some.nest': an array of "},
		{NAME, 0, 65, 8, "a tensor's name of 65 bytes, want 1 to 64"},
		{N_DIMS, 0, 0, 4, "tensor 'one': 0 dimensions, want 1 to 4"},
		{N_DIMS, 0, 5, 4, "tensor 'one': 5 dimensions"},
		{DIM, 0, 0, 8, "tensor 'one': dimension 0 is 0"},
		{DIM, 0, 1ull << 63, 8, "tensor 'one': dimension 0 is"},
		{DIM, 0, 1ull << 62, 8, "tensor 'one': 4611686018427387904 elements are too many"},
		{DIM, 0, 100, 8, "tensor 'one': 400 bytes at 0 of the data, which has 100"},
		{DIM, 0, 9, 8, "tensor 'two' begins within tensor 'one'"},
		{DIM_2, 8, 1ull << 60, 8, "tensor 'two': dimension 1 is 1152921504606846976"},
		{DIM_2, 0, 33, 8, "tensor 'two': rows of 33 are no multiple of Q8_0's 32"},
		{DTYPE, 0, 10, 4, "tensor 'two': type 10 (Q2_K) is not supported"},
		{DTYPE, 0, 4, 4, "tensor 'two': type 4 (unknown) is not supported"},
		{DTYPE, 0, ~0u, 4, "tensor 'two': type 4294967295 (unknown)"},
		{OFFSET_2, 0, 33, 8, "tensor 'two': its place, 33, is no multiple of"},
		{OFFSET_2, 0, 64, 8, "tensor 'two': 68 bytes at 64 of the data, which has 100"},
		{OFFSET_2, 0, 0, 8, "begins within tensor"},
		{OFFSET_2, 0, ~31ull, 8, "tensor 'two': 68 bytes at"},
		{NAME_2, 8, 'o' | 'n' << 8 | 'e' << 16, 3, "tensor 'one' is there twice"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct model_file f;
		struct file file;
		uint8_t *bytes;
		struct err e;
		enum rc rc;

		make(&file, 3);
		memcpy(file.b.data + file.at[rows[i].at] + rows[i].delta, &rows[i].bits,
		       rows[i].width);
		rc = parse(&f, (const uint8_t *)buf_head(&file.b), buf_size(&file.b), &bytes, &e);
		if (rc != RC_INPUT || !strstr(e.msg, rows[i].want) ||
		    strncmp(e.msg, "t.gguf: ", 8) != 0)
			fail_msg("row %zu: \"%s\" is not in \"%s\"", i, rows[i].want,
				 rc ? e.msg : "no error");
		model_file_release(&f);
		free(bytes);
		buf_release(&file.b);
	}
}

/* Cut anywhere, even behind the last tensor's description, it is refused. */
static void test_truncated(void **state)
{
	struct file file;

	(void)state;
	make(&file, 3);
	for (size_t n = 0; n < buf_size(&file.b); n++) {
		struct model_file f;
		uint8_t *bytes;
		struct err e;

		if (parse(&f, (const uint8_t *)buf_head(&file.b), n, &bytes, &e) != RC_INPUT)
			fail_msg("%zu of %zu bytes are taken for a file", n, buf_size(&file.b));
		assert_non_null(strstr(e.msg, "offset "));
		model_file_release(&f);
		free(bytes);
	}
	buf_release(&file.b);
}

/* ---- files on the disk ---- */

static char *in_folder(const char *folder, const char *name)
{
	return xasprintf("%s/%s", folder, name);
}

static void refuse(const char *path, enum rc want_rc, const char *want)
{
	struct model_file *f;
	struct err e;

	assert_int_equal(model_file_open(&f, path, &e), want_rc);
	if (!strstr(e.msg, want))
		fail_msg("\"%s\" is not in \"%s\"", want, e.msg);
}

static void write_bytes(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void test_paths(void **state)
{
	char folder[] = "/tmp/test_gguf-XXXXXX";
	char *path;

	(void)state;
	assert_non_null(mkdtemp(folder));
	path = in_folder(folder, "x.gguf");
	refuse(path, RC_IO, "No such file");
	write_bytes(path, "");
	refuse(path, RC_INPUT, "the file is empty");
	write_bytes(path, "GGML");
	refuse(path, RC_INPUT, "offset 0: no GGUF file");
	refuse(folder, RC_INPUT, "a folder without model.safetensors");
	unlink(path);
	free(path);
	rmdir(folder);
}

/* Of three shards: one that is not the first, one that is missing, one that is another's. */
static void test_shards(void **state)
{
	const struct tiny_params p = {.shards = 3};
	char folder[] = "/tmp/test_gguf-XXXXXX";
	char *path[3], *single, *first;

	(void)state;
	assert_non_null(mkdtemp(folder));
	first = tiny_model_write(&p, MODEL_GGUF, folder);
	path[0] = in_folder(folder, "model-00001-of-00003.gguf");
	path[1] = in_folder(folder, "model-00002-of-00003.gguf");
	path[2] = in_folder(folder, "model-00003-of-00003.gguf");
	single = in_folder(folder, "model.gguf");
	assert_string_equal(first, path[0]);
	refuse(path[1], RC_INPUT, "shard 2 of 3; want the first one");
	assert_int_equal(rename(path[2], single), 0);
	refuse(path[0], RC_IO, "model-00003-of-00003.gguf: No such file");
	refuse(single, RC_INPUT, "one of 3 shards, so its name should end in -00001-of-00003.gguf");
	assert_int_equal(link(path[1], path[2]), 0);
	refuse(path[0], RC_INPUT, "'split.no' and 'split.count': got 1 of 3, want 2 of 3");
	unlink(single);
	for (int i = 0; i < 3; i++) {
		unlink(path[i]);
		free(path[i]);
	}
	rmdir(folder);
	free(first);
	free(single);
}

/* Pages that were given back are read again from the file. */
static void test_drop(void **state)
{
	const struct tiny_params p = {.n_vocab = 4096};
	struct tiny_model t;
	float before[64], after[64];

	(void)state;
	tiny_model_open(&t, &p, MODEL_GGUF);
	matrix_read_row(&t.model->embed, 4000, before);
	for (int32_t i = 0; i < t.file->n_tensors; i++)
		model_file_drop(t.file, &t.file->tensor[i]);
	matrix_read_row(&t.model->embed, 4000, after);
	assert_memory_equal(before, after, sizeof(before));
	tiny_model_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_contents),    cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_typed_reads), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_truncated),   cmocka_unit_test(test_paths),
		cmocka_unit_test(test_shards),	    cmocka_unit_test(test_drop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

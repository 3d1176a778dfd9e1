/*
 * Owns the files of small models: the parts (tiny_parts.h) arranged as each format has them, the
 * vocabulary, the metadata. Written from the formats' texts, sharing nothing with the readers but
 * the number formats.
 */
#include "tiny_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "tiny_parts.h"

#define FILE_MAX    ((size_t)256 << 20)
#define ALIGNMENT   32
#define N_SPECIAL   3
#define MAX_LETTERS 10

/* ---- the vocabulary ---- */

static const char *const specials[N_SPECIAL] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
static const char letters[MAX_LETTERS + 1] = "etaoinsrhl";
static const char chat_template[] =
	"{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + "
	"message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
	"{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* How byte-level BPE spells a byte: itself if it is printable in Latin-1, else one of the letters
 * from U+0100 on, in order. */
static void spell_byte(int byte, char out[3])
{
	int cp = byte, n = 0;

	for (int b = 0; b < 256; b++) {
		bool printable = (b > 32 && b < 127) || (b > 160 && b != 173);

		if (b == byte && !printable)
			cp = 256 + n;
		n += !printable;
	}
	if (cp < 128)
		snprintf(out, 3, "%c", cp);
	else
		snprintf(out, 3, "%c%c", 0xc0 | cp >> 6, 0x80 | (cp & 0x3f));
}

static int n_merges(const struct tiny_params *p)
{
	int room = p->n_vocab - N_SPECIAL - 256, all = MAX_LETTERS * MAX_LETTERS;

	return room < all ? room : all;
}

static const char *piece(const struct tiny_params *p, int id, char out[32])
{
	int merge = id - N_SPECIAL - 256;

	if (id < N_SPECIAL)
		snprintf(out, 32, "%s", specials[id]);
	else if (merge < 0)
		spell_byte(id - N_SPECIAL, out);
	else if (merge < n_merges(p))
		snprintf(out, 32, "%c%c", letters[merge / MAX_LETTERS],
			 letters[merge % MAX_LETTERS]);
	else
		snprintf(out, 32, "<|unused_%d|>", id);
	return out;
}

/* ---- GGUF ---- */

static void put(struct buf *b, const void *p, size_t n)
{
	CHECK(buf_append(b, p, n));
}

static void put_u32(struct buf *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

static void put_u64(struct buf *b, uint64_t v)
{
	put(b, &v, sizeof(v));
}

static void put_str(struct buf *b, const char *s)
{
	put_u64(b, strlen(s));
	put(b, s, strlen(s));
}

/* Keys are counted as they are written. */
struct keys {
	struct buf b;
	uint64_t n;
	const char *arch;
};

enum { U16 = 2, U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9 };

/* One that begins with a dot belongs to the architecture. */
static void put_key(struct keys *k, const char *name, uint32_t type)
{
	char key[128];

	snprintf(key, sizeof(key), "%s%s", *name == '.' ? k->arch : "", name);
	put_str(&k->b, key);
	put_u32(&k->b, type);
	k->n++;
}

static void key_u32(struct keys *k, const char *name, int64_t v)
{
	put_key(k, name, U32);
	put_u32(&k->b, (uint32_t)v);
}

static void key_u16(struct keys *k, const char *name, int v)
{
	uint16_t u = (uint16_t)v;

	put_key(k, name, U16);
	put(&k->b, &u, sizeof(u));
}

static void key_f32(struct keys *k, const char *name, float v)
{
	put_key(k, name, F32);
	put(&k->b, &v, sizeof(v));
}

static void key_bool(struct keys *k, const char *name, bool v)
{
	put_key(k, name, BOOL);
	CHECK(buf_putc(&k->b, v));
}

static void key_str(struct keys *k, const char *name, const char *v)
{
	put_key(k, name, STRING);
	put_str(&k->b, v);
}

static void key_array(struct keys *k, const char *name, uint32_t type, int64_t n)
{
	put_key(k, name, ARRAY);
	put_u32(&k->b, type);
	put_u64(&k->b, (uint64_t)n);
}

static void put_vocab_keys(struct keys *k, const struct tiny_params *p)
{
	char text[32];

	key_str(k, "tokenizer.ggml.model", "gpt2");
	key_str(k, "tokenizer.ggml.pre", "smollm");
	key_array(k, "tokenizer.ggml.tokens", STRING, p->n_vocab);
	for (int i = 0; i < p->n_vocab; i++)
		put_str(&k->b, piece(p, i, text));
	key_array(k, "tokenizer.ggml.token_type", I32, p->n_vocab);
	for (int i = 0; i < p->n_vocab; i++)
		put_u32(&k->b, i < N_SPECIAL ? 3 : i < N_SPECIAL + 256 + n_merges(p) ? 1 : 5);
	key_array(k, "tokenizer.ggml.merges", STRING, n_merges(p));
	for (int i = 0; i < n_merges(p); i++) {
		snprintf(text, sizeof(text), "%c %c", letters[i / MAX_LETTERS],
			 letters[i % MAX_LETTERS]);
		put_str(&k->b, text);
	}
	key_u32(k, "tokenizer.ggml.bos_token_id", 0);
	key_u32(k, "tokenizer.ggml.eos_token_id", 2);
	key_bool(k, "tokenizer.ggml.add_bos_token", false);
	key_bool(k, "tokenizer.ggml.add_space_prefix", false);
	key_str(k, "tokenizer.chat_template", chat_template);
}

static void put_model_keys(struct keys *k, const struct maker *m)
{
	const struct tiny_params *p = &m->p;
	bool rms = any_of(m, "llama", "qwen2", "qwen3") || is(m, "gemma3");
	bool rope = rms || is(m, "falcon");

	key_str(k, "general.architecture", p->arch);
	key_str(k, "general.name", "tiny");
	key_u32(k, "general.alignment", ALIGNMENT);
	key_u32(k, ".block_count", p->n_layers);
	key_u32(k, ".context_length", p->max_len);
	key_u32(k, ".embedding_length", p->d_model);
	key_u32(k, ".feed_forward_length", p->d_ff);
	key_u32(k, ".attention.head_count", p->n_heads);
	key_u32(k, ".attention.head_count_kv", p->n_kv_heads);
	key_u32(k, ".attention.key_length", p->head_dim);
	key_f32(k, rms ? ".attention.layer_norm_rms_epsilon" : ".attention.layer_norm_epsilon",
		1e-5f);
	if (rope)
		key_f32(k, ".rope.freq_base", is(m, "gemma3") ? 1e6f : 1e4f);
	if (is(m, "gemma3"))
		key_u32(k, ".attention.sliding_window", p->window);
	if (is(m, "mpt") && !p->learned)
		key_f32(k, ".attention.max_alibi_bias", 8);
	if (p->clamp > 0)
		key_f32(k, ".attention.clamp_kqv", p->clamp);
	if (p->rope_scaling && strcmp(p->rope_scaling, "linear") == 0) {
		key_str(k, ".rope.scaling.type", "linear");
		key_f32(k, ".rope.scaling.factor", 4);
	}
	put_vocab_keys(k, p);
}

static void write_file(const char *path, const struct buf *b)
{
	FILE *f = fopen(path, "wb");

	if (!f || fwrite(buf_head(b), 1, buf_size(b), f) != buf_size(b) || fclose(f) != 0)
		die("%s: cannot be written", path);
}

static int64_t elements(const struct part *p)
{
	return (p->rows ? p->rows : 1) * p->n_in;
}

static void put_data(struct buf *b, const struct part *p)
{
	size_t bytes = dtype_bytes(p->dtype, elements(p));
	char *at = buf_reserve(b, bytes);

	CHECK(at);
	dtype_from_float(p->dtype, p->x, elements(p), at);
	buf_commit(b, bytes);
}

/* The tensors from `from` to `to`, and the keys: all of them in the first file. */
static void write_gguf(const struct maker *m, const char *path, int from, int to, int shard)
{
	struct keys k = {.arch = m->p.arch};
	uint64_t offset = 0;
	struct buf b;

	buf_init(&b, FILE_MAX);
	buf_init(&k.b, FILE_MAX);
	if (shard == 0)
		put_model_keys(&k, m);
	if (m->p.shards > 1) {
		key_u16(&k, "split.no", shard);
		key_u16(&k, "split.count", m->p.shards);
		put_key(&k, "split.tensors.count", I32);
		put_u32(&k.b, (uint32_t)m->n);
	}
	put(&b, "GGUF", 4);
	put_u32(&b, 3);
	put_u64(&b, (uint64_t)(to - from));
	put_u64(&b, k.n);
	put(&b, buf_head(&k.b), buf_size(&k.b));
	buf_release(&k.b);
	for (int i = from; i < to; i++) {
		const struct part *p = &m->part[i];

		put_str(&b, p->name);
		put_u32(&b, p->rows ? 2 : 1);
		put_u64(&b, (uint64_t)p->n_in);
		if (p->rows)
			put_u64(&b, (uint64_t)p->rows);
		put_u32(&b, (uint32_t)dtype_info(p->dtype)->gguf_id);
		put_u64(&b, offset);
		offset += dtype_bytes(p->dtype, elements(p)) + ALIGNMENT - 1;
		offset -= offset % ALIGNMENT;
	}
	for (int i = from; i < to; i++) {
		while (buf_size(&b) % ALIGNMENT != 0)
			CHECK(buf_putc(&b, 0));
		put_data(&b, &m->part[i]);
	}
	write_file(path, &b);
	buf_release(&b);
}

/* ---- safetensors ---- */

static void write_safetensors(const struct maker *m, const char *path, int from, int to)
{
	struct buf header, b;
	size_t offset = 0;
	uint64_t n;

	buf_init(&header, FILE_MAX);
	buf_init(&b, FILE_MAX);
	CHECK(buf_puts(&header, "{\"__metadata__\":{\"format\":\"pt\"}"));
	for (int i = from; i < to; i++) {
		const struct part *p = &m->part[i];
		size_t end = offset + dtype_bytes(p->dtype, elements(p));
		char rows[32] = "";

		if (p->rows)
			snprintf(rows, sizeof(rows), "%lld,", (long long)p->rows);
		CHECK(buf_printf(&header,
				 ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%s%lld],"
				 "\"data_offsets\":[%zu,%zu]}",
				 p->name, dtype_info(p->dtype)->name, rows, (long long)p->n_in,
				 offset, end));
		offset = end;
	}
	CHECK(buf_putc(&header, '}'));
	n = buf_size(&header);
	put(&b, &n, sizeof(n));
	put(&b, buf_head(&header), n);
	for (int i = from; i < to; i++)
		put_data(&b, &m->part[i]);
	write_file(path, &b);
	buf_release(&header);
	buf_release(&b);
}

static void write_text(const char *folder, const char *name, struct buf *b)
{
	char *path = xasprintf("%s/%s", folder, name);

	write_file(path, b);
	buf_clear(b);
	free(path);
}

static void put_mpt_config(struct buf *b, const struct tiny_params *p)
{
	CHECK(buf_printf(b,
			 ",\"n_layers\":%d,\"d_model\":%d,\"n_heads\":%d,\"expansion_ratio\":%d,"
			 "\"max_seq_len\":%d,\"no_bias\":true,\"attn_config\":{\"alibi\":%s,"
			 "\"alibi_bias_max\":8,\"qk_ln\":%s,\"clip_qkv\":",
			 p->n_layers, p->d_model, p->n_heads, p->d_ff / p->d_model, p->max_len,
			 p->learned ? "false" : "true", p->qk_norm ? "true" : "false"));
	if (p->clamp > 0)
		CHECK(buf_printf(b, "%.9g}", (double)p->clamp));
	else
		CHECK(buf_puts(b, "null}"));
}

/* Each architecture's own words for the same numbers. */
static void put_config(struct buf *b, const struct maker *m)
{
	const struct tiny_params *p = &m->p;

	CHECK(buf_printf(b, "{\"model_type\":\"%s%s\",\"vocab_size\":%d,\"tie_word_embeddings\":%s",
			 p->arch, is(m, "gemma3") ? "_text" : "", p->n_vocab,
			 p->untied ? "false" : "true"));
	if (is(m, "gpt2"))
		CHECK(buf_printf(b,
				 ",\"n_layer\":%d,\"n_embd\":%d,\"n_head\":%d,\"n_inner\":%d,"
				 "\"n_positions\":%d,\"layer_norm_epsilon\":1e-05,"
				 "\"activation_function\":\"gelu_new\"",
				 p->n_layers, p->d_model, p->n_heads, p->d_ff, p->max_len));
	else if (is(m, "mpt"))
		put_mpt_config(b, p);
	else
		CHECK(buf_printf(
			b,
			",\"num_hidden_layers\":%d,\"hidden_size\":%d,"
			"\"num_attention_heads\":%d,\"max_position_embeddings\":%d,\"%s\":%d",
			p->n_layers, p->d_model, p->n_heads, p->max_len,
			is(m, "opt")	  ? "ffn_dim"
			: is(m, "falcon") ? "ffn_hidden_size"
					  : "intermediate_size",
			p->d_ff));
	if (is(m, "opt"))
		CHECK(buf_puts(b,
			       ",\"activation_function\":\"relu\",\"do_layer_norm_before\":true"));
	if (is(m, "falcon"))
		CHECK(buf_printf(b,
				 ",\"layer_norm_epsilon\":1e-05,\"bias\":false,\"alibi\":false,"
				 "\"parallel_attn\":true,\"multi_query\":%s,"
				 "\"new_decoder_architecture\":%s,\"num_kv_heads\":%d",
				 p->n_kv_heads == 1 ? "true" : "false",
				 p->two_norms ? "true" : "false", p->n_kv_heads));
	if (any_of(m, "llama", "qwen2", "qwen3") || is(m, "gemma3"))
		CHECK(buf_printf(
			b,
			",\"num_key_value_heads\":%d,\"head_dim\":%d,\"rms_norm_eps\":1e-05,"
			"\"rope_theta\":%s,\"%s\":\"%s\"",
			p->n_kv_heads, p->head_dim, is(m, "gemma3") ? "1000000" : "10000",
			is(m, "gemma3") ? "hidden_activation" : "hidden_act",
			is(m, "gemma3") ? "gelu_pytorch_tanh" : "silu"));
	if (is(m, "gemma3"))
		CHECK(buf_printf(b,
				 ",\"sliding_window\":%d,\"query_pre_attn_scalar\":%d,"
				 "\"rope_local_base_freq\":10000.0",
				 p->window, p->head_dim));
	if (p->rope_scaling)
		CHECK(buf_printf(b, ",\"rope_scaling\":{\"rope_type\":\"%s\",%s}", p->rope_scaling,
				 strcmp(p->rope_scaling, "linear") == 0
					 ? "\"factor\":4.0"
					 : "\"factor\":8.0,\"low_freq_factor\":1.0,"
					   "\"high_freq_factor\":4.0,"
					   "\"original_max_position_embeddings\":64"));
	CHECK(buf_puts(b, "}\n"));
}

static void put_tokenizer(struct buf *b, const struct tiny_params *p)
{
	char text[32];

	CHECK(buf_puts(b, "{\"version\":\"1.0\",\"added_tokens\":["));
	for (int i = 0; i < N_SPECIAL; i++)
		CHECK(buf_printf(
			b,
			"%s{\"id\":%d,\"content\":\"%s\",\"single_word\":false,\"lstrip\":false,"
			"\"rstrip\":false,\"normalized\":false,\"special\":true}",
			i ? "," : "", i, specials[i]));
	CHECK(buf_puts(b,
		       "],\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"Sequence\","
		       "\"pretokenizers\":[{\"type\":\"Digits\",\"individual_digits\":true},"
		       "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,"
		       "\"use_regex\":true}]},\"post_processor\":null,"
		       "\"decoder\":{\"type\":\"ByteLevel\",\"add_prefix_space\":true,"
		       "\"trim_offsets\":true,\"use_regex\":true},"
		       "\"model\":{\"type\":\"BPE\",\"vocab\":{"));
	for (int i = 0; i < p->n_vocab; i++) {
		CHECK(buf_puts(b, i ? "," : ""));
		piece(p, i, text);
		CHECK(json_quote(b, text) && buf_printf(b, ":%d", i));
	}
	CHECK(buf_puts(b, "},\"merges\":["));
	for (int i = 0; i < n_merges(p); i++)
		CHECK(buf_printf(b, "%s\"%c %c\"", i ? "," : "", letters[i / MAX_LETTERS],
				 letters[i % MAX_LETTERS]));
	CHECK(buf_puts(b, "]}}\n"));
}

static void write_json(const struct maker *m, const char *folder)
{
	struct buf b;

	buf_init(&b, FILE_MAX);
	put_config(&b, m);
	write_text(folder, "config.json", &b);
	put_tokenizer(&b, &m->p);
	write_text(folder, "tokenizer.json", &b);
	CHECK(buf_puts(&b, "{\"add_bos_token\":false,\"bos_token\":\"<|endoftext|>\","
			   "\"eos_token\":\"<|im_end|>\",\"chat_template\":"));
	CHECK(json_quote(&b, chat_template) && buf_puts(&b, "}\n"));
	write_text(folder, "tokenizer_config.json", &b);
	CHECK(buf_puts(&b, "{\"bos_token_id\":0,\"eos_token_id\":2}\n"));
	write_text(folder, "generation_config.json", &b);
	buf_release(&b);
}

/* ---- the whole ---- */

static void default_to(int32_t *v, int32_t value)
{
	if (*v == 0)
		*v = value;
}

static void fill_in(struct tiny_params *p)
{
	if (!p->arch)
		p->arch = "llama";
	default_to(&p->n_layers, 2);
	default_to(&p->d_model, 64);
	default_to(&p->n_heads, 4);
	default_to(&p->n_kv_heads, strcmp(p->arch, "falcon") == 0 ? 1 : p->n_heads);
	default_to(&p->head_dim, p->d_model / p->n_heads);
	default_to(&p->d_ff, 128);
	default_to(&p->n_vocab, 320);
	default_to(&p->max_len, 512);
	default_to(&p->window, 8);
	default_to(&p->shards, 1);
	CHECK(p->n_vocab >= N_SPECIAL + 256);
}

static void write_index(const struct maker *m, const char *folder)
{
	struct buf b;

	buf_init(&b, FILE_MAX);
	CHECK(buf_puts(&b, "{\"metadata\":{},\"weight_map\":{"));
	for (int i = 0; i < m->n; i++)
		CHECK(buf_printf(&b, "%s\"%s\":\"model-%05d-of-%05d.safetensors\"", i ? "," : "",
				 m->part[i].name, i * m->p.shards / m->n + 1, m->p.shards));
	CHECK(buf_puts(&b, "}}\n"));
	write_text(folder, "model.safetensors.index.json", &b);
	buf_release(&b);
}

/* Shard s has the tensors i with i * shards / n == s. */
static void write_shards(const struct maker *m, const char *folder)
{
	const char *ending = m->gguf ? "gguf" : "safetensors";

	for (int s = 0, from = 0; s < m->p.shards; s++) {
		char *path = m->p.shards == 1 ? xasprintf("%s/model.%s", folder, ending)
					      : xasprintf("%s/model-%05d-of-%05d.%s", folder, s + 1,
							  m->p.shards, ending);
		int to = from;

		while (to < m->n && to * m->p.shards / m->n == s)
			to++;
		if (m->gguf)
			write_gguf(m, path, from, to, s);
		else
			write_safetensors(m, path, from, to);
		from = to;
		free(path);
	}
	if (!m->gguf && m->p.shards > 1)
		write_index(m, folder);
}

char *tiny_model_write(const struct tiny_params *p, enum model_format format, const char *folder)
{
	struct maker *m = xcalloc(1, sizeof(*m));
	char *path;

	m->p = *p;
	m->gguf = format == MODEL_GGUF;
	fill_in(&m->p);
	tiny_parts_add(m);
	write_shards(m, folder);
	if (!m->gguf)
		write_json(m, folder);
	if (m->p.shards == 1)
		path = xasprintf("%s/model.%s", folder, m->gguf ? "gguf" : "safetensors");
	else if (m->gguf)
		path = xasprintf("%s/model-00001-of-%05d.gguf", folder, m->p.shards);
	else
		path = xasprintf("%s/model.safetensors.index.json", folder);
	for (int i = 0; i < m->n; i++) {
		free(m->part[i].name);
		free(m->part[i].x);
	}
	free(m);
	return path;
}

static void remove_folder(const char *folder)
{
	DIR *d = opendir(folder);
	struct dirent *entry;

	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			unlinkat(dirfd(d), entry->d_name, 0);
	if (d)
		closedir(d);
	rmdir(folder);
}

void tiny_model_open(struct tiny_model *t, const struct tiny_params *p, enum model_format format)
{
	const char *tmp = getenv("TMPDIR");
	char *folder = xasprintf("%s/tiny-XXXXXX", tmp ? tmp : "/tmp"), *path;
	struct err e;

	if (!mkdtemp(folder))
		die("%s: cannot be made", folder);
	path = tiny_model_write(p, format, folder);
	if (model_file_open(&t->file, path, &e) != RC_OK ||
	    model_load(&t->model, t->file, &e) != RC_OK)
		die("%s", e.msg);
	remove_folder(folder);
	free(path);
	free(folder);
}

void tiny_model_close(struct tiny_model *t)
{
	model_free(t->model);
	model_file_close(t->file);
}

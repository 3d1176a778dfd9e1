/*
 * What the readers of the two formats share with model_file.c, and what the fuzz targets enter by.
 * Nobody else includes it.
 */
#ifndef MODEL_MODEL_READER_H
#define MODEL_MODEL_READER_H

#include "model_file.h"

/* One file in memory, and the names that its tensors carry. A list hangs on model_file.maps. */
struct model_map {
	struct model_map *next;
	char *path;
	const uint8_t *data;
	size_t size;
	bool borrowed; /* somebody else's memory, not a mapped file */
	char *names;
};

/* Maps a file; it stays until model_file_close(). */
enum rc model_map_file(struct model_map **out, struct model_file *f, const char *path,
		       struct err *e);

/* The same for bytes that are there already and outlive the model_file. */
struct model_map *model_map_bytes(struct model_file *f, const void *data, size_t size,
				  const char *path);

/* Moves the tensors and maps of `from` to the end of f. */
void model_file_join(struct model_file *f, struct model_file *from);

/* By name; the same name twice is RC_INPUT. Last step of a reader. */
enum rc model_file_sort(struct model_file *f, struct err *e);

/* The tensors of one file by where they lie, for the check of their layout. free() it. */
struct tensor *tensors_by_place(const struct tensor *t, int32_t n);

/* n_tensors more, zeroed; returns the first. */
struct tensor *model_file_more_tensors(struct model_file *f, int32_t n);

/* One GGUF file, without its other shards. Keys and tensors end up unsorted in f. */
enum rc gguf_parse(struct model_file *f, struct model_map *map, struct err *e);

/* A GGUF file and its shards. */
enum rc gguf_read(struct model_file *f, struct model_map *first, struct err *e);

/* One safetensors file; the tensors end up unsorted in f. */
enum rc safetensors_parse(struct model_file *f, struct model_map *map, struct err *e);

/* A safetensors file, an index, or a folder with one of them, and the JSON files beside it. */
enum rc safetensors_read(struct model_file *f, const char *path, struct err *e);

void model_file_init(struct model_file *f, const char *path);
void model_file_release(struct model_file *f);

#endif

/*
 * Which dialects there are: the one table, for the scenario (which may know no more of a dialect
 * than its name) and for dialect.c. A new dialect is a line here and a file that defines its row,
 * dialect_ID.
 */
#ifndef LOADGEN_DIALECT_NAMES_H
#define LOADGEN_DIALECT_NAMES_H

#define DIALECTS(X)                                                                                \
	X(openai_chat, "openai-chat")                                                              \
	X(openai_completions, "openai-completions")                                                \
	X(openai_responses, "openai-responses")                                                    \
	X(openai_embeddings, "openai-embeddings")                                                  \
	X(anthropic_messages, "anthropic-messages")                                                \
	X(sglang_generate, "sglang-generate")                                                      \
	X(tgi_generate_stream, "tgi-generate-stream")                                              \
	X(llamacpp_completion, "llamacpp-completion")

#define DIALECT_NAME(id, name) name,

#endif

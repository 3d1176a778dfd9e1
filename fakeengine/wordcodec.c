/*
 * Owns the vocabulary of the simulated engines and the filler text they answer with. Pure; runs on
 * whatever thread calls. Must not know about requests: who asks for which token is executor_sim's
 * business.
 */
#include "wordcodec.h"

#include <stdbool.h>
#include <string.h>

#include "base/check.h"
#include "base/rng.h"

static const char *const words[] = {
	"a",	    "able",	"about",   "above",   "across",	  "act",     "add",
	"after",    "again",	"against", "age",     "ago",	  "air",     "all",
	"almost",   "along",	"already", "also",    "always",	  "am",	     "among",
	"an",	    "and",	"another", "answer",  "any",	  "are",     "area",
	"around",   "as",	"ask",	   "at",      "away",	  "back",    "bad",
	"base",	    "be",	"because", "become",  "been",	  "before",  "began",
	"begin",    "behind",	"being",   "below",   "best",	  "better",  "between",
	"big",	    "black",	"blue",	   "board",   "body",	  "book",    "both",
	"box",	    "bring",	"build",   "built",   "but",	  "buy",     "by",
	"call",	    "came",	"can",	   "car",     "care",	  "case",    "cause",
	"change",   "check",	"child",   "choose",  "city",	  "class",   "clear",
	"close",    "code",	"cold",	   "color",   "come",	  "common",  "could",
	"count",    "country",	"course",  "cut",     "data",	  "day",     "deep",
	"did",	    "differ",	"do",	   "does",    "done",	  "door",    "down",
	"draw",	    "drive",	"dry",	   "each",    "early",	  "earth",   "east",
	"easy",	    "eat",	"end",	   "enough",  "even",	  "ever",    "every",
	"example",  "eye",	"face",	   "fact",    "fall",	  "far",     "farm",
	"fast",	    "feel",	"feet",	   "few",     "field",	  "figure",  "fill",
	"find",	    "fire",	"first",   "five",    "fly",	  "follow",  "food",
	"for",	    "force",	"form",	   "found",   "four",	  "free",    "from",
	"full",	    "game",	"gave",	   "general", "get",	  "give",    "go",
	"gold",	    "good",	"got",	   "great",   "green",	  "ground",  "group",
	"grow",	    "had",	"half",	   "hand",    "happen",	  "hard",    "has",
	"have",	    "he",	"head",	   "hear",    "heat",	  "heavy",   "help",
	"her",	    "here",	"high",	   "him",     "his",	  "hold",    "home",
	"hot",	    "hour",	"house",   "how",     "idea",	  "if",	     "important",
	"in",	    "into",	"is",	   "it",      "its",	  "just",    "keep",
	"kind",	    "knew",	"know",	   "land",    "language", "large",   "last",
	"late",	    "later",	"lead",	   "learn",   "leave",	  "left",    "less",
	"let",	    "letter",	"life",	   "light",   "like",	  "line",    "list",
	"little",   "live",	"long",	   "look",    "low",	  "made",    "main",
	"make",	    "man",	"many",	   "map",     "mark",	  "may",     "me",
	"mean",	    "measure",	"men",	   "might",   "mile",	  "mind",    "minute",
	"money",    "more",	"most",	   "mother",  "mountain", "move",    "much",
	"must",	    "my",	"name",	   "near",    "need",	  "never",   "new",
	"next",	    "night",	"no",	   "north",   "not",	  "note",    "now",
	"number",   "of",	"off",	   "often",   "old",	  "on",	     "once",
	"one",	    "only",	"open",	   "or",      "order",	  "other",   "our",
	"out",	    "over",	"own",	   "page",    "paper",	  "part",    "pass",
	"people",   "perhaps",	"place",   "plan",    "plant",	  "play",    "point",
	"possible", "power",	"press",   "problem", "product",  "pull",    "put",
	"question", "quick",	"rain",	   "ran",     "read",	  "real",    "reason",
	"record",   "red",	"rest",	   "right",   "river",	  "road",    "rock",
	"room",	    "round",	"rule",	   "run",     "said",	  "same",    "saw",
	"say",	    "school",	"sea",	   "second",  "see",	  "seem",    "self",
	"sentence", "set",	"several", "she",     "ship",	  "short",   "should",
	"show",	    "side",	"simple",  "since",   "six",	  "size",    "sleep",
	"slow",	    "small",	"so",	   "some",    "song",	  "soon",    "sound",
	"south",    "space",	"stand",   "star",    "start",	  "state",   "stay",
	"step",	    "still",	"stop",	   "story",   "street",	  "strong",  "study",
	"such",	    "sun",	"sure",	   "system",  "table",	  "take",    "talk",
	"tell",	    "ten",	"test",	   "than",    "that",	  "the",     "their",
	"them",	    "then",	"there",   "these",   "they",	  "thing",   "think",
	"this",	    "those",	"though",  "thought", "three",	  "through", "time",
	"to",	    "together", "told",	   "too",     "took",	  "top",     "toward",
	"town",	    "travel",	"tree",	   "true",    "try",	  "turn",    "two",
	"under",    "unit",	"until",   "up",      "us",	  "use",     "usual",
	"very",	    "voice",	"walk",	   "want",    "war",	  "warm",    "was",
	"watch",    "water",	"way",	   "we",      "week",	  "weight",  "well",
	"went",	    "were",	"west",	   "what",    "wheel",	  "when",    "where",
	"which",    "while",	"white",   "who",     "whole",	  "why",     "will",
	"wind",	    "with",	"without", "wood",    "word",	  "work",    "world",
	"would",    "write",	"year",	   "yes",     "you",	  "young",   "your",
};

enum {
	N_WORDS = ARRAY_LEN(words),
	FIRST_WORD = 256,
	FIRST_CAPITAL = FIRST_WORD + N_WORDS,
	FIRST_HASHED = FIRST_CAPITAL + N_WORDS,
	LETTERS_A_TOKEN = 7,
	DIGITS_A_TOKEN = 3,
	BLANKS_A_TOKEN = 16,
	LONGEST_WORD = 15,
};

enum byte_class { LETTER, DIGIT, BLANK, OTHER };

static enum byte_class class_of(char ch)
{
	unsigned char c = (unsigned char)ch;

	if (c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return LETTER;
	if (c >= '0' && c <= '9')
		return DIGIT;
	return c == ' ' || (c >= '\t' && c <= '\r') ? BLANK : OTHER;
}

/* FNV-1a. */
static uint64_t hash_bytes(const char *s, size_t len)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)s[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* Words by their hash, open addressing: place + 1 in words[], 0 = empty. Made at the first call. */
static uint16_t word_slot[4 * 512];
static uint8_t word_len[N_WORDS];
static bool words_made;

static void make_words(void)
{
	if (words_made)
		return;
	words_made = true;
	for (size_t i = 0; i < N_WORDS; i++) {
		size_t at = hash_bytes(words[i], strlen(words[i])) % ARRAY_LEN(word_slot);

		while (word_slot[at])
			at = (at + 1) % ARRAY_LEN(word_slot);
		word_slot[at] = (uint16_t)(i + 1);
		word_len[i] = (uint8_t)strlen(words[i]);
	}
}

/* Place in words[], or -1. */
static int32_t find_word(const char *lower, size_t len)
{
	make_words();
	for (size_t at = hash_bytes(lower, len) % ARRAY_LEN(word_slot); word_slot[at];
	     at = (at + 1) % ARRAY_LEN(word_slot)) {
		int32_t i = word_slot[at] - 1;

		if (word_len[i] == len && memcmp(words[i], lower, len) == 0)
			return i;
	}
	return -1;
}

/* The id of a run of letters that is a word, or -1. */
static int32_t word_id(const char *run, size_t len)
{
	char lower[LONGEST_WORD + 1];
	int32_t found;
	bool capital;

	if (len > LONGEST_WORD)
		return -1;
	memcpy(lower, run, len);
	capital = lower[0] >= 'A' && lower[0] <= 'Z';
	if (capital)
		lower[0] = (char)(lower[0] - 'A' + 'a');
	found = find_word(lower, len);
	return found < 0 ? -1 : found + (capital ? FIRST_CAPITAL : FIRST_WORD);
}

/* A single byte is its own id; of a longer piece the id is an FNV-1a hash, thrown over the rest of
 * the vocabulary. */
static int32_t piece_id(const char *piece, size_t len)
{
	if (len == 1)
		return (unsigned char)piece[0];
	return FIRST_HASHED +
	       (int32_t)((hash_bytes(piece, len) >> 20) % (WORDCODEC_VOCAB - FIRST_HASHED));
}

/* What a text becomes: the ids, and where asked for where each one's bytes end. */
struct split {
	const char *text;
	struct token_list *id, *ends; /* ends: or NULL */
};

/* The place of `at`, or where the character begins that lies across it. */
static size_t between_characters(const char *text, size_t from, size_t at)
{
	size_t back = at;

	while (back > from && at - back < 4 && ((unsigned char)text[back] & 0xc0) == 0x80)
		back--;
	return at - back < 4 ? back : at;
}

static void push_token(struct split *s, int32_t id, const char *end)
{
	token_list_push(s->id, id);
	if (s->ends)
		token_list_push(s->ends, (int32_t)(end - s->text));
}

static void push_pieces(struct split *s, const char *run, size_t len, size_t piece)
{
	for (size_t at = 0; at < len; at += piece) {
		size_t n = len - at < piece ? len - at : piece;
		size_t end = at + n < len ? between_characters(run, 0, at + n) : len;

		push_token(s, piece_id(run + at, n), run + end);
	}
}

/* The length of a chat template's mark, "<|name|>", at the beginning of text; 0 = there is none. */
static size_t special_length(const char *text, size_t len)
{
	size_t n = 2;

	if (len < 5 || text[0] != '<' || text[1] != '|')
		return 0;
	while (n < len && ((text[n] >= 'a' && text[n] <= 'z') || text[n] == '_'))
		n++;
	return n > 2 && n + 1 < len && text[n] == '|' && text[n + 1] == '>' ? n + 2 : 0;
}

static void split(struct split *s, const char *text, size_t len)
{
	size_t at = 0;

	while (at < len) {
		enum byte_class class = class_of(text[at]);
		const char *run = text + at;
		size_t n = 1, special;
		int32_t word;

		while (class != OTHER && at + n < len && class_of(run[n]) == class)
			n++;
		at += n;
		switch (class) {
		case LETTER:
			word = word_id(run, n);
			if (word >= 0)
				push_token(s, word, run + n);
			else
				push_pieces(s, run, n, LETTERS_A_TOKEN);
			break;
		case DIGIT:
			push_pieces(s, run, n, DIGITS_A_TOKEN);
			break;
		case BLANK:
			n -= at < len && run[n - 1] == ' '; /* belongs to what follows */
			push_pieces(s, run, n, BLANKS_A_TOKEN);
			break;
		case OTHER:
			special = special_length(run, len - (size_t)(run - text));
			at += special ? special - 1 : 0;
			n = special ? special : 1;
			push_token(s, piece_id(run, n), run + n);
			break;
		}
	}
}

static void encode(const struct textcodec *c, const char *text, size_t len, struct token_list *out)
{
	struct split s = {text, out, NULL};

	(void)c;
	split(&s, text, len);
}

void wordcodec_split(const char *text, size_t len, struct token_list *out, struct token_list *ends)
{
	struct split s = {text, out, ends};

	CHECK(len <= INT32_MAX && out->n == 0 && ends->n == 0);
	split(&s, text, len);
	if (ends->n > 0)
		ends->id[ends->n - 1] = (int32_t)len;
}

static bool decode(const struct textcodec *c, int32_t token, int32_t index, struct buf *b)
{
	const size_t blank = index > 0;
	char text[1 + LONGEST_WORD + 1] = " ";
	bool capital = token >= FIRST_CAPITAL;
	int32_t i;

	(void)c;
	if (token < FIRST_WORD)
		return buf_putc(b, (char)token);
	if (token >= FIRST_HASHED)
		return buf_printf(b, "%s<%d>", blank ? " " : "", token);
	/* nearly every token of a simulated answer: without printf, whose share was a fifth of all
	 */
	make_words();
	i = token - (capital ? FIRST_CAPITAL : FIRST_WORD);
	memcpy(text + blank, words[i], word_len[i]);
	if (capital)
		text[blank] = (char)(text[blank] - 'a' + 'A');
	return buf_append(b, text, blank + word_len[i]);
}

const struct textcodec wordcodec = {
	.name = "words",
	.vocab_size = WORDCODEC_VOCAB,
	.eos_token = -1,
	.encode = encode,
	.decode = decode,
};

/*
 * Filler is made in groups of four places, one Philox block each, so that any place is found
 * without the ones before it. Only the last place of a group may hold a mark: in one of four a full
 * stop, in one of four a comma.
 */
enum { GROUP = 4 };

static char mark_at_end(const uint32_t block[4])
{
	static const char marks[4] = {'.', ',', 0, 0};

	return marks[block[GROUP - 1] >> 30];
}

static void filler_block(uint64_t seed, int32_t group, uint32_t block[4])
{
	const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
	const uint32_t ctr[4] = {(uint32_t)group};

	philox4x32_10(key, ctr, block);
}

/* The ids of a group's places; capital: a sentence begins with it. */
static void filler_group(const uint32_t block[GROUP], bool capital, int32_t out[GROUP])
{
	for (int place = 0; place < GROUP; place++)
		out[place] = (int32_t)(block[place] % N_WORDS) + FIRST_WORD;
	if (capital)
		out[0] += FIRST_CAPITAL - FIRST_WORD;
	if (mark_at_end(block))
		out[GROUP - 1] = (unsigned char)mark_at_end(block);
}

void wordcodec_filler_run(uint64_t seed, int32_t index, int32_t n, int32_t *out)
{
	int32_t group = index / GROUP, skip = index % GROUP, ids[GROUP];
	bool capital = group == 0;
	uint32_t block[4];

	if (group > 0 && skip == 0) { /* only its first place could be a capital */
		filler_block(seed, group - 1, block);
		capital = mark_at_end(block) == '.';
	}
	for (; n > 0; group++, skip = 0) {
		filler_block(seed, group, block);
		filler_group(block, capital, ids);
		capital = mark_at_end(block) == '.';
		for (int32_t place = skip; place < GROUP && n > 0; place++, n--)
			*out++ = ids[place];
	}
}

int32_t wordcodec_filler(uint64_t seed, int32_t index)
{
	int32_t group = index / GROUP, place = index % GROUP;
	uint32_t block[4], before[4];
	bool capital = index == 0;

	filler_block(seed, group, block);
	if (place == GROUP - 1 && mark_at_end(block))
		return mark_at_end(block);
	if (place == 0 && group > 0) {
		filler_block(seed, group - 1, before);
		capital = mark_at_end(before) == '.';
	}
	return (int32_t)(block[place] % N_WORDS) + (capital ? FIRST_CAPITAL : FIRST_WORD);
}

/*
 * The instructions that are supported: name, operands, the words that may follow, who picks the
 * function. A word that is not in the list makes the instruction "not supported": nothing is
 * executed on a guess.
 */
#include <cstring>
#include "machine.h"

static const struct {
	const char *name;
	int bytes;
	bool is_signed, is_float;
} type_table[] = {
	{"u8", 1, false, false},   {"s8", 1, true, false},   {"b8", 1, false, false},
	{"u16", 2, false, false},  {"s16", 2, true, false},  {"b16", 2, false, false},
	{"u32", 4, false, false},  {"s32", 4, true, false},  {"b32", 4, false, false},
	{"u64", 8, false, false},  {"s64", 8, true, false},  {"b64", 8, false, false},
	{"f16", 2, true, true},	   {"f16x2", 4, true, true}, {"bf16", 2, true, true},
	{"bf16x2", 4, true, true}, {"f32", 4, true, true},   {"f64", 8, true, true},
	{"pred", 1, false, false}, {"", 0, false, false},
};

int type_bytes(type t)
{
	return type_table[t].bytes;
}
bool type_signed(type t)
{
	return type_table[t].is_signed;
}
bool type_float(type t)
{
	return type_table[t].is_float;
}
type type_named(const std::string &word)
{
	int t = 0;
	while (t < NO_TYPE && word != type_table[t].name)
		t++;
	return (type)t;
}

void not_supported(const insn &i)
{
	throw load_error("not supported: " + i.text + " at line " + std::to_string(i.line));
}

/* Letters: see parser::operand_list. Words with a capital stand for families, see word_allowed().
 */
struct form {
	const char *name, *operands, *words;
	void (*bind)(insn &i, const words_t &words);
};

static const form forms[] = {
	{"add", "daa", "rn ftz sat", bind_arithmetic},
	{"sub", "daa", "rn ftz sat", bind_arithmetic},
	{"mul", "daa", "rn ftz sat lo hi", bind_arithmetic},
	{"mul.wide", "Waa", "wide", bind_arithmetic},
	{"mad", "daaa", "lo hi", bind_arithmetic},
	{"mad.wide", "Waaw", "wide", bind_arithmetic},
	{"fma", "daaa", "rn ftz sat relu", bind_arithmetic},
	{"div", "daa", "rn full approx ftz", bind_arithmetic},
	{"rem", "daa", "", bind_arithmetic},
	{"min", "daa", "ftz NaN", bind_arithmetic},
	{"max", "daa", "ftz NaN", bind_arithmetic},
	{"abs", "da", "ftz", bind_arithmetic},
	{"neg", "da", "ftz", bind_arithmetic},
	{"ex2", "da", "approx ftz", bind_arithmetic},
	{"lg2", "da", "approx ftz", bind_arithmetic},
	{"rcp", "da", "approx ftz rn", bind_arithmetic},
	{"rsqrt", "da", "approx ftz", bind_arithmetic},
	{"sqrt", "da", "approx ftz rn", bind_arithmetic},
	{"sin", "da", "approx ftz", bind_arithmetic},
	{"cos", "da", "approx ftz", bind_arithmetic},
	{"tanh", "da", "approx", bind_arithmetic},
	{"copysign", "daa", "", bind_arithmetic},
	{"dp4a", "duuu", "", bind_bits},
	{"dp2a", "duuu", "lo hi", bind_bits},
	{"and", "daa", "", bind_bits},
	{"or", "daa", "", bind_bits},
	{"xor", "daa", "", bind_bits},
	{"not", "da", "", bind_bits},
	{"shl", "dau", "", bind_bits},
	{"shr", "dau", "", bind_bits},
	{"shf", "duuu", "l r wrap clamp", bind_bits},
	{"popc", "da", "", bind_bits},
	{"clz", "da", "", bind_bits},
	{"brev", "da", "", bind_bits},
	{"bfind", "da", "shiftamt", bind_bits},
	{"prmt", "duuu", "", bind_bits},
	{"bfe", "dauu", "", bind_bits},
	{"bfi", "daauu", "", bind_bits},
	{"lop3", "duuun", "", bind_bits},
	{"setp", "qbb?p", "Compare and or xor ftz", bind_compare},
	{"set", "dbb", "Compare ftz", bind_compare},
	{"selp", "daap", "", bind_compare},
	{"cvt", "db?b", "rn rz rni rzi rmi rpi ftz sat", bind_convert},
	{"mov", "da", "", bind_move},
	{"cvta", "da", "to Space", bind_move},
	{"isspacep", "qx", "Space", bind_move},
	{"ld.param", "P", "param Vector", bind_move},
	{"ld", "rm", "Space Vector Order Hint nc", bind_memory},
	{"ldu", "rm", "Space Vector", bind_memory},
	{"st", "ms", "Space Vector Order Hint", bind_memory},
	{"prefetch", "m", "global L1 L2", bind_flow},
	{"cp.async", "mmn?u", "async Space ca cg Hint", bind_copy},
	{"cp.async.commit_group", "", "async commit_group", bind_copy},
	{"cp.async.wait_group", "n", "async wait_group", bind_copy},
	{"cp.async.wait_all", "", "async wait_all", bind_copy},
	{"atom", "dma?a", "Space Order Atomic noftz", bind_atomic},
	{"red", "ma", "Space Order Atomic noftz", bind_atomic},
	{"shfl", "duuuu", "sync idx up down bfly", bind_warp},
	{"vote", "dpu", "sync ballot", bind_warp},
	{"vote.pred", "qpu", "sync any all uni pred", bind_warp},
	{"redux", "duu", "sync add min max and or xor", bind_warp},
	{"match", "dau", "sync any", bind_warp},
	{"bar.warp", "u", "warp sync", bind_warp},
	{"activemask", "d", "", bind_warp},
	{"mma", "rsss", "sync aligned row col m16n8k8 m16n8k16 m16n8k32 satfinite", bind_matrix},
	{"ldmatrix", "rm", "sync aligned m8n8 x1 x2 x4 trans Space", bind_matrix},
	{"bar", "u", "sync cta", bind_flow},
	{"barrier", "u", "sync aligned cta", bind_flow},
	{"bra", "L", "uni", bind_flow},
	{"ret", "", "uni", bind_flow},
	{"exit", "", "", bind_flow},
	{"trap", "", "", bind_flow},
	{"membar", "", "gl cta sys", bind_flow},
	{"fence", "", "Order", bind_flow},
	{"nanosleep", "u", "", bind_flow},
	{"griddepcontrol", "", "wait launch_dependents", bind_flow},
};

static const struct {
	const char *family, *words;
} families[] = {
	{"Compare", " eq ne lt le gt ge equ neu ltu leu gtu geu num nan lo ls hi hs "},
	{"Space", " global shared local const shared::cta "},
	{"Vector", " v2 v4 "},
	{"Order", " volatile weak relaxed acquire release acq_rel sc cta gpu sys "},
	{"Hint", " L1::no_allocate L1::evict_first L1::evict_last L1::evict_normal "
		 "L1::evict_unchanged L2::64B "
		 "L2::128B L2::256B ca cg cs cv lu wb wt "},
	{"Atomic", " add min max exch cas and or xor inc dec "},
};

static bool listed(const char *list, const std::string &word)
{
	return strstr(list, (" " + word + " ").c_str()) != nullptr;
}

static bool word_allowed(const form &f, const std::string &word)
{
	std::string own = std::string(" ") + f.words + " ";
	if (type_named(word) != NO_TYPE || listed(own.c_str(), word))
		return true;
	for (auto &row : families)
		if (listed(own.c_str(), row.family) && listed(row.words, word))
			return true;
	return false;
}

bool has_word(const words_t &words, const char *word)
{
	for (auto &w : words)
		if (w == word)
			return true;
	return false;
}

/* Some names have two forms by a word that follows. */
static std::string form_name(const words_t &words)
{
	const std::string &name = words[0];
	if ((name == "mul" || name == "mad") && has_word(words, "wide"))
		return name + ".wide";
	if (name == "ld" && has_word(words, "param"))
		return "ld.param";
	if (name == "bar" && has_word(words, "warp"))
		return "bar.warp";
	if (name == "vote" && !has_word(words, "ballot"))
		return "vote.pred";
	if (name == "cp" && words.size() > 2 && words[1] == "async") {
		for (const char *word : {"commit_group", "wait_group", "wait_all"})
			if (words[2] == word)
				return "cp.async." + words[2];
		return "cp.async";
	}
	return name;
}

const form *form_of(insn &i, const words_t &words)
{
	const form *f = nullptr;
	std::string name = form_name(words);
	for (auto &row : forms)
		if (name == row.name)
			f = &row;
	if (!f)
		not_supported(i);
	for (size_t n = 1; n < words.size(); n++) {
		const std::string &word = words[n];
		if (!word_allowed(*f, word))
			not_supported(i);
		type t = type_named(word);
		if (t != NO_TYPE) {
			type &place = i.t == NO_TYPE ? i.t : i.t2 == NO_TYPE ? i.t2 : i.t3;
			if (place == NO_TYPE)
				place = t;
		}
		if (word == "global")
			i.space = GLOBAL;
		else if (word == "shared" || word == "shared::cta")
			i.space = SHARED;
		else if (word == "local")
			i.space = LOCAL;
		else if (word == "const")
			i.space = CONST;
		else if (word == "v2" || word == "v4")
			i.vec = (uint8_t)(word[1] - '0');
		else if (word == "ftz")
			i.flags |= FTZ;
		else if (word == "sat")
			i.flags |= SAT;
	}
	if (i.t2 == NO_TYPE)
		i.t2 = i.t;
	return f;
}

const char *form_operands(const form *f)
{
	return f->operands;
}

void form_bind(const form *f, insn &i, const words_t &words)
{
	f->bind(i, words);
	if (!i.run && i.flow != BRANCH && i.flow != EXIT && i.flow != BARRIER)
		not_supported(i);
}

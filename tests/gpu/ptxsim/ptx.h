/*
 * A PTX module as the interpreter runs it: registers are places in a warp's register file, labels
 * are indices, every instruction knows the function that executes it. Made by parse.cc and bind.cc,
 * run by warp.cc.
 *
 * A register holds 32 lanes side by side, 4 bytes a lane (8 for 64-bit types); a constant is a
 * register that nobody writes; a predicate is one word of 32 bits.
 */
#ifndef PTXSIM_PTX_H
#define PTXSIM_PTX_H

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

enum type : uint8_t {
	U8,
	S8,
	B8,
	U16,
	S16,
	B16,
	U32,
	S32,
	B32,
	U64,
	S64,
	B64,
	F16,
	F16X2,
	BF16,
	BF16X2,
	F32,
	F64,
	PRED,
	NO_TYPE
};

int type_bytes(type t);
type type_named(const std::string &word);
bool type_signed(type t);
bool type_float(type t);

enum space : uint8_t { GENERIC, GLOBAL, SHARED, LOCAL, CONST, PARAM };

/* Generic addresses outside these windows are the host's own: device memory is the host's heap. */
constexpr uint64_t SHARED_WINDOW = 1ull << 60, LOCAL_WINDOW = 1ull << 61, WINDOW_BYTES = 1ull << 32;

struct operand {
	enum kind : uint8_t { NONE, REG, PREDICATE, ADDRESS } kind = NONE;
	uint8_t bytes = 4; /* of one lane in the register file */
	bool negated = false;
	int32_t at = 0;	    /* byte offset in the register file, or the predicate's number */
	int64_t offset = 0; /* of an ADDRESS */
};

struct warp;
struct insn;
typedef void (*exec_fn)(warp &w, const insn &i, uint32_t lanes);

/* What an instruction does to the program counters of a warp; anything but NEXT is handled by
 * warp.cc. */
enum flow : uint8_t { NEXT, BRANCH, EXIT, BARRIER, WARP_SYNC };

enum insn_flags : uint16_t {
	FTZ = 1,
	SAT = 2,
	TRANS = 4,
	CLAMP = 8,
	MEMBERS = 16 /* the last source is the member mask */,
	COUNT_MEMORY = 32,
	IS_STORE = 64,
	ATOMIC = 128,
	TO_SPACE = 256,
	BF = 512,
	NEEDS_WAIT = 1024
};

constexpr int MAX_DST = 4, MAX_SRC = 10;

struct insn_counts {
	uint64_t runs, bytes, sectors, ideal, wavefronts, phases;
};

struct insn {
	exec_fn run = nullptr;
	::flow flow = NEXT;
	type t = NO_TYPE, t2 = NO_TYPE, t3 = NO_TYPE;
	::space space = GENERIC;
	uint8_t vec = 1, sub = 0, sub2 = 0, ndst = 0, nsrc = 0;
	uint16_t flags = 0;
	int guard = -1;
	bool guard_negated = false;
	operand d[MAX_DST], s[MAX_SRC], pdst;
	int target = -1;
	int line = 0;
	std::string text;
	mutable insn_counts counts = {};
};

struct symbol {
	::space space;
	uint64_t at; /* offset in its space; a host address for GLOBAL and CONST */
	uint64_t bytes;
	bool dynamic = false;
};

struct constant {
	int32_t at;
	uint8_t bytes;
	uint64_t value;
	bool dynamic; /* counts from where dynamic shared memory begins */
};

enum special {
	TID_X,
	TID_Y,
	TID_Z,
	CTAID_X,
	CTAID_Y,
	CTAID_Z,
	NTID_X,
	NTID_Y,
	NTID_Z,
	NCTAID_X,
	NCTAID_Y,
	NCTAID_Z,
	LANEID,
	WARPID,
	ENVREG1,
	ENVREG2,
	LANEMASK_EQ,
	LANEMASK_LT,
	LANEMASK_LE,
	LANEMASK_GT,
	LANEMASK_GE,
	DYNAMIC_SMEM,
	TOTAL_SMEM,
	NWARPID,
	CLOCK,
	SPECIALS
};

struct kernel {
	std::string name;
	std::vector<insn> code;
	std::vector<int> param_bytes, param_at;
	int params_bytes = 0;
	int file_bytes = SPECIALS * 128; /* of one warp's registers */
	int predicates = 0;
	int shared_bytes = 0, local_bytes = 0, dynamic_at = 0;
	int max_threads = 1024, max_dynamic = 48 * 1024;
	int registers32 = 0; /* declared, virtual: ptxas decides */
	std::vector<constant> constants;
	std::map<std::string, symbol> symbols;
	uint64_t launches = 0, warp_insns = 0, lane_insns = 0;
};

struct module {
	std::map<std::string, kernel> kernels;
	std::map<std::string, symbol> symbols;
	std::vector<void *> globals;
	~module();
};

/* Text that is not PTX, or PTX that is not supported. */
struct load_error : std::runtime_error {
	using runtime_error::runtime_error;
};

module *module_load(const char *text); /* parse.cc; throws load_error */

/* bind.cc: the form of an instruction (which operands it takes), then the function that runs it. */
struct form;
const form *form_of(insn &i, const std::vector<std::string> &words);
const char *form_operands(const form *f);
void form_bind(const form *f, insn &i, const std::vector<std::string> &words);
[[noreturn]] void not_supported(const insn &i);

#endif

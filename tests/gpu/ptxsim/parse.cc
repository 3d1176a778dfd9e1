/*
 * PTX text to a module: declarations, registers, labels, operands. Knows no instruction by name but
 * those that steer the parser itself; the forms of all others come from bind.cc. Whatever is not
 * understood is an error.
 */
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <memory>
#include "machine.h"

struct token {
	std::string text;
	int line;
};

static bool in_word(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '$' || c == '.' || c == '%';
}

static std::vector<token> tokens_of(const char *text)
{
	std::vector<token> out;
	int line = 1;
	for (const char *p = text; *p;) {
		const char *from = p;
		if (*p == '\n') {
			line++, p++;
		} else if (isspace((unsigned char)*p)) {
			p++;
		} else if (p[0] == '/' && p[1] == '/') {
			while (*p && *p != '\n')
				p++;
		} else if (p[0] == '/' && p[1] == '*') {
			for (p += 2; *p && !(p[0] == '*' && p[1] == '/'); p++)
				line += *p == '\n';
			p += *p ? 2 : 0;
		} else if (*p == '"') {
			for (p++; *p && *p != '"'; p++)
				;
			p += *p != 0;
			out.push_back({std::string(from, p), line});
		} else if (in_word(*p) || (*p == '-' && isdigit((unsigned char)p[1]))) {
			for (p++; in_word(*p) || (p[0] == ':' && p[1] == ':'); p++)
				p += *p == ':';
			out.push_back({std::string(from, p), line});
		} else {
			p++;
			out.push_back({std::string(from, p), line});
		}
	}
	out.push_back({"", line});
	return out;
}

static std::vector<std::string> words_of(const std::string &opcode)
{
	std::vector<std::string> words;
	for (size_t from = 0; from <= opcode.size();) {
		size_t to = std::min(opcode.find('.', from), opcode.size());
		words.push_back(opcode.substr(from, to - from));
		from = to + 1;
	}
	return words;
}

static bool number_of(const std::string &s, uint64_t *out)
{
	if (s.empty() || !(isdigit((unsigned char)s[0]) || s[0] == '-'))
		return false;
	bool f32 = s.size() == 10 && s[0] == '0' && (s[1] | 32) == 'f';
	bool f64 = s.size() == 18 && s[0] == '0' && (s[1] | 32) == 'd';
	char *end;
	if (f32 || f64)
		*out = strtoull(s.c_str() + 2, &end, 16);
	else
		*out = s[0] == '-' ? (uint64_t)strtoll(s.c_str(), &end, 0)
				   : strtoull(s.c_str(), &end, 0);
	return !*end || !strcmp(end, "U");
}

static const struct {
	const char *name;
	special which;
} special_names[] = {
	{"%tid.x", TID_X},
	{"%tid.y", TID_Y},
	{"%tid.z", TID_Z},
	{"%ctaid.x", CTAID_X},
	{"%ctaid.y", CTAID_Y},
	{"%ctaid.z", CTAID_Z},
	{"%ntid.x", NTID_X},
	{"%ntid.y", NTID_Y},
	{"%ntid.z", NTID_Z},
	{"%nctaid.x", NCTAID_X},
	{"%nctaid.y", NCTAID_Y},
	{"%nctaid.z", NCTAID_Z},
	{"%laneid", LANEID},
	{"%warpid", WARPID},
	{"%envreg1", ENVREG1},
	{"%envreg2", ENVREG2},
	{"%lanemask_eq", LANEMASK_EQ},
	{"%lanemask_lt", LANEMASK_LT},
	{"%lanemask_le", LANEMASK_LE},
	{"%lanemask_gt", LANEMASK_GT},
	{"%lanemask_ge", LANEMASK_GE},
	{"%dynamic_smem_size", DYNAMIC_SMEM},
	{"%total_smem_size", TOTAL_SMEM},
	{"%nwarpid", NWARPID},
	{"%clock", CLOCK},
};

class parser
{
      public:
	parser(const char *text, module &into) : m(into), t(tokens_of(text))
	{
	}
	void file();

      private:
	module &m;
	std::vector<token> t;
	size_t at = 0;
	kernel *k = nullptr;
	std::map<std::string, operand> registers;
	std::map<std::string, int> labels;
	std::vector<std::pair<size_t, std::string>> jumps;
	std::map<std::pair<uint64_t, int>, int32_t> constants;

	const std::string &now(int ahead = 0) const
	{
		return t[std::min(at + ahead, t.size() - 1)].text;
	}
	bool eat(const char *s)
	{
		bool is = now() == s;
		at += is;
		return is;
	}
	[[noreturn]] void fail(const std::string &what) const
	{
		throw load_error(what + " at line " + std::to_string(t[at].line));
	}
	std::string take()
	{
		if (at + 1 >= t.size())
			fail("the text ends too early");
		return t[at++].text;
	}
	void need(const char *s)
	{
		if (!eat(s))
			fail(std::string("expected '") + s + "', found '" + now() + "'");
	}
	uint64_t number()
	{
		uint64_t v;
		if (!number_of(now(), &v))
			fail("expected a number, found '" + now() + "'");
		at++;
		return v;
	}
	void skip_line()
	{
		for (int line = t[at].line; at + 1 < t.size() && t[at].line == line;)
			at++;
	}
	operand constant_of(uint64_t value, int bytes, bool dynamic = false);
	operand symbol_value(const symbol &s, int bytes, int64_t plus);
	symbol *symbol_named(const std::string &name);
	operand read_operand(type t, bool address);
	void operand_list(insn &i, char letter);
	void instruction();
	void variable(bool of_module);
	void declare_registers();
	void parameters();
	void body();
	void entry();
};

/* 8 and 16-bit values live in 32-bit places. */
static int place_bytes(type t)
{
	return type_bytes(t) == 8 ? 8 : 4;
}

operand parser::constant_of(uint64_t value, int bytes, bool dynamic)
{
	if (bytes == 4)
		value = (uint32_t)value;
	auto key = std::make_pair(value, bytes | (dynamic ? 16 : 0));
	auto found = constants.find(key);
	if (found == constants.end()) {
		k->constants.push_back({k->file_bytes, (uint8_t)bytes, value, dynamic});
		found = constants.emplace(key, k->file_bytes).first;
		k->file_bytes += bytes * 32;
	}
	operand o;
	o.kind = operand::REG;
	o.bytes = (uint8_t)bytes;
	o.at = found->second;
	return o;
}

/* Shared variables of the module take their place in a kernel when it first names them. */
symbol *parser::symbol_named(const std::string &name)
{
	auto own = k->symbols.find(name);
	if (own != k->symbols.end())
		return &own->second;
	auto of_module = m.symbols.find(name);
	if (of_module == m.symbols.end())
		return nullptr;
	if (of_module->second.space != SHARED || of_module->second.dynamic)
		return &of_module->second;
	symbol s = of_module->second;
	uint64_t align = s.at; /* until it has a place */
	s.at = (k->shared_bytes + align - 1) / align * align;
	k->shared_bytes = (int)(s.at + s.bytes);
	return &(k->symbols[name] = s);
}

operand parser::symbol_value(const symbol &s, int bytes, int64_t plus)
{
	return constant_of((s.dynamic ? 0 : s.at) + plus, bytes, s.dynamic);
}

operand parser::read_operand(type ty, bool address)
{
	operand o;
	if (address) {
		need("[");
		std::string base = take();
		int64_t offset = 0;
		if (eat("+"))
			offset = (int64_t)number();
		else if (now()[0] == '-')
			offset = (int64_t)number();
		need("]");
		uint64_t absolute;
		auto r = registers.find(base);
		if (r != registers.end()) {
			o = r->second;
			o.offset = offset;
		} else if (symbol *s = symbol_named(base)) {
			o = symbol_value(*s, 8, offset);
		} else if (number_of(base, &absolute)) {
			o = constant_of(absolute + offset, 8);
		} else {
			fail("unknown name '" + base + "'");
		}
		o.kind = operand::ADDRESS;
		return o;
	}
	if (eat("!"))
		o.negated = true;
	std::string s = take();
	uint64_t value;
	auto r = registers.find(s);
	if (r != registers.end()) {
		bool negated = o.negated;
		o = r->second;
		o.negated = negated;
		return o;
	}
	if (s == "_")
		return o;
	for (auto &row : special_names) {
		if (s == row.name) {
			o.kind = operand::REG;
			o.at = row.which * 128;
			return o;
		}
	}
	if (s == "WARP_SZ")
		return constant_of(32, 4);
	if (number_of(s, &value))
		return constant_of(value, place_bytes(ty));
	if (symbol *sym = symbol_named(s))
		return symbol_value(*sym, place_bytes(ty), 0);
	at--;
	fail("not supported: operand " + s);
}

/*
 * One letter of a form: d destination, q predicate destination, a and b sources of the first and
 * second type, w source or W destination of twice the width, u 32-bit source, x 64-bit source, p
 * predicate source, m address (destination list first when capital), n plain number, r register
 * list of destinations or s of sources.
 */
void parser::operand_list(insn &i, char letter)
{
	bool destination = strchr("dqWr", letter) != nullptr;
	type ty = letter == 'u' ? B32 : letter == 'x' ? B64 : letter == 'b' ? i.t2 : i.t;
	if (letter == 'w' || letter == 'W')
		ty = type_bytes(i.t) == 4 ? B64 : B32;
	if (letter == 'n') {
		i.sub2 = (uint8_t)number();
		return;
	}
	auto put = [&](const operand &o) {
		if (destination ? i.ndst == MAX_DST : i.nsrc == MAX_SRC)
			not_supported(i);
		if (destination)
			i.d[i.ndst++] = o;
		else
			i.s[i.nsrc++] = o;
	};
	if (eat("{")) {
		do
			put(read_operand(ty, false));
		while (eat(","));
		need("}");
	} else {
		put(read_operand(ty, letter == 'm'));
	}
	if (destination && eat("|"))
		i.pdst = read_operand(PRED, false);
}

void parser::instruction()
{
	insn i;
	i.line = t[at].line;
	if (eat("@")) {
		i.guard_negated = eat("!");
		operand p = read_operand(PRED, false);
		if (p.kind != operand::PREDICATE)
			fail("the guard is no predicate");
		i.guard = p.at;
	}
	i.text = take();
	auto words = words_of(i.text);
	const form *f = form_of(i, words);
	const char *letters = form_operands(f);
	if (*letters == 'L') {
		jumps.push_back({k->code.size(), take()});
		letters++;
	} else if (*letters == 'P') { /* ld.param */
		operand_list(i, 'r');
		need(",");
		need("[");
		std::string name = take();
		auto s = k->symbols.find(name);
		if (s == k->symbols.end() || s->second.space != PARAM)
			not_supported(i);
		i.target = (int)s->second.at + (eat("+") ? (int)number() : 0);
		need("]");
		letters++;
	} else if (*letters == '*') { /* operands without effect here */
		while (now() != ";")
			take();
		letters++;
	}
	for (bool first = true; *letters; letters++, first = false) {
		if (*letters == '?') {
			if (now() == ";")
				break;
			continue;
		}
		if (!first)
			need(",");
		operand_list(i, *letters);
	}
	if (now() != ";")
		not_supported(i);
	at++;
	form_bind(f, i, words);
	k->code.push_back(i);
}

/* .shared .align 16 .b8 name[64]; .global .f32 table[2] = {1, 2}; */
void parser::variable(bool of_module)
{
	symbol s = {GENERIC, 0, 1};
	uint64_t align = 0, count = 1;
	type ty = B8;
	bool external = false, unsized = false;
	while (now()[0] == '.') {
		std::string word = take();
		static const std::pair<const char *, ::space> spaces[] = {{".shared", SHARED},
									  {".global", GLOBAL},
									  {".const", CONST},
									  {".local", LOCAL}};
		for (auto &row : spaces)
			if (word == row.first)
				s.space = row.second;
		if (word == ".extern")
			external = true;
		else if (word == ".align")
			align = number();
		else if (word == ".v2" || word == ".v4")
			count *= word[2] - '0';
		else if (type_named(word.substr(1)) != NO_TYPE)
			ty = type_named(word.substr(1));
	}
	std::string name = take();
	while (eat("[")) {
		unsized = now() == "]";
		if (!unsized)
			count *= number();
		need("]");
	}
	align = std::max<uint64_t>(align, type_bytes(ty));
	s.bytes = count * type_bytes(ty);
	if (s.space == GLOBAL || s.space == CONST) {
		char *host = (char *)memory_alloc(s.bytes, true);
		m.globals.push_back(host);
		s.at = (uint64_t)host;
		if (eat("=")) {
			bool list = eat("{");
			uint64_t n = 0;
			do {
				uint64_t v = number();
				if (n == count)
					fail("too many initialisers");
				memcpy(host + n++ * type_bytes(ty), &v, type_bytes(ty));
			} while (list && eat(","));
			if (list)
				need("}");
		}
	} else if (s.space == SHARED) {
		s.dynamic = external || unsized;
		s.at = align;
	}
	need(";");
	if (s.space == LOCAL) {
		s.at = (k->local_bytes + align - 1) / align * align;
		k->local_bytes = (int)(s.at + s.bytes);
	}
	if (of_module) {
		m.symbols[name] = s;
		return;
	}
	if (s.space == SHARED && !s.dynamic) {
		s.at = (k->shared_bytes + align - 1) / align * align;
		k->shared_bytes = (int)(s.at + s.bytes);
	}
	k->symbols[name] = s;
}

void parser::declare_registers()
{
	type ty = type_named(take().substr(1));
	if (ty == NO_TYPE)
		fail("not supported: a register of type " + t[at - 1].text);
	do {
		std::string name = take();
		int count = -1;
		if (eat("<")) {
			count = (int)number();
			need(">");
		}
		for (int n = 0; n < (count < 0 ? 1 : count); n++) {
			operand o;
			if (ty == PRED) {
				o.kind = operand::PREDICATE;
				o.at = k->predicates++;
			} else {
				o.kind = operand::REG;
				o.bytes = (uint8_t)place_bytes(ty);
				o.at = k->file_bytes;
				k->file_bytes += o.bytes * 32;
			}
			registers[count < 0 ? name : name + std::to_string(n)] = o;
		}
	} while (eat(","));
	need(";");
}

void parser::body()
{
	need("{");
	for (int depth = 1; depth;) {
		if (eat("{"))
			depth++;
		else if (eat("}"))
			depth--;
		else if (eat(";"))
			continue;
		else if (eat(".reg"))
			declare_registers();
		else if (now() == ".shared" || now() == ".local")
			variable(false);
		else if (now() == ".pragma" || now() == ".loc" || now() == ".file")
			skip_line();
		else if (now(1) == ":")
			labels[now()] = (int)k->code.size(), at += 2;
		else
			instruction();
	}
	insn end;
	end.flow = EXIT;
	end.text = "}";
	end.line = t[at - 1].line;
	k->code.push_back(end);
	for (auto &j : jumps) {
		auto l = labels.find(j.second);
		if (l == labels.end())
			fail("no label " + j.second);
		k->code[j.first].target = l->second;
	}
}

void parser::parameters()
{
	if (!eat("("))
		return;
	while (!eat(")")) {
		int align = 1, count = 1;
		type ty = B8;
		while (now()[0] == '.') {
			std::string word = take();
			if (word == ".align")
				align = (int)number();
			else if (type_named(word.substr(1)) != NO_TYPE)
				ty = type_named(word.substr(1));
		}
		std::string name = take();
		if (eat("[")) {
			count = (int)number();
			need("]");
		}
		align = std::max(align, type_bytes(ty));
		int place = (k->params_bytes + align - 1) / align * align,
		    bytes = count * type_bytes(ty);
		k->symbols[name] = {PARAM, (uint64_t)place, (uint64_t)bytes};
		k->param_at.push_back(place);
		k->param_bytes.push_back(bytes);
		k->params_bytes = place + bytes;
		eat(",");
	}
}

void parser::entry()
{
	std::string name = take();
	kernel &made = m.kernels[name];
	made = kernel();
	made.name = name;
	k = &made;
	registers.clear(), labels.clear(), jumps.clear(), constants.clear();
	parameters();
	while (now() != "{") {
		std::string word = take();
		if (word == ".maxntid" || word == ".reqntid") {
			k->max_threads = (int)number();
			while (eat(","))
				k->max_threads *= (int)number();
		}
	}
	try {
		body();
	} catch (const load_error &e) {
		throw load_error("kernel " + name + ": " + e.what());
	}
	k->dynamic_at = (k->shared_bytes + 15) / 16 * 16;
	for (auto &c : k->constants)
		c.value += c.dynamic ? k->dynamic_at : 0;
	k = nullptr;
}

void parser::file()
{
	if (now() != ".version")
		fail("this is no PTX");
	while (at + 1 < t.size()) {
		const std::string &s = now();
		if (s == ".version" || s == ".target" || s == ".address_size" || s == ".file") {
			skip_line();
		} else if (s == ".visible" || s == ".weak") {
			at++;
		} else if (eat(".entry")) {
			entry();
		} else if (s == ".extern" && now(1) == ".func") {
			while (take() != ";")
				; /* a call of it is not supported */
		} else if (s == ".global" || s == ".shared" || s == ".const" || s == ".extern") {
			variable(true);
		} else {
			fail("not supported: " + s);
		}
	}
}

module *module_load(const char *text)
{
	std::unique_ptr<module> m(new module);
	parser(text, *m).file();
	return m.release();
}

module::~module()
{
	for (void *g : globals)
		memory_free(g);
}

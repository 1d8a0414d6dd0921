"""One Metal file: its declarations in turn, rewritten, with its kernels and function constants noted.

The text keeps its lines. What changes: address spaces and attributes go, threadgroup variables become references into
the runtime's arena (or __shared__ in CUDA), float literals get their suffix, swizzles become calls, kernels get the
threadgroup as a first parameter, function constants become variables that a launch sets.
"""
import re

from .signature import UNSUPPORTED, read_enumerators, read_kernel
from .tokens import (SPACES, Refused, Token, angle_close, close_of, split, statement_end, take_attributes,
                     text_of, words)

BARRIERS = {"threadgroup_barrier"}
MATRICES = {"simdgroup_matrix", "simdgroup_float8x8", "simdgroup_half8x8", "simdgroup_bfloat8x8", "simdgroup_load",
            "simdgroup_store", "simdgroup_multiply", "simdgroup_multiply_accumulate"}
ASSIGNMENTS = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", "++", "--"}
SCALARS = ("float", "half", "bfloat", "char", "uchar", "short", "ushort", "int", "uint", "long", "ulong", "bool")
COMPONENTS = ("xyzw", "rgba")
# Before a '(' that opens no function's parameters.
NO_FUNCTION = {"alignas", "decltype", "static_assert", "explicit", "__attribute__"}
MAX_VARIABLES = 1024


def kernel_name(name):
    """In C++, where a kernel called exp must not overload Metal's exp."""
    return f"msl_kernel_{name}"


class Unit:
    def __init__(self, cuda=False):
        self.cuda = cuda
        self.kernels = {}
        self.instances = []   # (host name, kernel, '<template arguments>')
        self.constants = []   # (name, type, index)
        self.derived = set()  # constants computed from function constants
        self.tested = set()   # function constants that is_function_constant_defined asks for: they may be unset
        self.variables = 0    # of threadgroup memory
        self.with_threadgroup_memory = set()  # kernels that declare some
        self.uses = {}        # function: the names in its body
        self.seen = {}        # functions' bodies by signature, both without address spaces
        self.places = {}      # name: the first token in a function's body that says it
        self.defined = {}     # function: the first token of its definition
        self.scope = []
        self.enumerators = {}  # and their values, for [[buffer(Name)]]
        self.members = [[]]   # by type that is open: its members that are called as swizzles are
        self.member_names = set()  # of all types

    def refuse(self, token, message):
        """The strict pass goes on after it, to find more."""
        raise Refused(token, message)

    # ---- declarations ----

    def declarations(self, tokens, i, end, inside):
        """The text of tokens[i:end]; inside is 'namespace' or 'struct'."""
        out = []
        while i < end:
            token = tokens[i]
            following = tokens[i + 1].text if i + 1 < len(tokens) else ""
            if token.kind == "line":
                out.append(self.directive(token))
                i += 1
            elif token.text in (";", "") or token.kind == "end":
                out.append(token.space + token.text)
                i += 1
            elif token.text in ("public", "private", "protected") and following == ":":
                out.append(text_of(tokens[i:i + 2]))
                i += 2
            elif token.text == "namespace" or token.text == "inline" and following == "namespace":
                i = self.namespace(tokens, i, out)
            elif token.text == "template" and following != "<":
                i = self.instance(tokens, i, out)
            else:
                i = self.declaration(tokens, i, end, inside, out)
        return "".join(out)

    def directive(self, token):
        if token.text.startswith("#line"):
            return token.space + token.text
        if "unroll" in token.text:
            return token.space + ("#pragma unroll 1" if "disable" in token.text else "#pragma unroll")
        return token.space

    def namespace(self, tokens, i, out):
        opening = i
        while tokens[opening].text not in ("{", ";"):
            opening += 1
        if tokens[opening].text == ";":
            out.append(text_of(tokens[i:opening + 1]))
            return opening + 1
        end = close_of(tokens, opening)
        name = text_of(tokens[i + 1:opening]).strip()
        if name == "metal" and not self.scope:  # the code is in metal already
            out.append(self.declarations(tokens, opening + 1, end, "namespace"))
            return end + 1
        self.scope.append(name)
        out.append(text_of(tokens[i:opening + 1]) + self.declarations(tokens, opening + 1, end, "namespace")
                   + text_of(tokens[end:end + 1]))
        self.scope.pop()
        return end + 1

    def instance(self, tokens, i, out):
        """template [[host_name("x")]] kernel void k<4, float>(...);"""
        end = statement_end(tokens, i)
        rest, attributes = take_attributes(tokens[i + 1:end])
        host = next((argument for name, argument in attributes if name.text == "host_name"), None)
        rest = words(rest)
        if not any(t.text == "kernel" for t in rest) and not any(n.text == "kernel" for n, _ in attributes):
            out.append(text_of(tokens[i:end + 1]))
            return end + 1
        at = next((k for k, t in enumerate(rest) if t.text in self.kernels), None)
        if at is None:
            raise Refused(tokens[i], "kernel instance: no kernel of this name was defined before")
        arguments = ""
        if rest[at + 1].text == "<":
            close = angle_close(rest, at + 1)
            arguments = self.code(rest[at + 1:close + 1]).strip()
        name = rest[at].text
        host = "".join(re.findall(r'"([^"]*)"', host)) if host else name
        self.instances.append((host, name, arguments))
        out.append("\n" * text_of(tokens[i:end + 1]).count("\n"))
        return end + 1

    def declaration(self, tokens, i, end, inside, out):
        """A function, a type or a variable: what ends it and its first round brackets tell which."""
        start = i
        while tokens[i].text == "template":
            close = angle_close(tokens, i + 1, certain=True)
            if close < 0:
                raise Refused(tokens[i], "a template without parameters")
            i = close + 1
        parameters = type_word = None
        initialised = False
        j = i
        while j < end and tokens[j].text != ";":
            text = tokens[j].text
            if text == "operator" and parameters is None:
                j += 1
                j = j + 2 if tokens[j].text == "(" else j
                while tokens[j].text != "(":
                    j += 1
                continue
            if text == "(":
                close = close_of(tokens, j)
                if parameters is None and not initialised and tokens[j - 1].text not in NO_FUNCTION:
                    parameters = (j, close)
                j = close
            elif text == "[":
                j = close_of(tokens, j)
            elif text == "<" and tokens[j - 1].kind == "name" and not initialised:
                j = max(j, angle_close(tokens, j))
            elif text == "=" and parameters is None:
                initialised = True
            elif text in ("struct", "class", "enum", "union") and parameters is None and not initialised:
                type_word = type_word or text
            elif text == ":" and parameters is not None:
                j = self.after_initialisers(tokens, j) - 1
            elif text == "{":
                if not initialised and (parameters is not None or type_word):
                    break
                j = close_of(tokens, j)
            j += 1
        if j >= end or tokens[j].text == ";":
            self.variable(tokens[start:j + 1], inside, parameters is not None, out)
            return j + 1
        close = close_of(tokens, j)
        if parameters is None:
            return self.type(tokens, start, j, close, type_word, out)
        self.function(tokens, start, i, parameters, j, close, inside, out)
        return close + 1

    def after_initialisers(self, tokens, j):
        """The index of a constructor's body, after ': a(1), b{2}'."""
        j += 1
        while True:
            while tokens[j].text not in ("(", "{"):
                j += 1
            j = close_of(tokens, j) + 1
            if tokens[j].text != ",":
                return j
            j += 1

    def type(self, tokens, start, opening, close, type_word, out):
        end = statement_end(tokens, close + 1)
        name = next((t.text for t in reversed(tokens[start:opening]) if t.kind == "name"), "")
        if type_word == "enum":
            read_enumerators(tokens[opening + 1:close], self.enumerators)
        self.scope.append(name)
        self.members.append([])
        body = self.code(tokens[opening + 1:close]) if type_word == "enum" else \
            self.declarations(tokens, opening + 1, close, "struct")
        self.scope.pop()
        members = self.members.pop()
        self.member_names.update(members)
        if words(tokens[start:opening])[-1].text == type_word and words(tokens[close + 1:end]) == []:
            self.members[-1] += members  # of an anonymous type
        else:
            body += "".join(f" MSL_MEMBER({member}, {self.lanes_of(member)})" for member in members)
            self.members[-1] += [t.text for t in words(tokens[close + 1:end]) if self.lanes_of(t.text)]
        out.append(self.code(tokens[start:opening + 1]) + body + self.code(tokens[close:end + 1]))
        return end + 1

    def variable(self, tokens, inside, is_function, out):
        plain, attributes = take_attributes(tokens)
        names = [t.text for t in words(plain) if t.kind == "name"]
        lead = tokens[0].space
        if inside == "struct" and not is_function and names[:1] not in (["typedef"], ["using"], ["friend"], ["static"]):
            counted = words(plain)
            ends = (";", ",", "=", "[", "{")
            self.members[-1] += [t.text for t, after in zip(counted, counted[1:])
                                 if t.kind == "name" and after.text in ends and self.lanes_of(t.text)]
        constant_number = [(name, a) for name, a in attributes if name.text == "function_constant"]
        if inside == "namespace" and constant_number:
            used = [t for t in words(plain) if t.text not in ("constant", "const", "constexpr", "static", ";")]
            name, kind = used[-1].text, text_of(used[:-1]).strip()
            number = constant_number[0][1]
            self.constants.append((name, kind, self.enumerators.get(number, number)))
            out.append(f'{lead}extern "C" {{ __constant__ {kind} {name}; __constant__ bool {name}_msl_defined; }}'
                       if self.cuda else f"{lead}static {kind} {name}; static bool {name}_msl_defined;")
            return
        if inside == "namespace" and "constant" in names and not is_function and names[0] not in ("typedef", "using",
                                                                                                   "template"):
            out.append(self.program_constant(plain, lead))
            return
        text = self.code(plain)
        declares = self.cuda and is_function and names and names[0] not in ("typedef", "using", "template", "friend",
                                                                           "static_assert")
        out.append(self.lead(text, "__device__ ") if declares else text)

    def program_constant(self, tokens, lead):
        """constant float table[3] = {...}; or a value computed from function constants, which is no value yet."""
        equals = next((k for k, t in enumerate(tokens) if t.text in ("=", "{")), None)
        if equals is None:
            raise Refused(tokens[0], "program scope: a constant needs a value or [[function_constant(n)]]")
        kept = ("constant", "const", "constexpr", "static", "")
        declared = [t for t in tokens[:equals] if t.text not in kept and t.kind != "line"]
        value = self.code(tokens[equals:-1])
        changing = {c[0] for c in self.constants} | self.derived
        if any(t.text in changing for t in tokens[equals:]):
            name, kind = declared[-1].text, text_of(declared[:-1]).strip()
            self.derived.add(name)
            self.note(name, [], tokens[equals:])
            where = "__device__ " if self.cuda else ""
            return (f"{lead}static {where}const struct {{ typedef {kind} msl_value; {where}operator {kind}() const "
                    f"{{ return {value.strip().lstrip('=')}; }} }} {name}{{}};")
        is_constexpr = any(t.text == "constexpr" for t in tokens[:equals]) and declared[0].text in SCALARS
        static = "static constexpr" if is_constexpr else "static __constant__ const" if self.cuda else "static const"
        return f"{lead}{static} {text_of(declared).strip()}{value};"

    def function(self, tokens, start, i, parameters, opening, close, inside, out):
        head, attributes = take_attributes(tokens[i:parameters[0]])
        is_kernel = any(t.text == "kernel" for t in head) or any(n.text == "kernel" for n, _ in attributes)
        name = next((t.text for t in reversed(head) if t.kind == "name"), "")
        after = [t for t in tokens[parameters[1] + 1:opening] if t.text not in SPACES]
        signature = (*self.scope, *self.spaceless(tokens[start:parameters[1]]), any(t.text == "const" for t in after))
        body = self.spaceless(after + tokens[opening:close])
        if self.seen.setdefault(signature, body) != body:
            raise Refused(head[-1], f"overloads: those of {name} differ in address spaces, and in what they do")
        if self.seen[signature] is not body:  # a twin for another address space: here they are one
            out.append("\n" * text_of(tokens[start:close + 1]).count("\n"))
            return
        split_parameters = [take_attributes(p) for p in split(tokens[parameters[0] + 1:parameters[1]])]
        if is_kernel:
            self.kernels[name] = read_kernel(self, name, head, split_parameters, attributes, i > start)
        self.note(name, head, tokens[parameters[1]:close])
        if is_kernel:
            head = [Token(t.space, kernel_name(name), t.kind, t.place) if t.text == name else t for t in head]
        head_text = self.code([t for t in head if t.text != "kernel"])
        before = ("static " if is_kernel else "") + ("__device__ " if self.cuda else "")
        head_text = self.code(tokens[start:i]) + (self.lead(head_text, before) if before else head_text)
        head_text = self.keep_lines(head_text, tokens[start:parameters[0]])
        passed = [self.code(p) for p, _ in split_parameters]
        if is_kernel:
            passed.insert(0, "const ::msl::group &msl_group")
        given = self.keep_lines(", ".join(passed), tokens[parameters[0] + 1:parameters[1] + 1])
        text = f"{head_text}{text_of(tokens[parameters[0]:parameters[0] + 1])}{given}){self.code(after)}"
        declared = self.variables
        out.append(text + self.code(tokens[opening:close + 1], body=True, in_kernel=is_kernel))
        if self.variables > declared:
            self.with_threadgroup_memory.add(name)

    def spaceless(self, tokens):
        """The words as they are in C++, where constant is const and the other address spaces are nothing."""
        dropped = SPACES - {"constant"}
        texts = ["const" if t.text == "constant" else t.text for t in words(tokens) if t.text not in dropped]
        return tuple(t for k, t in enumerate(texts) if t != "const" or texts[k - 1:k] != ["const"])

    def keep_lines(self, text, tokens):
        """The text after as many new lines as it lost of those tokens'."""
        return "\n" * max(0, text_of(tokens).count("\n") - text.count("\n")) + text

    def note(self, name, head, body):
        used = {t.text: t for t in reversed(body) if t.kind == "name"}
        self.tested |= {body[k + 2].text for k, t in enumerate(body[:-2]) if t.text == "is_function_constant_defined"}
        self.uses.setdefault(name, set()).update(used)
        self.places = {**used, **self.places}
        self.defined.setdefault(name, next((t for t in head if t.text == name), None))

    def lead(self, text, word):
        body = text.lstrip()
        return text[:len(text) - len(body)] + word + body

    # ---- code ----

    def code(self, tokens, body=False, in_kernel=False):
        tokens, _ = take_attributes(tokens)
        out, i = [], 0
        while i < len(tokens):
            token = tokens[i]
            if token.kind == "line":
                out.append(self.directive(token))
            elif token.kind == "number":
                out.append(token.space + self.number(token.text))
            elif body and self.unsupported(tokens, i):
                raise Refused(token, f"not in the subset: {UNSUPPORTED[token.text]} ({token.text})")
            elif token.text == "threadgroup" and body and self.threadgroup_declaration(tokens, i):
                i = self.threadgroup_variables(tokens, i, in_kernel, out)
                continue
            elif token.text in self.kernels and [t.text for t in tokens[max(0, i - 2):i]] == ["decltype", "("]:
                out.append(token.space + kernel_name(token.text))
            elif token.kind == "name" and token.text in SPACES:
                near = {t.text for t in tokens[max(0, i - 1):i + 2]}
                out.append(token.space + ("const" if token.text == "constant" and "const" not in near else ""))
            elif token.text in (".", "->") and self.swizzle(tokens, i):
                i = self.swizzles(tokens, i, out)
                continue
            else:
                out.append(token.space + token.text)
            i += 1
        return "".join(out)

    def unsupported(self, tokens, i):
        """Whether tokens[i] names a type outside of the subset; a variable may have such a name."""
        following = tokens[i + 1] if i + 1 < len(tokens) else tokens[i]
        return tokens[i].text in UNSUPPORTED and (following.text == "<" or following.kind == "name")

    def number(self, text):
        """0.5 is a float in Metal; 0.5h a half."""
        if re.match(r"0[xX]", text):
            return text + "f" if re.search(r"[pP][+-]?\d+$", text) else text
        match = re.fullmatch(r"([\d.']+(?:[eE][+-]?\d+)?)(h|H|bf|BF)", text)
        if match:
            value = match.group(1) if re.search("[.eE]", match.group(1)) else match.group(1) + ".0"
            return f"::metal::{'half' if match.group(2) in 'hH' else 'bfloat'}({value}f)"
        return text + "f" if re.fullmatch(r"(\d[\d']*\.[\d']*|\.\d[\d']*)([eE][+-]?\d+)?|\d[\d']*[eE][+-]?\d+",
                                          text) else text

    def swizzles(self, tokens, i, out):
        """v.xyz.yx and what else of v follows: lvalues where the whole is assigned to. The index behind it."""
        end, parts = i, []
        while end + 1 < len(tokens):
            if tokens[end].text in (".", "->") and self.swizzle(tokens, end):
                last = end
            elif tokens[end].text == "[":
                last = close_of(tokens, end) - 1
            elif tokens[end].text != "." or len(tokens[end + 1].text) != 1 or \
                    end + 2 < len(tokens) and tokens[end + 2].text == "(":
                break
            else:
                last = end
            parts.append(tokens[end:last + 2])
            end = last + 2
        shift = text_of(tokens[end:end + 2]).strip() == ">>="  # two tokens, for templates' sake
        assigned = shift or end < len(tokens) and tokens[end].text in ASSIGNMENTS
        of_vector = False
        for part in parts:
            letter, lanes = part[1].text, self.lanes_of(part[1].text)
            if part[0].text == "[":
                out.append(self.code(part))
            elif lanes:
                call = "refer" if assigned else "lanes"
                out.append(f"{part[0].space}{part[0].text}{call}(::msl::lanes<{lanes}>{{}})")
            elif assigned and of_vector and any(letter in known for known in COMPONENTS):
                out.append(f"[{next(known.index(letter) for known in COMPONENTS if letter in known)}]")
            else:
                out.append(text_of(part))
            of_vector = bool(lanes) and part[1].text not in self.member_names
        return end

    def swizzle(self, tokens, i):
        """'0, 1' for .xy at i; None for another member."""
        if i + 1 >= len(tokens) or tokens[i + 1].kind != "name":
            return None
        if i + 2 < len(tokens) and tokens[i + 2].text == "(":
            return None
        return self.lanes_of(tokens[i + 1].text)

    def lanes_of(self, name):
        if 2 <= len(name) <= 4:
            for letters in COMPONENTS:
                if all(c in letters for c in name):
                    return ", ".join(str(letters.index(c)) for c in name)
        return None

    def threadgroup_declaration(self, tokens, i):
        """Whether the 'threadgroup' at i begins a declaration of variables, not of a pointer."""
        k = i - 1
        while k >= 0 and (tokens[k].kind in ("line", "space") or tokens[k].text in ("static", "const")):
            k -= 1
        if k >= 0 and tokens[k].text not in (";", "{", "}", ":"):
            return False
        for token in tokens[i:]:
            if token.text in ("*", "&", "("):
                return False
            if token.text in (";", "=", "["):
                return True
        return False

    def threadgroup_variables(self, tokens, i, in_kernel, out):
        """threadgroup float a[4], b; : one reference each, with a number by which the runtime knows it."""
        if not in_kernel:
            raise Refused(tokens[i], "threadgroup variable: only in a kernel's body")
        end = statement_end(tokens, i)
        rest = [t for t in tokens[i + 1:end] if t.kind != "line"]
        name_at = 0  # the first declared name: the last name before '[', ',' or the end
        for k, token in enumerate(rest):
            if token.text in ("[", ",", "="):
                break
            if token.text == "<":
                close = angle_close(rest, k)
                if close > 0:
                    name_at = close + 1
            if token.kind == "name":
                name_at = k if k >= name_at else name_at
        kind = self.code([t for t in rest[:name_at] if t.text not in ("const", "static")]).strip()
        lines = text_of(tokens[i:end + 1]).count("\n")
        texts = []
        for part in split(rest[name_at:], angles=False):
            if any(t.text in ("=", "{") for t in part):
                raise Refused(part[0], f"threadgroup variable: {part[0].text} has an initialiser")
            name, dimensions = part[0].text, self.code(part[1:])
            self.variables += 1
            if self.variables >= MAX_VARIABLES:
                raise Refused(part[0], f"more than {MAX_VARIABLES} threadgroup variables in a file")
            texts.append(f"typedef {kind} msl_type_{self.variables}{dimensions}; msl_type_{self.variables} &{name} ="
                         f" ::msl::threadgroup_variable<msl_type_{self.variables}, {self.variables}>(msl_group);")
        out.append(tokens[i].space + " ".join(texts) + "\n" * (lines - tokens[i].space.count("\n")))
        return end + 1

    # ---- what kernels use ----

    def reaches(self, kernel):
        """All names in a kernel's body and in those of the functions that it may call."""
        found, todo = set(), [kernel]
        while todo:
            for name in self.uses.get(todo.pop(), ()):
                if name not in found:
                    found.add(name)
                    todo.append(name)
        return found

"""What Apple's compiler should refuse, and what is outside of the subset that docs/metal.md lists.

Two readings of one file. Words and shapes of the language (goto, lambdas, pointers without an address space, a
kernel's parameters) are found among the tokens. Everything that needs types is left to clang: the file is rewritten
for include/msl/strict.h, where address spaces are clang's own qualifiers, and only looked at, as C++14. What clang says
comes back with the author's lines and the name of a feature in front.
"""
import os
import re
import subprocess
import tempfile

from .families import check_family
from .signature import POSITIONS, UNSUPPORTED, read_kernel
from .tokens import (SPACES, Refused, angle_close, close_of, split, statement_end, take_attributes,
                     text_of, words)
from .unit import SCALARS, Unit

VECTORS = {f"{packed}{t}{n}" for t in SCALARS for n in "234" for packed in ("", "packed_")}
ATTRIBUTES = POSITIONS | set(UNSUPPORTED) | {
    "buffer", "threadgroup", "function_constant", "host_name", "kernel", "max_total_threads_per_threadgroup", "unused",
    "maybe_unused", "nodiscard", "deprecated", "fallthrough", "clang", "gnu", "always_inline", "noinline", "likely",
    "unlikely"}

# Words of C++ that Metal has not.
FORBIDDEN = {
    "double": "double", "goto": "goto", "virtual": "virtual", "new": "new and delete", "delete": "new and delete",
    "try": "exceptions", "catch": "exceptions", "throw": "exceptions", "dynamic_cast": "dynamic_cast",
    "typeid": "typeid", "register": "storage class", "thread_local": "storage class",
    "asm": "asm", "__asm__": "asm", "__int128": "128-bit integers", "wchar_t": "wide characters",
    "char16_t": "wide characters", "char32_t": "wide characters", "co_await": "coroutines", "co_yield": "coroutines",
    "co_return": "coroutines", "consteval": "C++20", "constinit": "C++20"}
# Before one of these a '[' begins a lambda, and a '(' a cast.
BEFORE_OPERAND = {"(", ",", "=", "{", ";", "}", "return", "?", ":", "&&", "||", "!", "+", "-", "*", "/", "%", "<", ">",
                  "<=", ">=", "==", "!=", "&", "|", "^", "~", "<<", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=",
                  "[", "case", "else", "do"}
FUNCTION_WORDS = {"if", "for", "while", "switch", "return", "sizeof", "alignof", "decltype"}

# What clang says, and the feature's name; the first that fits. None: clang is stricter here than Metal.
MESSAGES = [(re.compile(pattern), feature) for pattern, feature in (
    (r"reinterpret_cast from .* casts away qualifiers", None),  # (device T *)p drops const in Metal
    (r"cannot initialize .* 'bool[234]'.*(int|short|long|char)\d?\b.*ext_vector_type", None),  # of a comparison
    (r"assigning to 'bool[234]'.*ext_vector_type", None),
    (r"cannot (in|de)crement value of type 'u?(char|short|int|long)[234]'", None),  # clang has that in OpenCL only
    (r"illegal vector component name ''([xyzw]+|[rgba]+)''", None),  # of a vector of bool
    (r"cannot convert between vector and non-scalar values .*matrix<", None),  # a product with one in device memory
    (r"no matching conversion for functional-style cast from .*matrix<.* to .*matrix<", None),  # the same
    (r"no viable overloaded operator\[\] for type '.*(matrix|array)<", None),  # one in device or constant memory
    (r"with const-qualified type|read-only variable|const-qualified variable", "write to a constant"),
    (r"c\+\+17|c\+\+1z|c\+\+20|c\+\+2a|-Wc\+\+", "C++17"),
    (r"variable length array|variable-length|-Wvla|dimension.*not.*constant", "variable length array"),
    (r"changes? address space|address.space.* mismatch|different address space|address spaces", "wrong address space"),
    (r"(initialize|assign|convert|pass|cast|binding|value of type|conversion|compar).*(device|threadgroup|constant|"
     r"address_space).*[*&]", "wrong address space"),
    (r"object parameter of type|'this' (object|argument)|qualified with an address space", "wrong address space"),
    (r"read-only|non-const|drops '?const|not assignable", "write to a constant"),
    (r"call to .* is ambiguous", "ambiguous call"),
    (r"undeclared identifier|unknown type name|no member named|no type named|no template named", "unknown name"),
    (r"^(vector constructor|as_type|threadgroup memory|simdgroup_matrix):", ""),
    (r"vector|ext_vector_type", "vector conversion"),
    (r"uninitialized", "uninitialised variable"),
    (r"no matching (member )?function|no viable|too (few|many) arguments|no matching constructor",
     "no such function"))]
# Objects of classes are copied between address spaces in Metal; clang's copy constructors know only one.
COPIES = re.compile(r"no (matching constructor for initialization|viable overloaded '='|viable constructor copying)")
BRACED_VECTOR = re.compile(r"cannot convert initializer list argument to '.*\(vector of")  # f({a, b}) for a vector
COPY_NOTE = re.compile(r"implicit (copy|move) (constructor|assignment operator)\) not viable: .*address space"
                       r"|cannot be used to construct an object in address space")
LINE = re.compile(r"(.*?):(\d+):(\d+): (error|fatal error|note|warning): (.*)")


class Strict(Unit):
    def __init__(self, family, limit, extensions):
        super().__init__()
        self.family, self.limit = family, limit
        self.extensions = extensions  # C++17 is taken, as by Apple's compiler with a warning
        self.found = []       # (place, message)
        self.aliases = set()  # names that may stand for vector types
        self.method_spaces = set()
        self.used = ["0"]     # by scope: the constant that has the bytes of threadgroup memory so far
        self.depth_names = 0

    def refuse(self, token, message):
        self.find(token.place if token else None, message)

    def find(self, place, message):
        if not (self.extensions and message.startswith("C++17")):
            self.found.append((place, message))

    # ---- among the tokens ----

    def scan(self, tokens):
        tokens = words(tokens)
        for i, token in enumerate(tokens):
            following = tokens[i + 1].text if i + 1 < len(tokens) else ""
            previous = tokens[i - 1].text if i > 0 else ";"
            if token.text in FORBIDDEN and previous not in (".", "->"):
                self.refuse(token, f"{FORBIDDEN[token.text]}: '{token.text}' is not in Metal")
            elif token.text in ("typedef", "using"):
                self.alias(tokens, i)
            elif token.text in ("typename", "class") and following.isidentifier() and previous in ("<", ","):
                self.aliases.add(following)
            else:
                self.scan_shape(tokens, i, previous, following)

    def scan_shape(self, tokens, i, previous, following):
        token = tokens[i]
        if token.text == "long" and following == "long" or \
                token.kind == "number" and re.search("(ll|LL)[uU]?$", token.text):
            self.refuse(token, "long long: integers have at most 64 bits, which is long")
        elif token.kind == "number" and re.search("[^fF][lL]$", token.text) and re.search("[.eE]", token.text) and \
                token.text[:2] not in ("0x", "0X"):
            self.refuse(token, "double: a literal of type long double is not in Metal")
        elif token.text in ("vertex", "fragment") and previous in (";", "}") and following.isidentifier():
            self.refuse(token, f"not in the subset: {UNSUPPORTED[token.text]}")
        elif token.text == "if" and following == "constexpr":
            self.refuse(token, "C++17: if constexpr")
        elif token.text == "auto" and re.match(r"&{0,2}\[", text_of(tokens[i + 1:i + 4]).replace(" ", "")):
            self.refuse(token, "C++17: structured binding")
        elif token.text == "std" and following == "::":
            self.refuse(token, "C++ standard library: Metal has only its own")
        elif token.text == "[" and following == "[" and not tokens[i + 1].space and previous not in ("operator",):
            self.attributes(tokens, i)
        elif token.text == "[" and previous in BEFORE_OPERAND:
            close = close_of(tokens, i)
            if previous != "[" and tokens[close + 1].text in ("(", "{", "mutable"):
                self.refuse(token, "lambda: not in the subset")
        elif token.text == "(" and following == "*":
            self.function_pointer(tokens, i)
        elif token.text in ("*", "&"):
            self.pointer(tokens, i)

    def alias(self, tokens, i):
        end = next((k for k in range(i, len(tokens)) if tokens[k].text in (";", "{")), i)
        if end < i + 2:
            return
        if tokens[i].text == "using" and tokens[i + 1].text != "namespace":
            self.aliases.add(tokens[i + 1].text)
        elif tokens[i].text == "typedef" and tokens[end].text == ";":
            self.aliases.add(tokens[end - 1].text)

    def attributes(self, tokens, i):
        for name, _ in take_attributes(tokens[i:close_of(tokens, i) + 1])[1]:
            if name.text not in ATTRIBUTES:
                self.refuse(name, f"unknown attribute: {name.text}")

    def function_pointer(self, tokens, i):
        k = i + 2
        while k < len(tokens) and (tokens[k].text in ("*", "const") or tokens[k].kind == "name"):
            k += 1
        is_type = i > 0 and (tokens[i - 1].kind == "name" or tokens[i - 1].text in (">", "*")) \
            and tokens[i - 1].text not in FUNCTION_WORDS
        if is_type and k + 1 < len(tokens) and tokens[k].text == ")" and tokens[k + 1].text == "(" and \
                not self.is_known_function(tokens, i):
            self.refuse(tokens[i], "function pointer: not in the subset")

    def is_known_function(self, tokens, i):
        """A function as a template's argument is known to the compiler, and allowed; so is the name of its type."""
        start = next((k for k in range(i, -1, -1) if tokens[k].text in (";", "{", "}")), -1) + 1
        return tokens[start].text in ("typedef", "using") or \
            tokens[start].text == "template" and angle_close(tokens, start + 1, certain=True) > i

    def pointer(self, tokens, i):
        """A '*' or '&' of a cast, a template argument or a local declaration whose type names no address space."""
        k = i - 1
        while k >= 0 and (tokens[k].kind == "name" or tokens[k].text in ("::", "*", "&", ">")):
            if tokens[k].text in FUNCTION_WORDS or tokens[k].text in ("case", "else", "do", "operator", "new"):
                break
            if tokens[k].text == ">":
                opening = self.angle_open(tokens, k)
                if opening < 0:
                    return
                k = opening
            k -= 1
        kind = tokens[k + 1:i]
        following = tokens[i + 1] if i + 1 < len(tokens) else tokens[i]
        boundary = tokens[k].text if k >= 0 else ";"
        if not kind or kind[0].kind != "name" or any(t.text in SPACES or t.text in ("auto", "=") for t in kind):
            return
        after = tokens[i + 2].text if i + 2 < len(tokens) else ""
        closed = following.text in (")", ",", ">") and boundary in ("(", "<", ",")
        declared = following.kind == "name" and (
            boundary in (";", "}", "{") and after in ("=", ";", "[") and self.is_block(tokens, k)
            or boundary == "(" and tokens[k - 1].text == "for" and after in ("=", ":"))
        if closed or declared:
            self.missing_space(tokens[i])

    def missing_space(self, token):
        what = "pointer" if token.text == "*" else "reference"
        self.refuse(token, f"missing address space: this {what} says none of device, constant, threadgroup and thread")

    def angle_open(self, tokens, k):
        depth = 0
        for j in range(k, max(-1, k - 60), -1):
            if tokens[j].text in (";", "{", "}"):
                return -1
            depth += {">": 1, "<": -1}.get(tokens[j].text, 0)
            if depth == 0:
                return j
        return -1

    def is_block(self, tokens, k):
        """Whether the '{' at k opens statements or members, not a list of values."""
        while k > 0 and tokens[k].text == "{" and tokens[k - 1].text == "{":
            k -= 1
        return tokens[k].text != "{" or tokens[k - 1].text in (")", ";", "}", "else", "do", "const") \
            or k > 1 and tokens[k - 2].text in ("struct", "class", "union", "namespace")

    def parameter_spaces(self, parameter):
        """Of a function's parameter: each '*' or '&' before its default value needs an address space."""
        depth, spaced = 0, any(t.text in SPACES for t in parameter)
        for token in parameter:
            depth += {"<": 1, ">": -1, "(": 1, ")": -1}.get(token.text, 0)
            if token.text == "=":
                return
            if token.text in ("*", "&", "&&") and not spaced:
                self.missing_space(token)
                return

    # ---- rewriting for clang ----

    def function(self, tokens, start, i, parameters, opening, close, inside, out):
        head, attributes = take_attributes(tokens[i:parameters[0]])
        is_kernel = any(t.text == "kernel" for t in head) or any(n.text == "kernel" for n, _ in attributes)
        name = next((t.text for t in reversed(head) if t.kind == "name"), "")
        given = [take_attributes(p) for p in split(tokens[parameters[0] + 1:parameters[1]])]
        if name == "main":
            self.refuse(head[-1], "main: no function of Metal can have this name")
        if is_kernel:
            self.kernels[name] = read_kernel(self, name, head, given, attributes, i > start)
        else:
            for parameter, _ in given:
                self.parameter_spaces(words(parameter))
            self.result_space(words(head))
        after = tokens[parameters[1] + 1:opening]
        spaces = {t.text for t in after if t.text in SPACES}
        self.method_spaces |= spaces
        signature = (*self.scope, *self.spaceless(tokens[start:parameters[1]]), "const" in {t.text for t in after})
        if spaces and signature in self.seen:  # a method's twin for another address space
            out.append("\n" * text_of(tokens[start:close + 1]).count("\n"))
            return
        self.seen[signature] = ()
        self.note(name, head, tokens[parameters[1]:close])
        self.statics(words(tokens[opening:close]))
        self.used = ["0"]
        kept = [t for t in head if t.text != "kernel"]
        text = tokens[start].space + self.code(kept).lstrip() if i == start else self.code(tokens[start:i] + kept)
        text += text_of(tokens[parameters[0]:parameters[0] + 1]) + ", ".join(self.parameter(p) for p, _ in given) + ")"
        text += self.code([t for t in after if t.text not in SPACES])
        out.append(text + self.code(tokens[opening:close + 1], body=True, in_kernel=is_kernel))

    def parameter(self, tokens):
        """constant float a[3] is a pointer; clang allows no address space on a parameter that it takes for an array."""
        tokens = [t for t in tokens if t.text]
        at = next((k for k, t in enumerate(tokens) if t.text in ("[", "(")), None)
        if at is None or tokens[at].text == "(" or not any(t.text in SPACES for t in tokens):
            return self.code(tokens)
        named = at > 1 and tokens[at - 1].kind == "name" and tokens[at - 2].text not in SPACES | {"const"}
        name = at - 1 if named else at
        return f"{self.code(tokens[:name])} *{text_of(tokens[name:at])}"

    def result_space(self, head):
        if any(t.text == "operator" for t in head) or any(t.text in SPACES for t in head):
            return
        for token in head:
            if token.text in ("*", "&"):
                self.missing_space(token)

    def statics(self, body):
        for i, token in enumerate(body):
            if token.text != "static":
                continue
            end = next((k for k in range(i, len(body)) if body[k].text in (";", "=", "{", "(")), i)
            if not {t.text for t in body[i:end]} & {"constant", "threadgroup"}:
                self.refuse(token, "static local: a function's variable is static only in the constant address space")

    def variable(self, tokens, inside, is_function, out):
        plain, attributes = take_attributes(tokens)
        counted = words(plain)
        names = [t.text for t in counted if t.kind == "name"]
        lead = tokens[0].space
        if not names or names[0] in ("using", "typedef", "template", "static_assert", "friend") or \
                names[0] in ("struct", "class", "enum", "union") and not any(t.text == "=" for t in counted):
            if names[:1] == ["typedef"]:
                self.declarator_space(counted)
            out.append(self.code(plain, body=names[:1] == ["static_assert"]))
            return
        if is_function:
            self.prototype(counted)
        elif inside == "struct":
            self.member(counted)
        else:
            self.global_variable(counted, attributes)
        if any(n.text == "function_constant" for n, _ in attributes):
            plain = [t for t in plain if t.text not in ("const", "constexpr", "static")]
            self.constants.append((words(plain)[-2].text, "", None))
            lead += "extern "
        elif inside == "namespace" and "constant" in names and not is_function and "static" not in names and \
                names[0] != "template" and names[0] != "extern":
            lead += "static "
        out.append(lead + self.code(plain, body=not is_function).lstrip() if plain else "")

    def prototype(self, tokens):
        opening = next((i for i, t in enumerate(tokens) if t.text == "("), None)
        if opening is None or any(t.text == "operator" for t in tokens):
            return
        self.result_space(tokens[:opening])
        for parameter in split(tokens[opening + 1:close_of(tokens, opening)]):
            self.parameter_spaces(parameter)

    def namespace(self, tokens, i, out):
        """As it stands; the base class takes namespace metal for its own."""
        opening = next(k for k in range(i, len(tokens)) if tokens[k].text in ("{", ";"))
        if tokens[opening].text == ";":
            out.append(text_of(tokens[i:opening + 1]))
            return opening + 1
        end = close_of(tokens, opening)
        self.scope.append(text_of(tokens[i + 1:opening]).strip())
        inner = self.declarations(tokens, opening + 1, end, "namespace")
        self.scope.pop()
        out.append(text_of(tokens[i:opening + 1]) + inner + text_of(tokens[end:end + 1]))
        return end + 1

    def member(self, tokens):
        names = [t.text for t in tokens if t.kind == "name"]
        if "static" in names and "constant" not in names:
            self.refuse(tokens[0], "program scope: a static member lives in the constant address space")
        self.declarator_space(tokens)

    def declarator_space(self, tokens):
        for token in tokens:
            if token.text in ("=", "{", "("):
                return
            if token.text in ("*", "&") and not any(t.text in SPACES for t in tokens):
                self.missing_space(token)
                return

    def global_variable(self, tokens, attributes):
        names = [t.text for t in tokens if t.kind == "name"]
        end = next((i for i, t in enumerate(tokens) if t.text in ("=", "{")), len(tokens))
        if "inline" in names:
            self.refuse(tokens[0], "C++17: inline variable")
        if "threadgroup" in [t.text for t in tokens[:end]] and not any(t.text == "*" for t in tokens):
            self.refuse(tokens[0], "threadgroup variable: only in a kernel's body")
        elif "constant" not in [t.text for t in tokens[:end]]:
            self.refuse(tokens[0], "program scope: a variable outside of functions lives in the constant address space")
        elif end == len(tokens) and not any(n.text == "function_constant" for n, _ in attributes):
            self.refuse(tokens[0], "program scope: a constant needs a value or [[function_constant(n)]]")

    def instance(self, tokens, i, out):
        end = statement_end(tokens, i)
        rest, attributes = take_attributes(tokens[i + 1:end + 1])
        is_kernel = any(t.text == "kernel" for t in rest) or any(n.text == "kernel" for n, _ in attributes)
        name = next((t.text for t in rest if t.text in self.kernels), None)
        if name is None and is_kernel:
            self.refuse(tokens[i], "kernel instance: no kernel of this name was defined before")
        host = next((given for n, given in attributes if n.text == "host_name"), None)
        self.instances.append((host or name, name, ""))
        rest = [t for t in rest if t.text != "kernel" or name is None]
        opening = next((k for k, t in enumerate(rest) if t.text == "(" and close_of(rest, k) == len(rest) - 2), None)
        if opening is None:
            text = self.code(rest)
        else:
            parameters = ", ".join(self.parameter(p) for p in split(rest[opening + 1:-2]))
            text = f"{self.code(rest[:opening + 1])}{parameters});"
        out.append(text_of(tokens[i:i + 1]) + text)
        return end + 1

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
                self.refuse(token, f"not in the subset: {UNSUPPORTED[token.text]} ({token.text})")
                out.append(token.space + token.text)
            elif token.text == "threadgroup" and body and self.threadgroup_declaration(tokens, i):
                i = self.threadgroup_variables(tokens, i, in_kernel, out)
                continue
            elif token.text in ("{", "}") and token.kind == "sign":
                self.used = self.used + self.used[-1:] if token.text == "{" else self.used[:-1] or ["0"]
                out.append(token.space + token.text)
            elif token.text == "(" and body:
                i = self.cast(tokens, i, out)
                continue
            elif token.text == "static_cast" and tokens[i + 1].text == "<" and self.is_vector(tokens[i + 2].text):
                out.append(f"{token.space}msl_make")  # a conversion, which clang does not know for its vectors
                close = angle_close(tokens, i + 1, certain=True)
                out.append(text_of(tokens[i + 1:close + 1]))
                i = close
            elif token.kind == "name" and self.is_vector(token.text):
                i = self.construction(tokens, i, body, out)
                continue
            else:
                out.append(token.space + token.text)
            i += 1
        return "".join(out)

    def lanes_of(self, name):
        return None  # clang's own vectors have swizzles

    def is_vector(self, name):
        return name in VECTORS or name in self.aliases or name == "vec"

    def type_end(self, tokens, i):
        """The index after a type's name at i, with its template arguments."""
        if i + 1 < len(tokens) and tokens[i + 1].text == "<":
            close = angle_close(tokens, i + 1)
            return close + 1 if close > 0 else i + 1
        return i + 1

    def construction(self, tokens, i, body, out):
        """float4(a, b) and the variable float4 v(a, b): clang's vectors know neither."""
        end = self.type_end(tokens, i)
        kind, previous = text_of(tokens[i:end]).strip(), tokens[i - 1].text if i > 0 else ""
        vector = tokens[i].text in VECTORS or tokens[i].text == "vec"
        called = end < len(tokens) and tokens[end].text == "(" and \
            previous not in (".", "->", "operator", "~", "struct")
        if called and (body or tokens[i].text in VECTORS):
            out.append(f"{tokens[i].space}msl_make<{kind}>")
        elif body and vector and end + 1 < len(tokens) and tokens[end].kind == "name" and tokens[end + 1].text == "(":
            out.append(f"{tokens[i].space}{kind}{text_of(tokens[end:end + 1])} = msl_make<{kind}>")
            return end + 1
        else:
            out.append(text_of(tokens[i:i + 1]))
            return i + 1
        return end

    def cast(self, tokens, i, out):
        """(float4)x converts; (device float4 *)p must not change the address space."""
        close = close_of(tokens, i)
        inner = words(tokens[i + 1:close])
        previous = tokens[i - 1] if i > 0 else tokens[i]
        is_cast = (previous.kind != "name" or previous.text == "return") and previous.text not in (")", "]", ">") and \
            inner and inner[0].kind == "name" and close + 1 < len(tokens) and self.begins_operand(tokens[close + 1])
        if is_cast and inner[-1].text == "*" and any(t.text in SPACES for t in inner):
            opening = f"reinterpret_cast<{text_of(tokens[i + 1:close])}>("
        elif is_cast and self.is_vector(inner[0].text) and self.type_end(inner, 0) == len(inner):
            opening = f"msl_make<{text_of(inner)}>("
        else:
            out.append(text_of(tokens[i:i + 1]))
            return i + 1
        end = self.operand_end(tokens, close + 1)
        out.append(tokens[i].space + opening + self.code(tokens[close + 1:end], body=True) + ")")
        return end

    def begins_operand(self, token):
        return token.kind in ("name", "number") or token.text in ("(", "-", "+", "!", "~", "&", "*")

    def operand_end(self, tokens, i):
        while tokens[i].text in ("-", "+", "!", "~", "*", "&", "++", "--"):
            i += 1
        if tokens[i].text == "(":
            inner, i = words(tokens[i + 1:close_of(tokens, i)]), close_of(tokens, i) + 1
            is_type = inner and all(t.kind == "name" or t.text in ("*", "::", "<", ">") for t in inner) and \
                (inner[-1].text == "*" or inner[0].text in SCALARS or inner[0].text in VECTORS)
            if is_type and i < len(tokens) and (tokens[i].kind in ("name", "number") or tokens[i].text == "("):
                return self.operand_end(tokens, i)
        else:
            i += 1
            while i < len(tokens) and (tokens[i].text == "::" or tokens[i - 1].text == "::"):
                i += 1
            if i < len(tokens) and tokens[i].text == "<":
                close = angle_close(tokens, i)
                i = close + 1 if close > 0 and tokens[close + 1].text in ("(", "::", "{") else i
        while i < len(tokens):
            if tokens[i].text in ("(", "["):
                i = close_of(tokens, i) + 1
            elif tokens[i].text in (".", "->"):
                i += 2
            elif tokens[i].text in ("++", "--"):
                i += 1
            else:
                break
        return i

    def threadgroup_variables(self, tokens, i, in_kernel, out):
        if not in_kernel:
            self.refuse(tokens[i], "threadgroup variable: only in a kernel's body")
        end = statement_end(tokens, i)
        names = []
        for part in split(words(tokens[i:end]), angles=True):
            stop = next((k for k, t in enumerate(part) if t.text in ("[", "=", "{")), len(part))
            names.append(part[stop - 1].text)
            if any(t.text in ("=", "{") for t in part):
                self.refuse(part[stop - 1], f"threadgroup variable: {part[stop - 1].text} has an initialiser")
        static = "" if i > 0 and tokens[i - 1].text == "static" else "static "
        self.depth_names += 1
        total = f"msl_used_{self.depth_names}"
        bytes_used = " + ".join([self.used[-1]] + [f"(sizeof({n}) + 15) / 16 * 16" for n in names])
        self.used[-1] = total
        out.append(f"{tokens[i].space}{static}{text_of(tokens[i:i + 1]).strip()}{self.code(tokens[i + 1:end + 1])} "
                   f"enum : ulong {{ {total} = {bytes_used} }}; static_assert({total} <= {self.limit}, \"threadgroup "
                   f"memory: more than the {self.limit} bytes of {self.family}\");")
        return end + 1

    # ---- what clang says ----

    def read_messages(self, text, header):
        """Each error with its notes, at the author's line."""
        groups = []
        for line in text.splitlines():
            match = LINE.match(line)
            if match and match.group(4) != "note":
                groups.append([match])
            elif match and groups:
                groups[-1].append(match)
        for group in groups:
            if group[0].group(4) != "warning":
                self.read_message(group, header)

    def read_message(self, group, header):
        first = group[0]
        place = next((m for m in group if not m.group(1).endswith(header)), first)
        message = re.sub(r"static assertion failed( due to requirement '.*')?: ", "", first.group(5))
        for number, space in enumerate(("device", "constant", "threadgroup"), 1):
            message = message.replace(f"__attribute__((address_space({number})))", space)
        if COPIES.search(message) and any(COPY_NOTE.search(m.group(5)) for m in group[1:]):
            return
        if any(BRACED_VECTOR.search(m.group(5)) for m in group[1:]):
            return
        if "object parameter of type" in message and any(re.search(rf"\b{s}\b", message) for s in self.method_spaces):
            return
        for pattern, feature in MESSAGES:
            if pattern.search(message):
                break
        else:
            feature = "type check"
        message = re.sub(r" \[-W.*\]$", "", message)
        if feature is not None:
            at = (place.group(1), int(place.group(2)))
            self.find(at, f"{feature}: {message}" if feature else message)


def run_clang(clang, source, extra):
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    command = [clang, "-x", "c++", "-std=c++14", "-nostdinc", "-nostdinc++", "-fno-exceptions", "-fno-rtti",
               "-ferror-limit=0", "-ffreestanding", "-fno-builtin", "-I", os.path.join(here, "include"),
               "-include", "msl/strict.h", "-flax-vector-conversions=none", "-fno-caret-diagnostics",
               "-fno-color-diagnostics", "-Wno-everything",
               "-Werror=vla", "-Werror=vla-extension", "-Werror=c++17-extensions", "-Werror=c++20-extensions",
               "-Werror=uninitialized", *extra, source]
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def candidates(unit):
    """Functions that may reach themselves, by names alone: overloads and other template arguments look so, too."""
    return [f for f in unit.defined if unit.defined[f] is not None and f in unit.reaches(f)]


def recursion(unit, clang, source):
    """Of the candidates those that do, in compiled code, where each overload has its own symbol."""
    suspects = candidates(unit)
    if not suspects:
        return
    text = run_clang(clang, source, ["-S", "-emit-llvm", "-O0", "-o", "-"]).stdout
    calls, function = {}, None
    for line in text.splitlines():
        match = re.match(r'define .*? @"?([\w.$]+)"?\(', line)
        if match:
            function = match.group(1)
        for callee in re.findall(r'call .*?@"?([\w.$]+)"?\(', line):
            calls.setdefault(function, set()).add(callee)
    for name in suspects:
        for symbol in [s for s in calls if f"{len(name)}{name}" in s]:
            reached, todo = set(), [symbol]
            while todo:
                for callee in calls.get(todo.pop(), ()):
                    if callee not in reached:
                        reached.add(callee)
                        todo.append(callee)
            if symbol in reached:
                unit.refuse(unit.defined[name], f"recursion: {name} may call itself")
                break


def check_strictly(unit, tokens, clang):
    """Everything found, as (place, message), in the order of the lines; unit is a Strict."""
    try:
        unit.scan(tokens)
        text = unit.declarations(tokens, 0, len(tokens), "namespace")
    except Refused as refused:
        unit.refuse(refused.token, refused.message)
        return unit.found
    check_family(unit, unit.family)
    if not unit.kernels and not unit.found:
        unit.refuse(None, "no kernel: the file defines none")
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, "strict.cpp")
        with open(source, "w") as out:
            out.write(text)
        done = run_clang(clang, source, ["-fsyntax-only"])
        unit.read_messages(done.stderr, "strict.h")
        if not unit.found:
            recursion(unit, clang, source)
    first = {}  # of what was found in a line, the most telling: words before types
    for place, message in unit.found:
        first.setdefault(place, message)
    return sorted(first.items(), key=lambda f: (f[0] is not None, f[0] or ("", 0)))

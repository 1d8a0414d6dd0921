"""Tokens of a preprocessed Metal file, each with the place where the author wrote it."""
import re

SPACES = {"device", "constant", "threadgroup", "thread"}

PATTERN = re.compile(
    r'''(?P<line>^[ \t]*\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<char>'(?:\\.|[^'\\\n])*')
      | (?P<number>\.?\d(?:[eEpP][+-]|[\w.'])*)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<sign>\.\.\.|->|::|\+\+|--|<<=|<<|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[^\s\w])''', re.X | re.M)

MARKER = re.compile(r'\s*#\s*(?:line\s+)?(\d+)\s+"((?:\\.|[^"\\])*)"')
CLOSING = {"(": ")", "[": "]", "{": "}"}


class Refused(Exception):
    """Metal code outside the subset: its place and the feature's name."""

    def __init__(self, token, message):
        super().__init__(message)
        self.token = token
        self.message = message


class Token:
    """space is the white space before the text; place is (file, line)."""
    __slots__ = ("space", "text", "kind", "place")

    def __init__(self, space, text, kind, place):
        self.space, self.text, self.kind, self.place = space, text, kind, place

    def __repr__(self):
        return self.text


def tokenize(text, file):
    tokens, end, line = [], 0, 1
    for match in PATTERN.finditer(text):
        space = text[end:match.start()]
        line += space.count("\n")
        token = Token(space, match.group(), match.lastgroup, (file, line))
        end = match.end()
        marker = MARKER.match(token.text) if token.kind == "line" else None
        if marker:  # the next line is this one of that file
            line, file = int(marker.group(1)) - 1, re.sub(r"\\(.)", r"\1", marker.group(2))
            token.text = f'#line {marker.group(1)} "{marker.group(2)}"'
        tokens.append(token)
    tokens.append(Token(text[end:], "", "end", (file, line)))
    return tokens


def text_of(tokens):
    return "".join(t.space + t.text for t in tokens)


def words(tokens):
    """The tokens that count, without line markers."""
    return [t for t in tokens if t.kind != "line" and t.text]


def close_of(tokens, i):
    """The index of the bracket that closes tokens[i]."""
    depth = 0
    for j in range(i, len(tokens)):
        if tokens[j].kind == "sign":
            if tokens[j].text in CLOSING:
                depth += 1
            elif tokens[j].text in CLOSING.values():
                depth -= 1
                if depth == 0:
                    return j
    raise Refused(tokens[i], f"'{tokens[i].text}' is never closed")


def statement_end(tokens, i):
    """The index of the ';' that ends what begins at i."""
    j = i
    while j < len(tokens) and tokens[j].text != ";":
        j = close_of(tokens, j) if tokens[j].text in CLOSING else j
        j += 1
    if j >= len(tokens):
        raise Refused(tokens[i], f"syntax: no ';' ends what begins with '{tokens[i].text}'")
    return j


def angle_close(tokens, i, certain=False):
    """The index of the '>' that closes the '<' at i, or -1 where that is a comparison, unless it certainly is none."""
    depth, j = 0, i
    while j < len(tokens):
        text = tokens[j].text
        if tokens[j].kind == "sign":
            if text == "<" and (j == i or tokens[j - 1].kind == "name"):
                depth += 1
            elif text == ">":
                depth -= 1
                if depth == 0:
                    return j
            elif text in CLOSING and text != "{":
                j = close_of(tokens, j)
            elif text in (";", "{") or text in CLOSING.values() or text in ("&&", "||") and not certain:
                return -1
        j += 1
    return -1


def split(tokens, angles=True):
    """The parts between commas outside of brackets."""
    parts, part, i = [], [], 0
    while i < len(tokens):
        token, end = tokens[i], i
        if token.kind == "sign" and token.text in CLOSING:
            end = close_of(tokens, i)
        elif token.text == "<" and angles:
            end = max(i, angle_close(tokens, i))
        if token.text == "," and token.kind == "sign":
            parts.append(part)
            part = []
        else:
            part += tokens[i:end + 1]
        i = end + 1
    return parts + [part] if part or parts else []


def take_attributes(tokens):
    """Separates [[...]]: (tokens without them, list of (name token, argument text or None))."""
    rest, found, i = [], [], 0
    while i < len(tokens):
        if tokens[i].text == "[" and i + 1 < len(tokens) and tokens[i + 1].text == "[" and not tokens[i + 1].space:
            end = close_of(tokens, i)
            for part in filter(None, split(words(tokens[i + 2:end - 1]), angles=False)):
                argument = text_of(part[2:-1]).strip() if len(part) > 2 and part[1].text == "(" else None
                found.append((part[0], argument))
            if i > 0 and "\n" in tokens[i].space:
                rest.append(Token(tokens[i].space, "", "space", tokens[i].place))
            i = end + 1
        else:
            rest.append(tokens[i])
            i += 1
    return rest, found

"""Why a text is no TOML, in the words of its author.

In: the text, with line ends `\\n`; the sentence and the place with which tomllib gave up. Out: a `Fault`, and
the line that may be put in place of the faulty one, so that what follows can be read as well.

All before the place is valid, so a few tokens suffice to know what is open there: the statement, brackets,
a string. tomllib's sentence says what it expected, the text there what was written instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from n2nspec.diagnostics import quote
from n2nspec.spec.syntax import CLOSING, Fault, broken_escape, expression, glued, odd_character, wrong_value

__all__ = ["explain", "is_broken_header", "line_end", "repaired", "tokens"]

_TOKENS = re.compile(
    r'''
    (?P<comment>\#[^\n]*)
  | (?P<string>"""(?:[^"\\]|\\.|"{1,2}(?!"))*+"{3,5}|\'\'\'(?:[^']|'{1,2}(?!'))*+'{3,5}
      |(?!""")"(?:[^"\\\n]|\\[^\n])*+"|(?!\'\'\')'[^'\n]*+')
  | (?P<broken>"""|\'\'\'|["'])
  | (?P<open>[\[{])
  | (?P<close>[\]}])
  | (?P<line>\n)
    ''',
    re.VERBOSE | re.DOTALL,
)
_KEY = r"""[\w.-]+|"[^"\n]*"|'[^'\n]*'"""
_OF_STRINGS = re.compile(
    r"(Illegal|Found invalid) character|Unescaped|Invalid hex|Escaped|Unterminated|Expected \"'"
)
_STATEMENT = re.compile(rf"""[ \t]*(?:\[\[?[\w."' -]+\]|(?:{_KEY})[ \t]*=)""")
_HEADER = re.compile(r"(\[+)([^\[\]\n]*)(\]*)[ \t]*(?:#[^\n]*)?")
LINES = "a line is [a table], key = value, or # a comment"
ONE_WORD = "a key is one word of a-z, 0-9, _ and -"
LISTS = "the entries of a list stand in [ ]; layers each stand under a header [[encoder]]"
_BARE = re.compile(r"[\w-]+(?:[ \t]*\.[ \t]*[\w-]+)*", re.ASCII)


def tokens(text: str) -> Iterator[re.Match[str]]:
    """Comments, strings, brackets and line ends."""
    return _TOKENS.finditer(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is open at an index: where its statement begins; brackets; a string, closed or not."""

    statement: int
    open: list[int]
    string: re.Match[str] | None = None


def _place(text: str, index: int) -> _Place:
    statement, header = 0, False
    opened: list[int] = []
    for token in tokens(text):
        inside = (
            token.start() <= index if token.lastgroup == "broken" else token.start() < index < token.end()
        )
        if inside and token.lastgroup in ("broken", "string"):
            return _Place(statement=statement, open=opened, string=token)
        if token.start() >= index:
            break
        if token.lastgroup == "open":
            header = header or not text[statement : token.start()].strip()
            opened.append(token.start())
        elif token.lastgroup == "close" and opened:
            opened.pop()
        elif token.lastgroup == "line" and (header or not opened):
            statement, header = token.end(), False
            opened.clear()
    return _Place(statement=statement, open=opened)


def explain(text: str, index: int, sentence: str) -> Fault:
    """The fault behind a refusal of tomllib."""
    place = _place(text, index)
    rest = text[index : line_end(text, index)]
    if place.string is not None and _OF_STRINGS.match(sentence):
        return _in_string(text, index, place.string, sentence)
    if rest.startswith(("//", "/*")):
        return Fault(start=index, end=index + len(rest.rstrip()), message='a comment begins with "#"',
                     help=f"write # {rest[2:].strip().removesuffix('*/').strip()}")  # fmt: skip
    if rest[:1] < " " and rest[:1] not in ("", "\t"):
        return odd_character(text, index)
    if text[place.statement :].lstrip(" \t").startswith("["):
        return _header(text, index, place.statement)
    if "Unclosed" in sentence:
        return _unseparated(text, index, place.open)
    if "after a statement" in sentence:
        return _beyond(text, index, place.statement)
    if "Expected '='" in sentence:
        return _without_value(text, index, place.open)
    if "Invalid value" in sentence:
        return _value(text, index, place.open)
    if "key part" in sentence or "Invalid statement" in sentence:
        return _key(text, index, place.open)
    if "date" in sentence:
        word = re.compile(r"[^\s,\]}#]+").match(text, index)
        end = word.end() if word else index + 1
        return Fault(start=index, end=end, message=f"there is no date or time {text[index:end]}",
                     help=f"if it is text, write {quote(text[index:end])}")  # fmt: skip
    return Fault(start=index, end=index + 1, message=sentence[:1].lower() + sentence[1:],
                 help="see n2nspec explain E102 for what a spec may look like")  # fmt: skip


def is_broken_header(text: str, index: int) -> bool:
    """Whether the statement at an index is a header with a bracket too few or too many."""
    start = _place(text, index).statement
    found = _HEADER.match(text[start : line_end(text, start)].strip())
    return found is not None and len(found[1]) != len(found[3])


def repaired(text: str, index: int, fault: Fault) -> str | None:
    """What to read in place of the line at fault; None when what follows would be guesswork."""
    place = _place(text, index)
    start, end = text.rfind("\n", 0, fault.start) + 1, line_end(text, fault.start)
    if start != place.statement or index > end or fault.help == LINES:
        return None
    if text[start:end].lstrip().startswith("["):
        return fault.help.removeprefix("write ") if fault.help.startswith("write [") else None
    after = _place(text, end)
    if after.open or (after.string is not None and len(after.string[0]) == 3):
        return None
    return ""


def line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end


def _in_string(text: str, index: int, string: re.Match[str], sentence: str) -> Fault:
    if re.match("Unescaped|Invalid hex|Escaped", sentence):
        return broken_escape(text, index, "TOML")
    if string.lastgroup == "string":
        return odd_character(text, index)
    start, mark = string.start(), string[0]
    end = line_end(text, start)
    if len(mark) == 3:
        return Fault(start=start, end=start + 3, message=f"the text that opens with {mark} is not closed",
                     help=f"write {mark} at its end")  # fmt: skip
    help = f"write {mark} at its end; text of several lines stands between {mark * 3}"
    if text[start:end].rstrip().endswith('\\"'):
        help = 'write \\\\ for a backslash: \\" is a quote inside the text'
    return Fault(start=start, end=end, message="text is not closed where its line ends", help=help)


def _header(text: str, index: int, statement: int) -> Fault:
    start = statement + len(text[statement:]) - len(text[statement:].lstrip(" \t"))
    end = line_end(text, start)
    found = _HEADER.match(text, start)
    line = text[start:end].rstrip()
    if found is None or (found.end() < len(text[:end].rstrip()) and found[3]):
        rest = text[index:end].strip()
        message = "the header of a table stands on a line of its own"
        return Fault(start=index, end=index + len(rest), message=message,
                     help="write what follows it on the next line")  # fmt: skip
    double = "[[" in line or "]]" in line
    left, right = ("[[", "]]") if double else ("[", "]")
    name = found[2].partition("#")[0].strip()
    if not name:
        return Fault(start=start, end=start + len(line), message="a header without a name",
                     help="for example [train], or [[encoder]] for a layer")  # fmt: skip
    if "=" in name:
        return Fault(start=start, end=start + len(found[1]), message="a bracket stands before a key",
                     help="remove it")  # fmt: skip
    if (found[1], found[3]) != (left, right):
        message = f"the header of a table stands between {left} and {right}"
        name = name if _BARE.fullmatch(name) or '"' in name else quote(name)
        end = start + len(text[start : found.end()].partition("#")[0].rstrip())
        return Fault(start=start, end=end, message=message, help=f"write {left}{name}{right}")
    at = text.index(name, start)
    points = ".".join(part.strip() for part in name.split(".") if part.strip())
    if _BARE.fullmatch(points):
        return Fault(start=at, end=at + len(name), message="a part of the key is missing beside a point",
                     help=f"write {left}{points}{right}")  # fmt: skip
    return Fault(start=at, end=at + len(name), message=f"{name} is no key: it needs quotes or other letters",
                 help=f"write {left}{quote(name)}{right}")  # fmt: skip


def _unseparated(text: str, index: int, opened: list[int]) -> Fault:
    """Neither a comma nor the closing bracket follows an entry."""
    start = opened[-1]
    bracket = text[start]
    close = CLOSING[bracket]
    character = text[index : index + 1]
    new_line = text[text.rfind("\n", 0, index) + 1 : index].strip() == ""
    if bracket == "{" and character in ("", "\n", "#"):
        return _one_line(text, start)
    if bracket == "[" and (not character or (new_line and _STATEMENT.match(text, index))):
        other = None if not character else (index, line_end(text, index), f'expected "{close}" before this')
        return Fault(start=start, end=start + 1, message="this list is not closed", other=other,
                     help=f'write "{close}" at its end')  # fmt: skip
    if character in ("]", "}"):
        what = "list" if bracket == "[" else "table"
        return Fault(start=start, end=start + 1, message=f"this {what} is not closed",
                     other=(index, index + 1, f'expected "{close}" before this'),
                     help=f'write "{close}" at its end')  # fmt: skip
    if not text[index - 1].isspace():
        joined = glued(text, index, "TOML")
        if joined is not None:
            return joined
    if character in (";", ":"):
        message = f'entries are separated by ","; received "{character}"'
        return Fault(start=index, end=index + 1, message=message, help="write a comma")
    return _no_comma(text, index)


def _no_comma(text: str, index: int) -> Fault:
    word = re.compile(r"""[^\s,\[\]{}]+|.""").match(text, index)
    line = text[text.rfind("\n", 0, index) + 1 : line_end(text, index)]
    help = "write a comma before it"
    if line.count('"') % 2:
        help = 'look for a missing " on this line, or write a comma'
    return Fault(start=index, end=word.end() if word else index + 1,
                 message="a comma is missing before this", help=help)  # fmt: skip


def _one_line(text: str, start: int) -> Fault:
    before = re.search(rf"({_KEY})[ \t]*=[ \t]*$", text[text.rfind("\n", 0, start) + 1 : start])
    above = re.findall(r"^[ \t]*\[{1,2}([^\[\]\n]+)\]", text[:start], re.MULTILINE)
    name = ".".join([*above[-1:], before[1] if before else "…"])
    return Fault(start=start, end=line_end(text, start),
                 message="a table in { } is not closed on the line where it opens",
                 help=f"close it on this line, or write a table of its own under [{name}]")  # fmt: skip


def _beyond(text: str, index: int, statement: int) -> Fault:
    """Something follows a value on its line."""
    end = line_end(text, index)
    rest = text[index:end].partition("#")[0].rstrip()
    end = index + len(rest)
    written = text[statement:index]
    value = written[written.index("=") + 1 :].strip() if "=" in written else ""
    if rest.startswith(","):
        more = rest[1:].strip()
        if re.fullmatch(r"[+-]?\d+", value) and re.fullmatch(r",\d+", rest):
            return Fault(start=index, end=end, message="a decimal number is written with a point",
                         help=f"write {value}.{more}")  # fmt: skip
        if more:
            return Fault(start=index, end=end, message="several values stand in square brackets",
                         help=f"write [{value}, {more}]")  # fmt: skip
        message = "TOML allows no comma behind a value"
        return Fault(start=index, end=end, message=message, help="remove the comma")
    if rest.startswith(";"):
        return Fault(start=index, end=end, message='TOML allows no ";" behind a value', help="remove it")
    if rest[:1] in ("]", "}", ")"):
        return Fault(start=index, end=end, message=f'no bracket is open that "{rest[0]}" could close',
                     help="remove it, or open it")  # fmt: skip
    if not text[index - 1].isspace() and text[index - 1] not in "\"'":
        joined = glued(text, index, "TOML")
        if joined is not None and joined.end >= end:
            return joined
    formula = expression(f"{value} {rest}", value + text[index - 1 : index].strip(value) + rest)
    if formula:
        return Fault(start=text.rindex(value, 0, index), end=end, message=formula[0], help=formula[1])
    if value[-1:] in ('"', "'") and value[-1] in rest:
        return Fault(start=index, end=end, message="the text ends before this",
                     help='a quote inside of text is written \\"')  # fmt: skip
    if _STATEMENT.match(text, index):
        return Fault(start=index, end=end, message="each key has a line of its own",
                     help="write this on the next line")  # fmt: skip
    help = f"several values stand in brackets: [{value}, {rest}]"
    if not re.fullmatch(r"[\d.+-]+", rest):
        help = 'a comment begins with "#", and text stands in quotes'
    return Fault(start=index, end=end, message="only one value stands behind a key", help=help)


def _without_value(text: str, index: int, opened: list[int]) -> Fault:
    """No "=" follows a key."""
    line_start, end = text.rfind("\n", 0, index) + 1, line_end(text, index)
    key = re.search(rf"(?:{_KEY})(?:[ \t]*\.[ \t]*(?:{_KEY}))*[ \t]*$", text[line_start:index])
    start = line_start + key.start() if key else index
    name = key[0].rstrip() if key else "…"
    rest = text[index:end].partition("#")[0].rstrip()
    if opened:
        rest = re.split(r"[,}\]]", rest)[0].rstrip()
    if not rest:
        return Fault(start=start, end=start + len(name), message=f"the key {name} has no value",
                     help=f"write {name} = …")  # fmt: skip
    separator = re.match(r":=?[ \t]*|=>[ \t]*", rest)
    if separator:
        value = rest[separator.end() :]
        if re.fullmatch(r"[A-Za-z_]\w*", value) and value not in ("true", "false"):
            value = quote(value)
        message = f'expected "=" behind the key {name}; received "{separator[0].strip()}"'
        if not value:
            return Fault(start=index, end=index + len(separator[0].rstrip()), message=message,
                         help=f"write {name} = …, or [{name}] as the header of a table")  # fmt: skip
        return Fault(start=index, end=index + len(separator[0].rstrip()), message=message,
                     help=f"write {name} = {value}")  # fmt: skip
    if name == "-":
        return Fault(start=start, end=start + 1, message='TOML has no lists with "-"', help=LISTS)
    if re.search(r"[\s(]", rest) and "=" not in rest and rest[0] not in "\"'[{":
        return Fault(
            start=start, end=index + len(rest), message=f'expected "=" behind the key {name}', help=LINES
        )
    words, equals, _ = rest.partition("=")
    if equals:
        whole = f"{text[start:index]}{words}".rstrip()
        bare = re.sub(r"\s+", "_", whole)
        help = f"write {bare}" if _BARE.fullmatch(bare) else f"write {quote(whole)}"
        return Fault(start=start, end=start + len(whole), message=f"{whole} is no key: {ONE_WORD}",
                     help=help)  # fmt: skip
    return Fault(start=index, end=index + len(rest), message=f'expected "=" behind the key {name}',
                 help=f"write {name} = {rest}")  # fmt: skip


def _value(text: str, index: int, opened: list[int]) -> Fault:
    character = text[index : index + 1]
    line_start = text.rfind("\n", 0, index) + 1
    if character == "," or (character in ("", "\n", "#", "]", "}") and not opened) or character == "}":
        key = re.search(rf"({_KEY})[ \t]*=[ \t]*$", text[line_start:index])
        if key is None:
            return Fault(start=index, end=index + 1, message="a value is missing before this",
                         help="write one, or remove the comma")  # fmt: skip
        start = line_start + key.start()
        return Fault(start=start, end=start + len(key[1]), message=f"the key {key[1]} has no value",
                     help=f"write {key[1]} = …")  # fmt: skip
    if not character or character in "]}":
        start = opened[-1]
        close = CLOSING[text[start]]
        return Fault(start=start, end=start + 1, message="this list is not closed",
                     help=f'write "{close}" at its end')  # fmt: skip
    first = not text[line_start:index].strip()
    if first and opened and text[opened[-1]] == "[" and _STATEMENT.match(text, index):
        start = opened[-1]
        other = (index, line_end(text, index), 'expected "]" before this')
        return Fault(start=start, end=start + 1, message="this list is not closed",
                     help='write "]" at its end', other=other)  # fmt: skip
    if character == "=":
        return Fault(start=index, end=index + 1, message='one "=" stands between a key and its value',
                     help="remove this one")  # fmt: skip
    return wrong_value(text, index, "TOML")


def _key(text: str, index: int, opened: list[int]) -> Fault:
    """A key, or a line, begins with what no key begins with."""
    character = text[index : index + 1]
    if opened and text[opened[-1]] == "{":
        if character in ("", "\n", "#"):
            return _one_line(text, opened[-1])
        comma = text.rfind(",", 0, index)
        if character == "}":
            return Fault(start=comma, end=comma + 1, message="TOML allows no comma before the end of { }",
                         help="remove the comma")  # fmt: skip
        if character == ",":
            return Fault(start=index, end=index + 1, message="a key and its value are missing before this",
                         help="remove one comma")  # fmt: skip
    point = len(text[:index].rstrip(" \t")) - 1
    if text[point] == "." and point >= 0:
        return Fault(start=point, end=point + 1, message="a part of the key is missing behind the point",
                     help="a dotted key is written train.optimizer.lr")  # fmt: skip
    if character == "=":
        return Fault(start=index, end=index + 1, message='there is no key before "="',
                     help="write key = value")  # fmt: skip
    if character in ("]", "}"):
        return Fault(start=index, end=index + 1, message=f'no bracket is open that "{character}" could close',
                     help="remove it")  # fmt: skip
    end = line_end(text, index)
    if character == "{" and not text[:index].strip():
        return Fault(start=index, end=index + 1, message="no line of TOML begins with a brace",
                     help="if the file holds JSON, let its name end in .json")  # fmt: skip
    word = re.compile(r"[^\s=\[\]{},#]+").match(text, index)
    shown = word[0] if word else character
    bare = shown.strip("“”„‘’`«»")
    help = LINES
    if "=" in text[index:end]:
        help = f"write {bare if _BARE.fullmatch(bare) else quote(bare)}"
    return Fault(start=index, end=index + len(shown), message=f"{shown} is no key: {ONE_WORD}",
                 help=help)  # fmt: skip

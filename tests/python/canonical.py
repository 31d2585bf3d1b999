"""The canonical form of JSON bodies by another implementation than the crate's own: one body a line.

Reads {"body", "include", "exclude"}; writes the form as a JSON string, or null where the bytes are to be compared.
"""

import json
import sys
from decimal import Decimal
from fractions import Fraction

import rfc8785

MOST_LEVELS = 127


class Number:
    def __init__(self, text):
        self.text = text

    def value(self):
        value = Fraction(self.text)
        if value == 0:
            return 0.0
        digits = "".join(map(str, Decimal(self.text).as_tuple().digits)).strip("0")
        in_range = Fraction(sys.float_info.min) <= abs(value) <= 2**53
        if not in_range or (value.denominator > 1 and len(digits) > 15):
            raise ValueError("a number that may be merged with another")
        return float(self.text)


def members(pairs):
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member stands twice")
    return found


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def check(value, levels):
    """Refuses what is nested too deeply, and half surrogate pairs."""
    if isinstance(value, str):
        value.encode()
    if isinstance(value, (dict, list)):
        if levels == 0:
            raise ValueError("nested too deeply")
        inside = value
        if isinstance(value, dict):
            inside = [*value.keys(), *value.values()]
        for each in inside:
            check(each, levels - 1)


def plain(value):
    """The same with numbers as floats."""
    if isinstance(value, Number):
        return value.value()
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return value


class Missing(Exception):
    pass


def step(value, token):
    """What `value` may be indexed with for this token."""
    if isinstance(value, dict) and token in value:
        return token
    if isinstance(value, list) and token in map(str, range(len(value))):
        return int(token)
    raise Missing


def walk(value, tokens):
    for token in tokens:
        value = value[step(value, token)]
    return value


def tokens(pointer):
    return [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]


def canonical(body, include, exclude):
    document = json.loads(
        body,
        object_pairs_hook=members,
        parse_constant=refuse,
        parse_float=Number,
        parse_int=Number,
    )
    check(document, MOST_LEVELS)
    for pointer in exclude:
        *way, last = tokens(pointer)
        try:
            parent = walk(document, way)
            at = step(parent, last)
        except Missing:
            continue
        if isinstance(parent, list):
            parent[at] = None
        else:
            del parent[at]
    if include:
        included = {}
        for pointer in include:
            try:
                included[pointer] = walk(document, tokens(pointer))
            except Missing:
                pass
        if not included:
            raise ValueError("nothing of what counts is there")
        document = included
    return rfc8785.dumps(plain(document)).decode()


for line in sys.stdin:
    try:
        form = canonical(**json.loads(line))
    except (ValueError, RecursionError):
        form = None
    print(json.dumps(form))

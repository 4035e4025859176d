"""A JSON schema as a grammar of llama.cpp.

llama-cpp-python's converter does the work; what it gets wrong is mended here, and what it would
pass over in silence is named. A schema comes from a file of somebody: its size and depth are
bounded, memory is limited while it is converted, and the parent's deadline ends what does not
come back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from ondevice.domain.generation import EngineNotice
from ondevice.domain.text import clean_line
from ondevice.engines.llamacpp import binding
from ondevice.errors import SchemaRefused
from ondevice.hardware.system import memory_limit

MAX_CHARACTERS = 256 << 10
MAX_DEPTH = 48
MAX_REPEAT = 1000
"""Of items and characters: each is a rule of its own, one inside the other."""
MAX_GRAMMAR_CHARACTERS = 1 << 20
MAX_EXTRA_MEMORY_BYTES = 256 << 20
_HINT = "The documentation of --schema lists what is understood."
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}
_CHARACTER = r'[^"\\\x00-\x1F\x7F] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})'
"""Of a string: the converter's own lets line breaks through, which JSON does not know."""
_COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
_SAYS_NOTHING = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"),
    *("examples", "deprecated", "readOnly", "writeOnly"),
}
_FORMATS = ("date", "time", "date-time", "uuid")


def grammar_of(text: str) -> tuple[str, tuple[EngineNotice, ...]]:
    """The grammar of a schema, and a notice of what it does not hold.

    Raises SchemaRefused for what is no schema, too large, or not understood.
    """
    if len(text) > MAX_CHARACTERS:
        raise SchemaRefused(f"the schema is over {MAX_CHARACTERS >> 10} KB", hint=_HINT)
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SchemaRefused(
            f"the schema is no JSON: {clean_line(str(error))}", hint="Check the file."
        ) from None
    if not isinstance(schema, dict):
        raise SchemaRefused("the schema is no JSON object", hint=_HINT)
    _check(schema, MAX_DEPTH)
    try:
        with memory_limit(MAX_EXTRA_MEMORY_BYTES):
            unheld = sorted(set(_unheld(schema)))
            grammar = _convert(schema)
    except SchemaRefused:
        raise
    except Exception as error:  # the converter meets what it did not expect in any way
        said = clean_line(str(error), 120) or type(error).__name__
        raise SchemaRefused(f"the schema is not understood: {said}", hint=_HINT) from None
    if len(grammar) > MAX_GRAMMAR_CHARACTERS:
        raise SchemaRefused("the schema makes too large a grammar", hint=_HINT)
    if not unheld:
        return grammar, ()
    said = clean_line(f"the answer may not keep to these parts of the schema: {', '.join(unheld)}")
    return grammar, (EngineNotice("schema", said, unmet=True),)


def _check(value: Any, depth: int) -> None:
    """Refuse what would make the converter, or llama.cpp after it, go astray."""
    if depth == 0:
        raise SchemaRefused(f"the schema is over {MAX_DEPTH} levels deep", hint=_HINT)
    if isinstance(value, list):
        for item in value:
            _check(item, depth - 1)
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        if key == "$ref" and not (isinstance(item, str) and item.startswith("#/")):
            raise SchemaRefused(
                "the schema refers to another document", hint="Put its parts into one file."
            )
        if key in _COUNTS and isinstance(item, int) and not 0 <= item <= MAX_REPEAT:
            raise SchemaRefused(f"{key} is {item}; up to {MAX_REPEAT:,} is understood", hint=_HINT)
        if key == "pattern" and isinstance(item, str):
            _check_pattern(item)
        _check(item, depth - 1)


def _check_pattern(pattern: str) -> None:
    """The converter takes some for another one than they are, or lets quotes through."""
    if "." in pattern or "[^" in pattern:
        raise SchemaRefused(
            "a pattern with `.` or `[^` is not understood", hint="Name the characters it takes."
        )
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise SchemaRefused(
            f"a pattern is none: {clean_line(str(error), 120)}", hint="Check the pattern."
        ) from None


def _convert(schema: dict[str, Any]) -> str:
    binding.load()
    module = import_module("llama_cpp.llama_grammar")

    names: dict[str, str] = {}

    class Converter(module.SchemaConverter):  # type: ignore[misc, name-defined]
        def _format_literal(self, literal: str) -> str:
            """With backslashes escaped, too: those of a quote inside a word ended the literal."""
            return '"' + "".join(_ESCAPES.get(sign, sign) for sign in literal) + '"'

        def _add_rule(self, name: str, rule: str) -> Any:
            return super()._add_rule(name, _CHARACTER if name == "char" else rule)

        def _resolve_ref(self, ref: str) -> str:
            """By a name of its own: the last word of a reference can be that of another rule."""
            if ref not in names:
                name = names[ref] = f"ondevice-ref-{len(names)}"
                made = self.visit(self._refs[ref], name)
                if made != name:
                    self._rules[name] = made
            return names[ref]

    made = Converter(prop_order={}, allow_fetch=False, dotall=False, raw_pattern=False)
    # by ourselves: the converter passes over the definitions beside a reference
    made._refs = {each: _pointed(schema, each) for each in _references(schema)}
    made.visit(schema, "")
    return str(made.format_grammar())


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(reference := value.get("$ref"), str):
            yield reference
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _references(item)


def _pointed(schema: Any, reference: str) -> Any:
    """What `#/a/b` points to. Raises SchemaRefused."""
    found = schema
    for part in reference.removeprefix("#/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise SchemaRefused(
                f"the schema refers to {clean_line(reference, 80)}, which it does not have",
                hint="Check the schema.",
            )
    return found


def _unheld(schema: Any) -> Iterator[str]:
    """Keywords that the grammar leaves out, in the order in which the converter looks at them."""
    if not isinstance(schema, dict):
        if isinstance(schema, bool):
            yield "a schema that is true or false"
        return
    held = _held(schema)
    yield from (key for key in schema if key not in held and key not in _SAYS_NOTHING)
    required = schema.get("required")
    if "required" in held and isinstance(required, list):
        yield from (f"required {name}" for name in required if name not in schema["properties"])
    yield from (unheld for child in _children(schema, held) for unheld in _unheld(child))


def _held(schema: dict[str, Any]) -> set[str]:
    """The keywords the converter looks at; it takes the first case that fits."""
    kind = schema.get("type")
    for key in ("$ref", "oneOf", "anyOf"):
        if key in schema:
            return {key}
    if isinstance(kind, list):
        return {"type"}
    for key in ("const", "enum"):
        if key in schema:
            return {"type", key}
    for cases in (_held_of_object, _held_of_array, _held_of_string):
        if held := cases(schema, kind):
            return {"type"} | held
    return {"type"}


def _held_of_object(schema: dict[str, Any], kind: Any) -> set[str]:
    if kind not in (None, "object"):
        return set()
    if "properties" in schema:
        return {"properties", "required", "additionalProperties"}
    if schema.get("additionalProperties", True) is not True:
        return {"additionalProperties"}
    if "allOf" in schema:
        return {"allOf"}
    return {"additionalProperties"} if kind else set()


def _held_of_array(schema: dict[str, Any], kind: Any) -> set[str]:
    if kind not in (None, "array"):
        return set()
    if "items" in schema:
        return {"items", "minItems", "maxItems"}
    return {"prefixItems"} if "prefixItems" in schema else set()


def _held_of_string(schema: dict[str, Any], kind: Any) -> set[str]:
    if kind not in (None, "string"):
        return set()
    if "pattern" in schema:
        return {"pattern"}
    if schema.get("format") in _FORMATS:
        return {"format"}
    return {"minLength", "maxLength"} if kind else set()


def _children(schema: dict[str, Any], held: set[str]) -> Iterator[Any]:
    """The schemas inside a schema; definitions are counted, used or not."""
    for key in ("oneOf", "anyOf", "allOf", "prefixItems"):
        if key in held and isinstance(found := schema.get(key), list):
            yield from found
    for key in ("properties", "$defs", "definitions"):
        if (key in held or key in _SAYS_NOTHING) and isinstance(found := schema.get(key), dict):
            yield from found.values()
    if "items" in held:
        items = schema["items"]
        yield from items if isinstance(items, list) else [items]
    if isinstance(extra := schema.get("additionalProperties"), dict):
        yield extra

"""Structural schemas for the API server, generated from the pydantic models.

Pydantic's own JSON schema says most; what the API server wants otherwise is rewritten here:
references are inlined, "or null" becomes `nullable`, there is no `default` (a stored default would look like a choice
and end inheritance), patterns and Python validators become the CEL rules of `pipebell.core.cel`. Whatever is
unbounded, undescribed or unknown to that mapping stops the generation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic.json_schema import GenerateJsonSchema

from pipebell.core import cel, fields

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import core_schema

Schema = dict[str, Any]

_RULES: Final = "x-kubernetes-validations"
_ANY_CASE: Final = "x-pipebell-any-case"
_LONGEST_WORD: Final = 64  # characters; longer than every enum's word, so that a typo is answered by the enum alone
_KEPT: Final = (
    *("type", "format", "nullable", "enum", "pattern"),
    *("minLength", "maxLength", "minimum", "maximum", "minItems", "maxItems", "maxProperties"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
)


class _Generator(GenerateJsonSchema):
    """Pydantic's generator, with the rules that it would drop."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return {**self.generate_inner(schema["schema"]), "nullable": True}

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        result = super().str_schema(schema)
        pattern = result.pop("pattern", None)
        if pattern is None:
            return result
        if pattern not in fields.HINTS:
            raise LookupError(f"pipebell.core.fields.pattern was not told what {pattern} means to people")
        return _merged(result, cel.rule(cel.matches(pattern), fields.HINTS[pattern]))

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> JsonSchemaValue:
        return self._with_rule_of(schema, super().function_after_schema(schema))

    def function_before_schema(self, schema: core_schema.BeforeValidatorFunctionSchema) -> JsonSchemaValue:
        result = self._with_rule_of(schema, super().function_before_schema(schema))
        return {**result, _ANY_CASE: True} if _name_of(schema) == "lower" else result

    def _with_rule_of(self, schema: Any, result: JsonSchemaValue) -> JsonSchemaValue:  # noqa: ANN401
        name = _name_of(schema)
        if name not in cel.VALIDATORS:
            raise LookupError(f"pipebell.core.cel.VALIDATORS has no rule for {name}")
        rule = cel.VALIDATORS[name]
        return _merged(result, rule(_model_of(schema)) if callable(rule) else rule)


def _model_of(schema: Any) -> type[BaseModel]:  # noqa: ANN401
    """The model that a validator of the whole model belongs to; other validators may lie between."""
    inner = schema["schema"]
    while "cls" not in inner:
        inner = inner["schema"]
    found: type[BaseModel] = inner["cls"]
    return found


def _name_of(schema: Any) -> str:  # noqa: ANN401  (two kinds of core schema with a function)
    return str(schema["function"]["function"].__qualname__)


def _merged(schema: Schema, more: Schema) -> Schema:
    """Both; lists of rules are joined, fields' fragments go to the fields."""
    result = dict(schema)
    for key, value in more.items():
        if key == _RULES:
            result[key] = [*result.get(key, []), *value]
        elif key == "properties":
            result[key] = {**result[key], **{name: _merged(result[key][name], part) for name, part in value.items()}}
        else:
            result[key] = value
    return result


def structural(model: type[BaseModel]) -> Schema:
    """The structural schema of a spec or status.

    Raises LookupError for what the mapping does not know, ValueError for what has no bound or no description.
    """
    document = model.model_json_schema(by_alias=True, schema_generator=_Generator)
    return _Structure(document.pop("$defs", {})).build(document, model.__name__)


class _Structure:
    """Turns pydantic's document into a structural schema."""

    def __init__(self, definitions: dict[str, Schema]) -> None:
        self._definitions = definitions

    def build(self, node: Schema, path: str) -> Schema:
        node = self._inlined(node)
        result: Schema = {"description": node["description"]} if "description" in node else {}
        result |= {key: node[key] for key in _KEPT if key in node}
        if "destinations[]" in path and fields.NESTED_MAX_FLAG in node:
            result["maxItems"] = node[fields.NESTED_MAX_FLAG]
        rules = list(node.get(_RULES, []))
        if "listMapKeys" in node:
            result |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": node["listMapKeys"]}
        if node.get("type") == "object":
            rules = self._object(node, result, path) + rules
        elif node.get("type") == "array":
            result["items"] = self.build(node["items"], f"{path}[]")
            result.setdefault("x-kubernetes-list-type", "atomic")
        elif "enum" in node:
            rules += self._enum(node, result)
        if rules:
            result[_RULES] = rules
        _check_bounds(result, path)
        return result

    def _inlined(self, node: Schema) -> Schema:
        reference = node.get("$ref")
        if reference is None:
            return node
        target = self._inlined(self._definitions[reference.removeprefix("#/$defs/")])
        return _merged(target, {key: value for key, value in node.items() if key != "$ref"})

    def _object(self, node: Schema, result: Schema, path: str) -> list[Schema]:
        if "properties" in node:
            parts = {name: part for name, part in node["properties"].items() if not _absent(part, path)}
            secret = {name for name, part in parts.items() if self._inlined(part).get(fields.SECRET_FLAG)}
            result["properties"] = {name: self._field(part, f"{path}.{name}") for name, part in parts.items()}
            if "required" in node:
                result["required"] = node["required"]
            return [
                cel.lifted(name, validation)
                for name, field in result["properties"].items()
                if name in secret
                for validation in field.pop(_RULES, [])
            ]
        if node.get("additionalProperties") is True:
            result["x-kubernetes-preserve-unknown-fields"] = True
            return []
        result["additionalProperties"] = {**self.build(node["additionalProperties"], f"{path}{{}}"), "nullable": True}
        names = self._inlined(node["propertyNames"])
        return [*cel.entries(names["maxLength"])[_RULES], *(cel.of_keys(each) for each in names.get(_RULES, []))]

    def _field(self, node: Schema, path: str) -> Schema:
        field = self.build(node, path)
        if not field.get("description"):
            raise ValueError(f"{path} has no description")
        return field

    def _enum(self, node: Schema, result: Schema) -> list[Schema]:
        result["maxLength"] = _LONGEST_WORD
        if not node.get(_ANY_CASE):
            result.pop("nullable", None)  # null is dropped then; nullable, it would have to be one of the words
            return []
        words = result.pop("enum")
        result["description"] = f"{result.get('description', '')} One of {', '.join(words)}, in any case.".lstrip()
        return list(cel.one_of_any_case(words)[_RULES])


def _absent(field: Schema, path: str) -> bool:
    """Whether a field has no meaning where it would stand."""
    return bool(field.get(fields.ROOT_ONLY_FLAG) or (field.get(fields.BESIDE_FLAG) and "destinations[]" in path))


def _check_bounds(schema: Schema, path: str) -> None:
    """Everything that people can make longer has a limit; a free-form object has the API server's own (1.5 MiB)."""
    bound = {"string": "maxLength", "array": "maxItems"}.get(schema["type"])
    if "additionalProperties" in schema:
        bound = "maxProperties"
    if bound is not None and bound not in schema:
        raise ValueError(f"{path} has no {bound}")

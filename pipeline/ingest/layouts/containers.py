"""Where several answers lie in one row, and what lies inside and beside each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import polars as pl

from pipeline.config import FieldPath
from pipeline.errors import LayoutError
from pipeline.ingest.aliases import BESIDE_SLOTS, CANDIDATE_SLOTS, CANDIDATES, NODE_VALUES, NUMBERED, NUMBERED_SCORE, plain
from pipeline.ingest.fragments import Json, fragment, objects, pointer
from pipeline.ingest.layouts.sample import Sample
from pipeline.ingest.layouts.scores import VALUE_KEYS, numeric, scorelike, thumbs
from pipeline.ingest.records import Rows

_SCORE_HOLDERS: Final = ("annotations", "scores", "ratings", "attributes", "criteria")
_ANSWER_KEYS: Final = frozenset(("response", "answer", "completion", "output", "generation", "summary", "text", "reply"))
_HIDDEN_KEYS: Final = _ANSWER_KEYS - {"text"}
_DEEPEST: Final = 4


def spread(rows: Rows, json: Json, path: FieldPath) -> pl.DataFrame:
    """The answers of every row: id, n (0-based place), key (model or field that names it, else null), element (fragment).

    Args:
        rows: the rows.
        json: the reader's session.
        path: a list, an object by name, or several fields; an absent one of those is no answer.
    """
    if isinstance(path, list):
        each = [
            pl.DataFrame({"id": pl.int_range(rows.frame.height, dtype=pl.Int64, eager=True), "element": fragment(rows, one, json)})
            .with_columns(n=pl.lit(i, pl.Int64), key=pl.lit(one))
            for i, one in enumerate(path)
        ]
        return pl.concat(each).drop_nulls("element").sort("id", "n").select("id", "n", "key", "element")
    return _within(json, fragment(rows, path, json))


def _within(json: Json, fragments: pl.Series) -> pl.DataFrame:
    listed = json.elements(fragments).with_columns(key=pl.lit(None, pl.String))
    named = json.entries(fragments)
    return pl.concat([one.select("id", "n", "key", "element") for one in (listed, named)]).sort("id", "n")


def inner(path: FieldPath | None) -> tuple[str, ...] | None:
    """The keys inside a candidate that a path names; None for a field of the row."""
    return tuple(path.rpartition("*.")[2].split(".")) if isinstance(path, str) and "*." in path else None


def leftover(json: Json, fragments: pl.Series, used: Mapping[tuple[str, ...], pl.Series | None]) -> pl.Series:
    """Objects without what was used of them; null where nothing is left.

    Args:
        json: the reader's session.
        fragments: objects (what is none has nothing left).
        used: keys from the outermost -> the rows where it stays all the same, or None.
    """
    members = fragments.to_frame("x").select(pl.when(pl.col("x").str.starts_with("{")).then("x").alias("x"))["x"]
    kept: dict[str, pl.Series] = {}
    keys = [key for key in json.keys(members) if (key,) not in used or used[(key,)] is not None]
    for key, member in zip(keys, json.extract(members, [pointer(one) for one in keys]), strict=True):
        inside = {path[1:]: stays for path, stays in used.items() if path[0] == key}
        stays = inside.get(())
        if stays is not None:
            kept[key] = pl.select(pl.when(stays).then(member)).to_series()
        else:
            kept[key] = leftover(json, member, inside) if inside else member
    return objects(kept, len(fragments))


@dataclass(frozen=True)
class Holder:
    """Where the first records hold their answers."""

    path: FieldPath
    found: pl.DataFrame  # id, n, key, element
    keys: list[str]  # of the elements that are objects

    @property
    def prefix(self) -> str:
        """What a path inside an answer starts with."""
        return f"{self.path}.*." if isinstance(self.path, str) else "*."

    def most(self) -> int:
        """The most answers of a row."""
        return int(self.found.group_by("id").len()["len"].max() or 0)  # type: ignore[arg-type]

    def values(self, sample: Sample, *keys: str) -> pl.Series:
        """The fragments below some keys of the answers."""
        return sample.json.extract(self.found["element"], [pointer(*keys)])[0]


def find_holder(sample: Sample) -> Holder | None:
    """The list, object or numbered fields that hold the answers; as configured, else by name, else by what is inside."""
    if "candidates" in sample.configured:
        return _holder(sample, sample.configured["candidates"])
    named = [sample.by_alias[name] for name in CANDIDATES if name in sample.by_alias]
    for field in dict.fromkeys(named):
        holder = _holder(sample, field)
        inside = holder.found["element"].drop_nulls()
        objects_ = bool(holder.keys) and not {plain(key) for key in holder.keys} & set(CANDIDATE_SLOTS["candidate_text"])
        if not objects_ and 2 * int(inside.str.contains(r'^["\[{]').sum()) > len(inside):
            return holder
    numbered = [field for field in sample.rows.fields if re.match(NUMBERED, field) and sample.textual(field)]
    words = {re.sub(NUMBERED, r"\1", field).lower() for field in numbered}
    if len(numbered) > 2 and len(words) == 1:
        return _holder(sample, sorted(numbered, key=_number))
    for field in nested_fields(sample) if sample.sides()[1] else ():
        holder = _holder(sample, field)
        keys = {plain(key) for key in holder.keys}
        if keys & _ANSWER_KEYS and (any(scorelike(key) for key in keys) or keys & set(CANDIDATE_SLOTS["candidate_rank"])):
            return holder
    return None


def nested_fields(sample: Sample) -> list[str]:
    """The fields that hold lists or objects."""
    return [field for field, kinds in sample.types.items() if kinds & {"list", "object"}]


def _number(field: str) -> int:
    return int(re.sub(r"\D+", "", field))


def _holder(sample: Sample, path: FieldPath) -> Holder:
    found = spread(sample.rows, sample.json, path)
    return Holder(path, found, sample.json.keys(found["element"].filter(found["element"].str.starts_with("{"))))


def hidden_answers(sample: Sample) -> str | None:
    """The path of answers that lie at any depth, such as `questions.*.*`."""
    for field in nested_fields(sample):
        values, path = sample.rows.frame[sample.rows.fields[field]], field
        for _ in range(_DEEPEST):
            within = _within(sample.json, values)["element"]
            values, path = within.filter(within.str.contains(r"^[\[{]").fill_null(False)), f"{path}.*"
            if values.is_empty():
                break
            if {plain(key) for key in sample.json.keys(values.filter(values.str.starts_with("{")))} & _HIDDEN_KEYS:
                return path
    return None


def candidate_slot(sample: Sample, holder: Holder, slot: str) -> FieldPath | None:
    """What a slot of the candidates is read from: `<candidates>.*.<keys>` inside them, or a field beside them."""
    if slot in sample.configured:
        return _configured(sample, holder, slot)
    by_alias = {plain(key): key for key in reversed(holder.keys)}
    inside = next((by_alias[name] for name in CANDIDATE_SLOTS.get(slot, ()) if name in by_alias), None)
    if inside is not None:
        return holder.prefix + inside
    return next((path for path in beside(sample, BESIDE_SLOTS.get(slot, ())) if path != holder.path), None)


def _configured(sample: Sample, holder: Holder, slot: str) -> FieldPath:
    given: FieldPath = sample.configured[slot]
    paths = [given] if isinstance(given, str) else given
    resolved = []
    for path in paths:
        keys = path.rpartition("*.")[2].split(".")
        if keys[0] in holder.keys and holder.values(sample, *keys).drop_nulls().len():
            resolved.append(holder.prefix + ".".join(keys))
        elif fragment(sample.rows, path, sample.json).drop_nulls().len():
            resolved.append(path)
        else:
            raise LayoutError(
                f"{sample.name}: `fields: {slot}: {path}` is neither in the candidates ({', '.join(holder.keys) or 'no fields'}) nor "
                f"beside them in the first {sample.rows.frame.height} records; fields found: {', '.join(sample.rows.fields)}."
            )
    return resolved[0] if isinstance(given, str) else resolved


def beside(sample: Sample, names: tuple[str, ...]) -> list[str]:
    """The fields of these names that hold lists or objects."""
    fields = [sample.by_alias[name] for name in names if name in sample.by_alias]
    return [field for field in fields if sample.type(field) in ("list", "object", "list or object")]


def score_paths(sample: Sample, holder: Holder) -> list[str]:
    """The scores inside the candidates, or else the lists of scores beside them."""
    if "candidate_scores" in sample.configured:
        given = _configured(sample, holder, "candidate_scores")
        return [given] if isinstance(given, str) else given
    paths: list[str] = []
    for key in holder.keys:
        if plain(key) not in _SCORE_HOLDERS:
            continue
        values = holder.values(sample, key)
        for criterion in sample.json.keys(values.filter(values.str.starts_with("{"))):
            inside = holder.values(sample, key, criterion)
            leaves = sample.json.keys(inside.filter(inside.str.starts_with("{")))
            leaf = next((one for one in VALUE_KEYS if one in leaves), None)
            keys = (key, criterion) if leaf is None else (key, criterion, leaf)
            if _scored(sample, holder.values(sample, *keys)):
                paths.append(holder.prefix + ".".join(keys))
    paths += [holder.prefix + key for key in holder.keys if _graded(key) and _scored(sample, holder.values(sample, key))]
    if paths:
        return paths
    if isinstance(holder.path, list):
        numbered = [field for field in sample.rows.fields if re.match(NUMBERED_SCORE, field) and numeric(sample.verdicts(field))]
        if len(numbered) == len(holder.path):
            return sorted(numbered, key=_number)
    lists = [field for field in beside(sample, BESIDE_SLOTS["candidate_scores"]) if field != holder.path]
    return [field for field in lists if _scored(sample, _within(sample.json, fragment(sample.rows, field, sample.json))["element"])][:1]


def _graded(key: str) -> bool:
    return scorelike(key) or plain(key) in NODE_VALUES


def _scored(sample: Sample, fragments: pl.Series) -> bool:
    texts = sample.texts(fragments)
    return numeric(texts) or thumbs(texts, named=False) is not None


def values_beside(rows: Rows, json: Json, path: str, found: pl.DataFrame) -> pl.Series:
    """One fragment per answer from a list (by place) or object (by name) beside the answers; null where it has none."""
    within = _within(json, fragment(rows, path, json))
    listed = found.select("id", "n").join(
        within.filter(pl.col("key").is_null()).select("id", "n", "element"), on=["id", "n"], how="left", maintain_order="left"
    )
    named = found.select("id", "key").join(
        within.drop_nulls("key").select("id", "key", "element").unique(["id", "key"], keep="first", maintain_order=True),
        on=["id", "key"], how="left", maintain_order="left",
    )
    return pl.select(pl.coalesce(listed["element"], named["element"])).to_series()

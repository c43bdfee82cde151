"""Pairs to read, side by side, with what differs marked."""

import re
from typing import Any

from rapidfuzz.distance import Indel

from pipeline.report.markup import Markup, details, escaped, joined, number, tag

COMPARED_WORDS = 600  # of each text; the cost of comparing grows with the product
_WORDS = re.compile(r"\w+|\s+|[^\w\s]")
LEAST_ALIKE = 0.25  # below it two texts say different things, and marks would only clutter


def marked(left: str, right: str) -> tuple[Markup, Markup, str]:
    """Both texts with the words that the other one lacks marked, and a note on what is not marked (or none).

    Words are compared by the longest common subsequence (Wagner & Fischer 1974, insertions and deletions alone).
    """
    words = [_WORDS.findall(text) for text in (left, right)]
    if max(map(len, words)) > COMPARED_WORDS:
        return escaped(left), escaped(right), "Too long to mark differences."
    if left == right:
        return escaped(left), escaped(right), "Both are the same."
    said = [[word for word in side if not word.isspace()] for side in words]
    if not (said[0] and said[1]) or Indel.normalized_similarity(*said) < LEAST_ALIKE:
        return escaped(left), escaped(right), ""
    sides: tuple[list[str], list[str]] = ([], [])
    for step in Indel.opcodes(*words):
        first, second = "".join(words[0][step.src_start : step.src_end]), "".join(words[1][step.dest_start : step.dest_end])
        for parts, text, css in ((sides[0], first, "ins"), (sides[1], second, "del")):
            if text:
                parts.append(escaped(text) if step.tag == "equal" or not text.strip() else tag("mark", text, class_=css))
    return joined(sides[0]), joined(sides[1]), ""


def _text(heading: str, text: str) -> Markup:
    shown = tag("p", text) if text else tag("p", "(empty)", class_="gap")
    return tag("div", tag("strong", heading), shown, class_="text", dir="auto")


def _sides(left: tuple[str, str], right: tuple[str, str]) -> Markup:
    """Two texts beside each other, each under its heading."""
    first, second, note = marked(left[1], right[1])
    beside = tag("div", _text(left[0], first), _text(right[0], second), class_="sides")
    return joined([beside, tag("p", note, class_="note")]) if note else beside


def pair(row: dict[str, Any], about: str) -> Markup:
    """A pair: prompt, then chosen beside rejected.

    Args:
        row: prompt, chosen, rejected.
        about: a line above it.
    """
    texts = {name: row[name] or "" for name in ("prompt", "chosen", "rejected")}
    return tag(
        "article",
        tag("p", about, class_="about"),
        _text("prompt", texts["prompt"]),
        _sides(("chosen", texts["chosen"]), ("rejected", texts["rejected"])),
    )


def near_duplicate(row: dict[str, Any]) -> Markup:
    """A merged pair beside its witness: prompts, chosen answers, rejected answers."""
    ids = f"pair {row['pair_id']} merged into {row['witness_pair_id']}"
    about = f"{row['kind']}: {row['detail']} {number(row['score'])}, at least {number(row['threshold'])}; {ids}"
    texts = [
        _sides((f"{name}, merged", row[name] or ""), (f"{name}, counting the votes", row[f"witness_{name}"] or ""))
        for name in ("prompt", "chosen", "rejected")
    ]
    return tag("article", tag("p", about, class_="about"), *texts)


def rationale(row: dict[str, Any]) -> Markup:
    """A rationale below the pair it speaks of."""
    why = "accepted" if row["accepted"] else f"refused: {row['reason']}" + (f" ({row['detail']})" if row["detail"] else "")
    return tag(
        "article",
        tag("p", f"{row['kind']} by {row['generator']}, {why}; pair {row['pair_id']}", class_="about"),
        _text("rationale", row["text"] or ""),
        details("The pair", pair(row, "cut after 300 characters")),
    )


def example(row: dict[str, Any]) -> Markup:
    """A pair that a rule took away, with score and threshold, or a published one."""
    told = [f"pair {row['pair_id']}", f"sources {number(row['sources'])}", f"votes {row['votes_chosen']} : {row['votes_rejected']}"]
    told += [f"ties {row['votes_tie']}"] if row["votes_tie"] else []
    told += [f"score {number(row['score'])}, threshold {number(row['threshold'])}"] if row["score"] is not None else []
    told += [str(number(row["detail"]))] if row["detail"] else []
    return pair(row, "; ".join(told))

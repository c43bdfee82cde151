"""What the report's sections are made of."""

from dataclasses import dataclass, field
from typing import Any

from pipeline.report.markup import Markup, details, joined, table, tag

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Comparison:
    """The version before.

    Attributes:
        manifest: of the version before; none where there is none, or it cannot be read.
        totals: rows of `pipeline.diff.totals`: change, reason, pairs.
        problem: why it could not be compared.
    """

    manifest: dict[str, Any] | None = None
    totals: Rows = field(default_factory=list)
    problem: str | None = None


@dataclass(frozen=True)
class Material:
    """What the sections are made of: the manifest, rows of views by name, pictures by name, the version before."""

    manifest: dict[str, Any]
    views: dict[str, Rows]
    drawn: dict[str, Markup]
    before: Comparison | None

    def rows(self, view: str) -> Rows:
        """Rows of a view; none where it was not asked."""
        return self.views.get(view, [])

    def table(self, view: str, caption: str) -> Markup:
        """A view's rows as a table; nothing where there are none."""
        return table(self.rows(view), caption, view) if self.rows(view) else Markup("")

    def titled(self, heading: str, view: str, caption: str) -> Markup:
        """The same below a heading; nothing where there are no rows."""
        return joined([tag("h3", heading), self.table(view, caption)]) if self.rows(view) else Markup("")

    def folded(self, view: str, caption: str) -> Markup:
        """The same, opened when asked."""
        return details(caption, self.table(view, caption)) if self.rows(view) else Markup("")

    def figure(self, name: str, caption: str, keys: tuple[tuple[str, str], ...] = ()) -> Markup:
        """A picture with its caption and what its colours mean; nothing where it was not drawn."""
        if name not in self.drawn:
            return Markup("")
        legend = tag("ul", *(tag("li", text, style=f"--key:var(--{key})") for key, text in keys), class_="keys") if keys else Markup("")
        picture = tag("div", self.drawn[name], class_="wide", role="region", aria_label=caption, tabindex=0)
        return tag("figure", legend, picture, tag("figcaption", caption))

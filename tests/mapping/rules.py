"""Random rules over text, for whatever makes rules fast."""

from __future__ import annotations

from hypothesis import strategies as st

STEPS = [
    "trim", "upper", "lower", "title", "slug", "text", "decimal", "integer", "country", "boolean", "required",
    'default("UK")', 'default(record.b)', 'coalesce(record.a, value)', 'nullif("a")', 'lookup("status", "pass")',
    'lookup("status")', 'concat("-", record.a)', "truncate(2)", 'replace("a", "b")', 'split("a")', "join", "round(1)",
    'date("%d/%m/%Y")', "date", 'text("%d.%m.%Y")', 'datetime(tz="Europe/London")', 'phone("GB")', "email",
    'decimal(point=",", group=".")', "phone(record.b)", "when(record.a == value)",
]  # fmt: skip
LEAVES = st.sampled_from(
    ["value", "record.a", "record.b", "record.gone", '"a"', "3", "1.5", "none", "true", "value[0]"]
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.tuples(inner, st.sampled_from(STEPS)).map(lambda t: f"({t[0]}) | {t[1]}"),
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "~", "==", "<", "in", "and", "or"]), inner).map(
            lambda t: f"({t[0]}) {t[1]} ({t[2]})"
        ),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) if ({t[1]}) else ({t[2]})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]}) < ({t[1]}) < ({t[2]})"),
        st.tuples(inner, inner).map(lambda t: f"[{t[0]}, {t[1]}]"),
        inner.map(lambda t: f"not ({t})"),
        inner.map(lambda t: f"({t}) is none"),
        inner.map(lambda t: f"-({t})"),
    )


RULES = st.recursive(LEAVES, _larger, max_leaves=6)
LOOKUPS = {"status": {"a": "b", "1": "one"}}
TEXTS = st.none() | st.sampled_from(
    ["", " a ", "a", "1", "12.50", "1.234,50", "24/11/2026", "2026-11-24", "x" * 200, "Germany", "DE", "Ærø",
     "020 7946 0018", "+442079460018", "Ada@Example.COM", "info@acme.de"]
)  # fmt: skip

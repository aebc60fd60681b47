"""Tables of scores in Markdown and the formats of their cells, for reports, evaluations and comparisons."""

from collections.abc import Mapping, Sequence

from avsd_jax.metrics import LOWER_IS_BETTER

GROUP_TITLES = {"all": "All frames", "consistent": "Consistent frames", "inconsistent": "Inconsistent frames"}
"""Groups of frames in the order of tables."""

AVERAGE_TITLES = {"video": "mean over videos", "frame": "mean over frames"}


def table(columns: Mapping[str, Sequence[str]]) -> str:
    """Returns a table; columns after the first are aligned to the right."""
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join(["---"] + ["---:"] * (len(columns) - 1)) + "|"]
    lines += ["| " + " | ".join(cells) + " |" for cells in zip(*columns.values(), strict=True)]
    return "\n".join(lines) + "\n"


def arrow(metric: str, down: str = "↓", up: str = "↑") -> str:
    """Returns a metric's name with an arrow to its better values."""
    return f"{metric} {down if metric in LOWER_IS_BETTER else up}"


def best(scores: Sequence[float | None], metric: str) -> float | None:
    """Returns the best of some scores; None where there is none."""
    known = [score for score in scores if score is not None]
    return (min if metric in LOWER_IS_BETTER else max)(known, default=None)


def number(value: float | None, sign: str = "") -> str:
    """Returns a score as a cell."""
    return "-" if value is None else f"{value:{sign}.3f}"


def percent(value: float | None) -> str:
    """Returns a share as a cell."""
    return "-" if value is None else f"{100 * value:.1f}%"


def bracketed(value: float | None, interval: Sequence[float] | None, sign: str = "") -> str:
    """Returns a score with its interval as a cell."""
    if value is None or interval is None:
        return number(value, sign)
    return f"{number(value, sign)} [{number(interval[0], sign)}, {number(interval[1], sign)}]"


def change(value: float | None, reference: float | None) -> str:
    """Returns a score with its distance from a reference as a cell."""
    if value is None or reference is None:
        return number(value)
    return f"{number(value)} ({number(value - reference, '+')})"


def p_value(p: float | None) -> str:
    """Returns a p-value as a cell."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"

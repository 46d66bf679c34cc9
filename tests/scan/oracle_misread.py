"""Rules of the oracle, each with a misreading of it and the generated days that show the difference.

The recorded examples leave much open. A case names one day of one generated market and one rule in the oracle's own
text: the day's row is another one, or none, when the oracle is changed so. The product must agree with the oracle on
all of them.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from tests.scan import oracle

SOURCE = Path(oracle.__file__).read_text()


class Case(NamedTuple):
    what: str
    source: int | str  # the seed of a walk, or a kind of quiet days
    date: str
    short: bool
    rule: str  # a piece of the oracle's text
    misread: str


def misread(case: Case) -> ModuleType:
    """The oracle with that one rule changed."""
    assert case.rule in SOURCE, case.what
    module = ModuleType("misread_oracle")
    exec(compile(SOURCE.replace(case.rule, case.misread), "misread_oracle", "exec"), module.__dict__)
    return module


# (what, the rule, its misreading, days: where it shows), in the order of the oracle's text; found by trying seeds
Day = tuple[int | str, str, bool]
_SHOWN: tuple[tuple[str, str, str, tuple[Day, ...]], ...] = (
    (
        "61 sessions without a bar begin a listing",
        "missing > LISTING_GAP",
        "missing > LISTING_GAP + 1",
        ((1, "2009-08-21", False), (1, "2009-12-15", True)),
    ),
    (
        "61 sessions without a bar begin a listing, 60 do not",
        "missing > LISTING_GAP",
        "missing >= LISTING_GAP",
        ((16, "2010-06-29", True), (22, "2008-03-20", False)),
    ),
    ("weeks: no alignment", "if len(bars) < 200", "if True", ((0, "2012-03-09", True), (1, "2010-02-18", False))),
    (
        "weeks: too few days pass",
        "if len(bars) < 200",
        "if len(bars) < 2",
        ((1, "2010-01-26", False), (43, "2011-07-19", True)),
    ),
    ("weeks end on Friday, not Thursday", '"W-FRI"', '"W-THU"', ((0, "2011-11-29", True), (5, "2013-06-26", False))),
    ("weeks end on Friday, not Monday", '"W-FRI"', '"W-MON"', ((0, "2011-11-29", True), (2, "2006-12-12", False))),
    (
        "the running week counts on a Tuesday",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()[:-1]",
        ((0, "2011-11-29", True), (1, "2010-02-23", False)),
    ),
    (
        "the running week counts on a Wednesday",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()[:-1]",
        ((0, "2011-11-30", True), (0, "2012-01-04", False)),
    ),
    (
        "the running week counts on a Monday",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()[:-1]",
        ((2, "2006-12-18", False), (33, "2009-12-21", True)),
    ),
    (
        "the running week counts on a Thursday",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()[:-1]",
        ((24, "2007-12-06", False), (85, "2004-11-04", True)),
    ),
    (
        "the running week counts on a Friday",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()",
        "closes = bars.close.groupby(week.to_numpy()).last().to_numpy()[:-1]",
        ((66, "2016-12-09", True), (85, "2005-03-11", False)),
    ),
    (
        "weeks: running week with its last close",
        ".last().to_numpy()\n",
        ".first().to_numpy()\n",
        ((0, "2011-11-29", True), (1, "2010-02-23", False)),
    ),
    (
        "tier A with close on the mean",
        "close > fast >= slow",
        "close >= fast >= slow",
        ((99, "2010-04-21", False), (195, "2004-01-02", True)),
    ),
    ("tier A with equal means", "close > fast >= slow", "close > fast > slow", (("equal means", "2012-03-15", False),)),
    (
        "tier B with a level mean",
        "trend_slope(bars) > 0",
        "trend_slope(bars) >= 0",
        (("level mean", "2012-03-15", False),),
    ),
    (
        "the median includes the day",
        "range(max(len(bars) - 119, 14), len(bars) + 1)",
        "range(max(len(bars) - 120, 14), len(bars))",
        ((0, "2011-04-04", False), (0, "2011-11-29", True)),
    ),
    (
        "a listing of 80 bars and an unknown median",
        "float(np.median(found)) if len(found) == 120 else math.nan",
        "float(np.median(found))",
        ((0, "2010-11-29", False), (3, "2005-06-28", True)),
    ),
    ("the ATR floor", "atr(bars) >= 0.50 and ", "", ((2, "2006-08-24", True), (10, "2016-09-16", False))),
    ("ATR of exactly 0.50 USD", ">= 0.50 and", "> 0.50 and", ((6, "2010-01-04", True), (14, "2013-06-10", False))),
    ("ATR of 6%", " and now <= 6.0", "", ((40, "2012-08-20", False), (41, "2015-06-10", True))),
    ("ATR against its median", " and now <= 1.15 * median", "", ((0, "2010-11-29", False), (1, "2009-11-17", True))),
    (
        "an outside bar, both by the same",
        "(up > down) & (up > 0)",
        "(up >= down) & (up > 0)",
        ((1, "2009-12-15", True), (1, "2010-01-26", False)),
    ),
    (
        "the first DX of a young listing",
        "both.where(both > 0)\n    return",
        "both.where(both > 0)\n    dx = dx.fillna(0.0)\n    return",
        ((0, "2011-04-04", False), (1, "2009-12-15", True)),
    ),
    (
        "Wilder starts at the first bar of a young listing",
        "ewm(alpha=1 / 14, adjust=False).mean().fillna",
        "ewm(alpha=1 / 14, adjust=True).mean().fillna",
        ((0, "2011-04-04", False), (1, "2009-12-15", True)),
    ),
    (
        "a tie of lows",
        "int(np.argmin(bars.low.to_numpy()[-20:]))",
        "19 - int(np.argmin(bars.low.to_numpy()[-20:][::-1]))",
        ((1, "2010-01-26", False), (6, "2010-01-13", True)),
    ),
    (
        "a tie of highs",
        "int(np.argmax(bars.high.to_numpy()[-20:]))",
        "19 - int(np.argmax(bars.high.to_numpy()[-20:][::-1]))",
        ((6, "2010-01-13", True), (46, "2014-07-02", False)),
    ),
    (
        "the first session, not the first day",
        "opening = sessions()[np.searchsorted(sessions(), begin)]",
        "opening = begin",
        ((17, "2014-08-21", True), (45, "2010-07-28", False)),
    ),
    (
        "a year that began before the first bar",
        "if opening < days[0]:",
        'if unit == "M" and opening < days[0]:',
        ((2, "2006-12-18", False), (51, "2014-12-15", True)),
    ),
    (
        "a listing on the first session of its month or year",
        "if opening < days[0]:",
        "if opening <= days[0]:",
        ((17, "2014-08-21", True), (45, "2010-07-28", False)),
    ),
    (
        "the first bar of 60 has no gap",
        "last = bars.iloc[-60:]\n    before",
        "last = bars.iloc[-61:]\n    before",
        ((6, "2010-04-22", False), (70, "2008-05-05", True)),
    ),
    (
        "a gap down",
        "(last.open - before).abs()",
        "(last.open - before)",
        ((0, "2011-11-29", True), (0, "2012-01-04", False)),
    ),
    (
        "a gap over the previous close",
        ".abs() / before >=",
        ".abs() / last.open >=",
        ((0, "2011-04-04", False), (4, "2015-07-29", True)),
    ),
    ("a gap of exactly 4%", ">= 0.04", "> 0.04", ((1, "2010-01-26", False), (17, "2015-03-10", True))),
    (
        "no mean volume in the first 19 of 60 bars",
        "for at in range(len(last) - 1, 18, -1):\n        loud = volume[at] > 1.8 * mean(volume[at - 19 : at + 1])",
        "for at in range(len(last) - 1, 4, -1):\n        loud = volume[at] > 1.8 * mean(volume[: at + 1][-20:])",
        ((0, "2011-04-04", False), (36, "2005-11-02", True)),
    ),
    (
        "the twentieth of 60 bars has one",
        "range(len(last) - 1, 18, -1)",
        "range(len(last) - 1, 19, -1)",
        ((80, "2012-12-11", False),),
    ),
    (
        "volume of exactly 1.8 means",
        "loud = volume[at] > 1.8",
        "loud = volume[at] >= 1.8",
        (("loud", "2012-03-15", False),),
    ),
    (
        "the mean volume includes its own day",
        "1.8 * mean(volume[at - 19 : at + 1])",
        "1.8 * (mean(volume[at - 20 : at]) if at > 19 else 1e99)",
        ((80, "2012-12-11", False), (153, "2016-02-09", True)),
    ),
    (
        "a breakout needs its range",
        "- low[at]) > 0.7",
        "- low[at]) > -1.0",
        ((6, "2010-01-29", True), (6, "2010-02-22", False)),
    ),
    ("a close at 0.7 of its range", "- low[at]) > 0.7", "- low[at]) >= 0.7", (("range", "2012-03-15", False),)),
    (
        "a close at the prior five days' high",
        "close[at] > max(high",
        "close[at] >= max(high",
        ((6, "2010-04-16", False), (29, "2005-03-08", True)),
    ),
    (
        "highs, not closes, are broken",
        "max(high[at - 5 : at])",
        "max(close[at - 5 : at])",
        ((0, "2011-11-29", True), (0, "2012-01-04", False)),
    ),
    (
        "five prior highs",
        "max(high[at - 5 : at])",
        "max(high[at - 4 : at])",
        ((61, "2008-05-22", True), (66, "2015-09-15", False)),
    ),
    (
        "the anchor bar itself counts",
        "part = bars.iloc[at:]",
        "part = bars.iloc[at + 1 :]",
        ((0, "2011-04-04", False), (0, "2011-11-29", True)),
    ),
    (
        "a line without volume carries on",
        "line.append(money / shares / 2**SCALE if shares else math.nan)",
        "line.append(money / shares / 2**SCALE if shares and part.volume.iloc[len(line)] else math.nan)",
        ((7, "2011-05-13", True), (22, "2008-03-20", False)),
    ),
    (
        "two anchors on one bar: the name",
        "for name, at in anchor_bars(bars).items()",
        "for name, at in reversed(anchor_bars(bars).items())",
        ((0, "2012-01-18", False), (4, "2015-02-18", True)),
    ),
    (
        "two anchors on one bar count once",
        "if at not in taken:",
        "if True:",
        ((0, "2012-01-18", False), (4, "2015-02-18", True)),
    ),
    (
        "confluence of kept lines around the winner",
        '<= 0.01 * best["avwap"]',
        '<= 0.01 * one["avwap"]',
        ((4, "2015-10-27", True), (6, "2010-06-25", False)),
    ),
    ("six values", "len(line) < 6 or", "len(line) < 7 or", ((0, "2011-06-09", False), (0, "2011-11-29", True))),
    (
        "a line is unknown before any volume",
        "or math.isnan(line[-6])",
        "or line.__setitem__(-6, line[-1])",
        (("late volume", "2012-03-15", False),),
    ),
    (
        "reclaim against the line of its own day",
        "side * before <= side * now and",
        "side * before <= side * line[-2] and",
        ((24, "2008-02-20", False), (28, "2014-03-06", True)),
    ),
    ("slope of a long line", "slope >= -0.05 if", "True if", ((170, "2013-12-09", False),)),
    ("slope of a short line", "else slope <= 0.03", "else True", ((142, "2003-10-21", True),)),
    ("slope of a short line is not mirrored", "else slope <= 0.03", "else slope <= 0.05", ((142, "2003-10-21", True),)),
    (
        "reclaim frees from the slope",
        "and (flat or reclaim) and",
        "and flat and",
        ((5, "2013-12-09", True), (18, "2009-08-05", False)),
    ),
    ("within 8%", " and distance <= 8", "", ((0, "2012-09-26", False), (4, "2015-07-29", True))),
    ("near from 0.1%", "50 if 0.1 <=", "50 if 0.0 <=", ((4, "2016-06-29", True), (24, "2007-09-24", False))),
    ("near up to 1.5%", "<= 1.5 else", "<= 2.5 else", ((0, "2012-11-14", False), (4, "2016-06-29", True))),
    ("reclaim bonus", " + (40 if reclaim else 0)", "", ((20, "2007-12-19", True), (24, "2007-12-06", False))),
    ("the stop at the ATR", "entry - side * atr(bars), ", "", ((0, "2011-04-04", False), (3, "2005-12-27", True))),
    ("the stop at 1.5%", ", entry * (1 - side * 0.015)]", "]", ((22, "2008-10-01", False), (25, "2005-09-20", True))),
    (
        "the stop at the swing",
        "places.append",
        "(lambda one: None)",
        ((0, "2011-06-09", False), (0, "2011-11-29", True)),
    ),
    (
        "a swing has its neighbours among 20 bars",
        "to_numpy()[-20:] * side",
        "to_numpy()[-21:] * side",
        ((9, "2014-06-11", False), (11, "2005-01-21", True)),
    ),
    (
        "a swing low beside an equal one, before",
        "last[at] < last[at - 1]",
        "last[at] <= last[at - 1]",
        ((1, "2009-12-15", True), (2, "2006-12-18", False)),
    ),
    (
        "a swing low beside an equal one, after",
        "last[at] < last[at + 1]",
        "last[at] <= last[at + 1]",
        ((1, "2009-12-15", True), (2, "2006-12-18", False)),
    ),
    ("neutral within 0.2%", "<= 0.2 else", "<= 0.1 else", ((0, "2011-11-30", True), (24, "2008-02-20", False))),
    (
        "reclaim label",
        "side * close[-2] <= side * now",
        "side * close[-2] <= side * line[-2]",
        ((6, "2010-07-15", False), (12, "2006-08-03", True)),
    ),
    (
        "a previous close on the line",
        "side * close[-2] <= side * now <",
        "side * close[-2] < side * now <",
        (("on the line", "2012-03-15", False),),
    ),
    (
        "acceptance of three closes",
        "zip(close, line[-3:], strict=True)",
        "zip(close[1:], line[-2:], strict=True)",
        ((0, "2012-01-04", False), (6, "2010-01-13", True)),
    ),
    (
        "acceptance on each day's own line",
        "zip(close, line[-3:], strict=True)",
        "zip(close, [now] * 3, strict=True)",
        ((1, "2010-02-08", False), (20, "2008-02-08", True)),
    ),
    ("balanced to 1", "size <= 1", "size <= 2", ((0, "2012-01-04", False), (3, "2005-12-27", True))),
    ("extended from 6", "size >= 6", "size >= 5", ((0, "2012-09-26", False), (20, "2007-06-25", True))),
    (
        "recent gap in five bars",
        "len(bars) - 5 else",
        "len(bars) - 6 else",
        ((0, "2011-06-09", False), (20, "2008-02-08", True)),
    ),
    (
        "structure over five bars",
        "sma(bars, 50, back=5)",
        "sma(bars, 50, back=10)",
        ((21, "2012-11-20", True), (91, "2007-04-13", False)),
    ),
    (
        "structure with its slope",
        "if fast > slow > before",
        "if fast > slow",
        ((3, "2005-12-27", True), (5, "2013-09-09", False)),
    ),
)
CASES = tuple(Case(what, *day, rule, wrong) for what, rule, wrong, days in _SHOWN for day in days)

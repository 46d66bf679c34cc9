"""Files as the issuer gives them, and `avwapd` on a state folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

Run = Callable[..., tuple[int, str, str]]

SHARES = (
    ("NVDA", "NVIDIA CORP", "Information Technology", "Equity", "1,234,567,890.12", "6.44", "NASDAQ"),
    ("AAPL", "APPLE INC", "Information Technology", "Equity", "999,999.00", "5.65", "NASDAQ"),
    ("BRKB", "BERKSHIRE HATHAWAY INC B", "Financials", "Equity", "1,000.00", "1.37", "New York Stock Exchange Inc."),
    ("SPAM", 'SPAM "N" EGGS, INC', "Consumer Staples", "Equity", "10.00", "0.01", "Cboe BZX"),
    ("UAMY", "UNITED ANTIMONY", "Materials", "Equity", "10.00", "0.01", "Nyse Mkt Llc"),
)  # fmt: skip
OTHERS = (
    ("XTSLA", "BLK CSH FND TREASURY SL AGENCY", "Cash and/or Derivatives", "Money Market", "5.00", "0.14", "-"),
    ("USD", "USD CASH", "Cash and/or Derivatives", "Cash", "-5.00", "-0.05", "-"),
    ("ESZ5", "S&P500 EMINI DEC 25", "Cash and/or Derivatives", "Futures", "0.00", "0.00", "Index And Options Market"),
    ("-", "ESCROW", "Energy", "Equity", "0.00", "0.00", "NO MARKET"),
)
LEGAL = (
    '"The content contained herein is owned or licensed by the issuer, and/or\nits ""information"" providers."\n'
    "Carefully consider the fund's objectives, risk factors, and charges, before investing.\n"
)


def issuer(rows: Iterable[Sequence[str]] = (*SHARES, *OTHERS), day: str = "Nov 20, 2024", tail: str = LEGAL) -> bytes:
    """The issuer's CSV: a preamble, the table, a line with a no-break space, legal text."""
    preamble = (
        f'iShares Russell 3000 ETF\nFund Holdings as of,"{day}"\nInception Date,"May 22, 2000"\n'
        'Shares Outstanding,"51,200,000.00"\nStock,"-"\nBond,"-"\nCash,"-"\nOther,"-"\n\xa0\n'
    )
    header = (
        "Ticker,Name,Sector,Asset Class,Market Value,Weight (%),Notional Value,Quantity,Price,Location,Exchange,"
        "Currency,FX Rate,Market Currency,Accrual Date\n"
    )
    body = ""
    for ticker, name, sector, asset, value, weight, exchange in rows:
        quoted = name.replace('"', '""')
        body += f'"{ticker}","{quoted}","{sector}","{asset}","{value}","{weight}","{value}","1,000.00","1.00",'
        body += f'"United States","{exchange}","USD","1.00","USD","-"\n'
    return ("\ufeff" + preamble + header + body + "\xa0\n" + tail).encode()


def plain(rows: Iterable[Sequence[object]]) -> bytes:
    lines = ("Ticker,Name,Sector,WeightPct", *(",".join(map(str, row)) for row in rows))
    return ("\n".join(lines) + "\n").encode()


def many(count: int) -> list[tuple[str, str, str, str]]:
    """Tickers AAAA, AAAB, …"""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = ("".join(letters[number // 26**power % 26] for power in (3, 2, 1, 0)) for number in range(count))
    return [(name, f"{name} INC", "Energy", "0.01") for name in names]

"""Numbers as a person reads them: the one way in which screens and pages write fractions, counts, sizes and spans."""


def percent(fraction: float | None, digits: int = 2) -> str:
    """A fraction in [0, 1] in per cent: "97.22 %"; a dash for None. `digits` stand behind the point."""
    return "–" if fraction is None else f"{100 * fraction:.{digits}f} %"


def percent_range(low: float, high: float, digits: int = 2) -> str:
    """Two fractions in per cent: "93.71 to 99.02 %"."""
    return f"{100 * low:.{digits}f} to {percent(high, digits)}"


def page_percent(fraction: float | None, digits: int = 1) -> str:
    """`percent` for a page: its space never breaks, and what only rounds to 0 or 100 is "< 0.1 %" or "> 99.9 %"."""
    text = percent(fraction, digits)
    if fraction in (0, 1):
        text = percent(fraction, 0)
    elif text == percent(0, digits):
        text = f"< {percent(0.01 * 10.0**-digits, digits)}"
    elif text == percent(1, digits):
        text = f"> {percent(1 - 0.01 * 10.0**-digits, digits)}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def thousands(count: int) -> str:
    """A whole number with commas between thousands."""
    return f"{count:,}"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """A count and what is counted: "1 image", "1,200 images"; `plural` where it does not end in s."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"


def clock(elapsed_s: float) -> str:
    """Seconds that have passed, as m:ss or h:mm:ss."""
    minutes, seconds = divmod(round(elapsed_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def short_count(count: int) -> str:
    """Three or four digits and a letter: 61.7 k, 1.24 M, 4.09 G."""
    for letter, unit in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= unit:
            return f"{count / unit:.{0 if count >= 100 * unit else 1 if count >= 10 * unit else 2}f} {letter}"
    return str(count)


def short_size(size_bytes: int) -> str:
    """Bytes, 1.2 MB being 1,200,000 of them."""
    for name, unit in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.1f} {name}"
    return f"{size_bytes} B"

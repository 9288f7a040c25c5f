"""Large numbers as a person reads them."""


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

"""Times, sizes and money as people read them. One form each, so that header, history and launcher agree."""

from __future__ import annotations


def clock(seconds: float) -> str:
    """A running clock: `00:41`, `1:02:03`, `2 d 03:04:05`."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}:{rest:02d}"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def duration(seconds: float) -> str:
    """A length of time in a sentence: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`, `24 h`."""
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f} s" if seconds != int(seconds) else f"{int(seconds)} s"
    whole = int(seconds + 0.5)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min" + (f" {whole % 60} s" if whole % 60 else "")
    minutes = whole % 3600 // 60
    return f"{whole // 3600} h" + (f" {minutes:02d} min" if minutes else "")


def size(count: int) -> str:
    """Bytes for people: `120 B`, `3.4 kB`, `1.2 MB`."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f} {unit}" if value < 99.95 else f"{value:.0f} {unit}"
    raise AssertionError


def money(usd: float) -> str:
    """US dollars with as many digits as say something: `$0.0007`, `$0.058`, `$1.24`, `$1,240`."""
    if usd <= 0:
        return "$0"
    if usd < 0.0001:
        return "< $0.0001"
    if usd < 0.01:
        return f"${usd:.4f}"
    if usd < 1:
        return f"${usd:.3f}"
    return f"${usd:.2f}" if usd < 1000 else f"${usd:,.0f}"


def count(number: int, word: str) -> str:
    """`1 line`, `1,200 lines`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def gigabytes(count_bytes: int) -> float:
    """Bytes as the service counts memory: 1 GB is 2^30 bytes."""
    return count_bytes / 2**30

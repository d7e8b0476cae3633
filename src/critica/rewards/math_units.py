"""Units that answers carry: what they measure and by which factor. Imports no torch."""

from collections.abc import Mapping
from fractions import Fraction
from types import MappingProxyType

MULTIPLIERS: Mapping[str, int] = MappingProxyType(
    {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
)
_TABLE: tuple[tuple[str, str, str], ...] = (
    ("length", "1/1000", "mm millimeter millimetre"), ("length", "1/100", "cm centimeter centimetre"),
    ("length", "1", "m meter metre"), ("length", "1000", "km kilometer kilometre"),
    ("length", "127/5000", "inch inches"), ("length", "381/1250", "ft foot feet"), ("length", "1143/1250", "yd yard"),
    ("length", "201168/125", "mi mile"),
    ("mass", "1/1000", "mg milligram"), ("mass", "1", "g gram"), ("mass", "1000", "kg kilogram"),
    ("time", "1", "s sec second"), ("time", "60", "min minute"), ("time", "3600", "h hr hour"),
    ("time", "86400", "day"), ("time", "604800", "week"),
    ("volume", "1/1000", "ml mL milliliter millilitre"), ("volume", "1", "l L liter litre"),
    ("money", "1", "dollar $ usd"), ("money", "1/100", "cent ¢"), ("euro", "1", "euro €"), ("pound sterling", "1", "£"),
    ("length per time", "1397/3125", "mph"), ("length per time", "5/18", "kph kmh"),
    ("angle", "1", "degree ° circ"),
)  # fmt: skip
UNITS: Mapping[str, tuple[str, Fraction]] = MappingProxyType(
    {name: (kind, Fraction(factor)) for kind, factor, names in _TABLE for name in names.split()}
)
POWERS: Mapping[str, int] = MappingProxyType({"square": 2, "sq": 2, "cubic": 3, "cu": 3})


def unit_of(words: str) -> tuple[str, Fraction] | None:
    """(what it measures, factor) of `cm`, `square feet`, `m^2`, `km/h`, `km per hour`; a noun measures itself.

    None for what is no unit at all.
    """
    text = words.strip().strip(".").replace("{", "").replace("}", "")
    for between in ("/", " per "):
        if between in text:
            above, below = (unit_of(part) for part in text.split(between, 1))
            if above is None or below is None:
                return None
            return f"{above[0]} per {below[0]}", above[1] / below[1]
    base, _, exponent = (part.strip() for part in text.partition("^"))
    first, _, rest = base.partition(" ")
    times = int(exponent) if exponent in ("2", "3") else 1 if not exponent else 0
    if first in POWERS and rest:
        base, times = rest, POWERS[first]
    if not times:
        return None
    found = UNITS.get(base) or UNITS.get(base.lower()) or UNITS.get(_singular(base.lower()))
    if found:
        return (found[0], found[1]) if times == 1 else (f"{found[0]}^{times}", found[1] ** times)
    nouns = base.lower().split()
    if len(nouns) > 3 or not all(noun.isalpha() and len(noun) > 2 for noun in nouns):
        return None
    return " ".join([*nouns[:-1], _singular(nouns[-1])]), Fraction(1)


def is_known(word: str) -> bool:
    """Whether the table has the unit, in the singular or the plural."""
    return word in UNITS or _singular(word.lower()) in UNITS


def _singular(noun: str) -> str:
    return noun[:-1] if noun.endswith("s") and not noun.endswith("ss") and len(noun) > 2 else noun

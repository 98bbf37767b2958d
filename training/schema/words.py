"""What the name of a column suggests: words for people, a unit and a group."""

import re

_PARTS = re.compile(r"[^\W\d_]+|\d+")
_HUMPS = re.compile(r"(?<=[a-z])(?=[A-Z])")

SHARE_WORDS = frozenset(
    ("rate", "share", "ratio", "percent", "pct", "fraction", "probability", "score")
)
CODE_WORDS = frozenset(
    (
        *("code", "type", "class", "category", "kind", "region", "zip", "postcode", "plz", "sex"),
        *("gender", "education", "marital", "marriage", "status", "browser", "system", "os"),
        *("channel", "store", "branch", "country", "state", "city", "segment", "cluster", "brand"),
    )
)
"""Whole numbers in a column named so are codes of categories."""

OUTCOME_WORDS = frozenset(
    (
        *("label", "target", "outcome", "y", "purchased", "purchase", "bought", "buy", "buyer"),
        *("converted", "conversion", "churn", "churned", "default", "response", "responded"),
        *("subscribed", "deposit", "revenue", "income", "ordered", "won", "next", "joined"),
    )
)
ID_WORDS = frozenset(
    (
        *("id", "uuid", "guid", "user", "userid", "customer", "customerid", "client", "clientid"),
        *("person", "member", "account", "subscriber", "visitor", "household", "email"),
    )
)
SNAPSHOT_WORDS = frozenset(("snapshot", "date", "day", "week", "month"))

_UNITS = {
    "days": ("day", "recency"),
    "years": ("age", "year"),
    "seconds": ("second", "duration"),
    "minutes": ("minute",),
    "hours": ("hour",),
}
_MEASURED = frozenset(("avg", "average", "mean", "value", "spend", "price", "amount", "rate"))
_COUNTED = frozenset(
    (
        *("session", "order", "visit", "click", "page", "item", "coupon", "purchase"),
        *("email", "message", "login", "product", "return", "call", "ticket", "visitor"),
    )
)
_GROUPS = {
    "marketing": ("email", "mail", "push", "sms", "coupon", "ad", "campaign", "newsletter"),
    "transaction": (
        *("order", "spend", "purchase", "price", "amount", "refund", "discount", "revenue"),
        *("history", "basket", "bill", "pay", "payment", "balance", "limit"),
    ),
    "profile": (
        *("age", "sex", "gender", "country", "region", "city", "zip", "language", "education"),
        *("marital", "marriage", "race", "occupation", "account", "tier", "channel", "device"),
        *("browser", "system", "newbie", "tenure"),
    ),
    "behavioural": (
        *("session", "page", "view", "visit", "click", "search", "cart", "bounce", "exit"),
        *("duration", "checkout", "login", "wishlist"),
    ),
    "temporal": ("day", "week", "weekend", "month", "hour", "evening", "recency", "trend"),
}


def name_words(name: str) -> tuple[str, ...]:
    """The words of a name, in lower case and in the singular: `BounceRates` has bounce and rate."""
    found = _PARTS.findall(_HUMPS.sub("_", name))
    return tuple(_singular(word.lower()) for word in found)


def _singular(word: str) -> str:
    is_plural = len(word) > 3 and word.endswith("s") and word[-2] not in "su"
    return word[:-1] if is_plural else word


def guessed_label(name: str) -> str:
    """The name as a title."""
    words = " ".join(re.findall(r"[^\W_]+", _HUMPS.sub("_", name))).lower()
    return words[:1].upper() + words[1:]


def guessed_unit(name: str) -> str:
    """The unit that a name speaks of; empty if it speaks of none."""
    words = name_words(name)
    for unit, signs in _UNITS.items():
        if any(sign in words for sign in signs):
            return unit
    if _MEASURED.intersection(words):
        return ""
    return next((f"{word}s" for word in words if word in _COUNTED), "")


def guessed_group(name: str) -> str:
    """The group that a name belongs to; empty if none is near."""
    words = name_words(name)
    return next(
        (group for group, signs in _GROUPS.items() if any(sign in words for sign in signs)), ""
    )

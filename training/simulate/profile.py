"""Six marketing and seven profile features, and which of their values are missing."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from training.simulate.columns import MARKETING, PROFILE
from training.simulate.people import BoolArray, FloatArray, IntArray, People, log_odds, sigmoid

# Market, share in per mille, main language of the shop there.
MARKETS = (
    ("US", 225, "en"), ("DE", 110, "de"), ("GB", 105, "en"), ("FR", 85, "fr"), ("IT", 60, "it"),
    ("ES", 55, "es"), ("NL", 40, "nl"), ("PL", 40, "pl"), ("CA", 38, "en"), ("BR", 35, "pt"),
    ("MX", 30, "es"), ("JP", 28, "ja"), ("AU", 22, "en"), ("IN", 20, "en"), ("SE", 18, "en"),
    ("BE", 16, "nl"), ("AT", 15, "de"), ("CH", 14, "de"), ("PT", 10, "pt"), ("CZ", 9, "cs"),
    ("IE", 8, "en"), ("DK", 7, "da"), ("FI", 5, "fi"), ("NO", 3, "en"), ("AE", 2, "en"),
)  # fmt: skip
COUNTRIES = tuple(country for country, _, _ in MARKETS)
LANGUAGES = ("en", "de", "fr", "it", "es", "nl", "pl", "pt", "ja", "cs", "da", "fi")
DEVICES = ("ios_app", "android_app", "mobile_web", "desktop", "tablet")
CHANNELS = ("organic_search", "paid_search", "social", "referral", "email", "affiliate", "direct")
TIERS = ("none", "bronze", "silver", "gold", "platinum")
AGE_BANDS = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")

DEVICE_LOG_ODDS = (0.0, 0.2, 0.1, 0.2, -1.7)
AGE_LOG_ODDS = (-0.4, 0.2, 0.2, 0.0, -0.4, -0.9)
# Rows are USER_TYPES, columns are CHANNELS.
CHANNEL_LOG_ODDS = (
    (0.4, 0.4, 0.3, -0.9, -0.9, 0.0, 0.0),
    (0.4, 0.3, 0.6, -0.7, -1.0, -0.2, 0.0),
    (0.1, 0.2, 0.0, -0.5, 0.2, 0.7, -0.3),
    (0.5, 0.3, 0.0, -0.6, -0.6, -0.3, 0.1),
    (0.3, -0.2, -0.4, 0.3, 0.0, -0.4, 0.6),
    (0.4, 0.0, -0.3, 0.2, -0.5, -0.5, 0.5),
    (0.1, 0.5, 0.8, 0.1, -1.0, 0.1, -0.3),
)
# What is answered: the share of a typical user, and how much it follows from their response.
EMAIL_OPENED = (0.22, 0.75)
EMAIL_CLICKED = (0.20, 0.45)  # of those opened
PUSH_CLICKED = (0.07, 0.65)
TEXT_CLICKED = (0.05, 0.30)
# Share of marketing fields missing at random, besides those of users who refuse consent.
FIELD_LOSS = 0.005
TIER_POINTS = (4.8, 6.4, 7.9)  # bronze below the first, platinum above the last


def marketing_columns(rng: np.random.Generator, people: People) -> dict[str, FloatArray | IntArray]:
    """The marketing features except `coupon_redemptions`, which depend on orders."""
    rows = len(people.kind)
    emails = 1 + rng.poisson(24.0, rows)
    opened = rng.binomial(emails, _answer(rng, people, *EMAIL_OPENED))
    clicked = rng.binomial(opened, _answer(rng, people, *EMAIL_CLICKED))
    pushes = 1 + rng.poisson(18.0, rows)
    pushed = rng.binomial(pushes, _answer(rng, people, *PUSH_CLICKED))
    texts = 1 + rng.poisson(4.0, rows)
    texted = rng.binomial(texts, _answer(rng, people, *TEXT_CLICKED))
    ads = 0.5 * np.sqrt(people.sessions) * np.exp(0.35 * people.response)
    ads = ads * (people.quiet_days < 30) * rng.gamma(0.7, 1.0 / 0.7, rows)
    return {
        "email_open_rate": opened / emails,
        "email_click_rate": clicked / emails,
        "push_click_rate": pushed / pushes,
        "sms_click_rate": texted / texts,
        "ad_clicks_last_30d": rng.poisson(ads),
    }


@dataclass(frozen=True, slots=True)
class Profile:
    """What an account says about its user, and what decides device and loyalty tier; [rows] each."""

    market: IntArray  # index into MARKETS
    language: IntArray
    channel: IntArray
    age: IntArray
    fond_of_apps: FloatArray  # log-odds of an app being the main device
    device_noise: FloatArray  # [rows, devices]
    tier_noise: FloatArray  # points
    tier_luck: FloatArray  # the smaller, the sooner the user joins


def draw_profile(rng: np.random.Generator, people: People) -> Profile:
    """The accounts of people; nothing here changes as long as they are users."""
    rows = len(people.kind)
    age = _pick(rng, np.tile(AGE_LOG_ODDS, (rows, 1)))
    shares = np.array([share for _, share, _ in MARKETS], dtype=np.float64)
    market = np.searchsorted(np.cumsum(shares / shares.sum())[:-1], rng.random(rows), side="right")
    main = np.array([LANGUAGES.index(language) for _, _, language in MARKETS])[market]
    foreign = rng.integers(0, len(LANGUAGES), rows)
    language = np.where(rng.random(rows) < 0.93, main, np.where(rng.random(rows) < 0.5, 0, foreign))
    tier_noise, tier_luck = 0.6 * rng.standard_normal(rows), rng.random(rows)
    device_noise = rng.gumbel(size=(rows, len(DEVICES)))
    return Profile(
        market=market,
        language=language,
        channel=_pick(rng, np.array(CHANNEL_LOG_ODDS)[people.kind]),
        age=age,
        fond_of_apps=0.35 * people.response - 0.3 * (age - 2),
        device_noise=device_noise,
        tier_noise=tier_noise,
        tier_luck=tier_luck,
    )


def profile_columns(
    profile: Profile, account_days: IntArray, spend: FloatArray, app_shift: float
) -> dict[str, pl.Series | IntArray]:
    """The seven profile features; `spend` is that of the last 365 days, in USD."""
    device = np.tile(DEVICE_LOG_ODDS, (len(spend), 1))
    device[:, :2] += (profile.fond_of_apps + app_shift)[:, np.newaxis]

    points = np.log1p(spend) + 0.3 * np.log1p(account_days / 365.0)
    points = points + profile.tier_noise
    joined = profile.tier_luck < sigmoid(0.45 * (points - 3.5))
    tier = np.where(joined, 1 + np.searchsorted(TIER_POINTS, points), 0)
    return {
        "country": pl.Series(COUNTRIES).gather(profile.market),
        "device_type": pl.Series(DEVICES).gather(np.argmax(device + profile.device_noise, axis=1)),
        "acquisition_channel": pl.Series(CHANNELS).gather(profile.channel),
        "loyalty_tier": pl.Series(TIERS).gather(tier),
        "age_band": pl.Series(AGE_BANDS).gather(profile.age),
        "preferred_language": pl.Series(LANGUAGES).gather(profile.language),
        "account_age_days": account_days,
    }


def missing_values(rng: np.random.Generator, people: People) -> dict[str, BoolArray]:
    """Which marketing and profile values are null: by refused consent, by loss, and of guests."""
    lost = {name: rng.random(len(people.kind)) < FIELD_LOSS for name in MARKETING}
    missing = {name: people.refuses | lost[name] for name in MARKETING}
    return missing | dict.fromkeys(PROFILE, people.guest)


def draw_answers(rng: np.random.Generator, people: People) -> FloatArray:
    """Which share of messages each user answers; float64 [rows, 4].

    E-mails opened, those of them clicked, push messages clicked, text messages clicked.
    """
    channels = (EMAIL_OPENED, EMAIL_CLICKED, PUSH_CLICKED, TEXT_CLICKED)
    return np.stack([_answer(rng, people, *channel) for channel in channels], axis=1)


def _answer(
    rng: np.random.Generator, people: People, typical: float, strength: float
) -> FloatArray:
    noise = 0.4 * rng.standard_normal(len(people.kind))
    return sigmoid(log_odds(np.full(1, typical)) + strength * people.response + noise)


def _pick(rng: np.random.Generator, weights: FloatArray) -> IntArray:
    # Gumbel-max: the index of the largest is drawn with the softmax of the log-odds.
    choice: IntArray = np.argmax(weights + rng.gumbel(size=weights.shape), axis=1)
    return choice

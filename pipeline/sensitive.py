"""Personal data and secrets in texts: where they are, of which kind, and texts with them masked.

Found by form, not by meaning: an address counts whoever it belongs to, names of people are not looked for. The libraries take
one text at a time, so a pattern that lets through every text with a finding (`_SCREENS`) runs over the whole column first:
few texts reach Python, each distinct one once. Nothing here uses the network; no secret is ever tried out.
"""

import bisect
import functools
import ipaddress
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, get_args

import phonenumbers
import polars as pl
from phonenumbers import Leniency, NumberParseException, PhoneNumberMatcher
from stdnum import iban, luhn

from pipeline.config import SensitiveKind

KINDS: Final[tuple[SensitiveKind, ...]] = get_args(SensitiveKind)  # where two findings overlap, the earlier kind has it
PERSONAL: Final = tuple(kind for kind in KINDS if kind != "secret")

Span = tuple[int, int]

# Supersets of what the finders below find, for the whole column at once (Rust's regex: linear time).
_SCREENS: Final[dict[SensitiveKind, str]] = {
    "secret": r"A3T|ABIA|ACCA|AKIA|ASIA|(?i:aws)|gh[pousr]_|github_pat_|(?i:gl[a-z]+-)|(?i:xox)|(?i:hooks\.slack)|[rs]k_live_|SG\."
    r"|(?:AC|SK)[a-z0-9]{32}|npm_|pypi-|sk-|[MNO][\w-]{23,25}\.|\d{8}:|AccountKey|sq0csp|-us\d|eyJ|PRIVATE KEY|://[^\s]+:[^\s]+@|AIza|hf_",
    "email": "@",
    "iban": r"[A-Z]{2}\d{2} ?[A-Z0-9]{4}",
    "card": r"(?:\d[ -]?){12}\d",
    "ip": r"\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]*:){2}",
    "phone": r"[+＋]\D{0,3}\d|\d{3}\)? ?[-. ]?\d{3}[-. ]\d{4}|1[3-9]\d[ -]?\d{4}[ -]?\d{4}",  # noqa: RUF001
}

_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])(?!git@)[A-Za-z0-9._%+-][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+"
    # No top-level domain: `icon@2x.png`. A call: `a@b.transpose()`.
    r"(?!(?:png|jpe?g|gif|svg|webp|bmp|tiff?|ico|pdf|css|js|jsx|tsx|json|html?|xml|yaml|csv|txt)\b)[A-Za-z]{2,24}(?![\w(])",
    re.ASCII,
)
_IN_URL = re.compile(r"://[^\s/@]*$")  # who logs in there: `ftp://user:password@ftp.example.com`
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_CARD = re.compile(
    r"(?<![\w.-])(?:[2-6][0-9]{13,15}|[2-6][0-9]{3}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}|3[0-9]{3}([ -])[0-9]{6}\2[0-9]{4,5})"
    r"(?![\w-]|\.[0-9])",
    re.ASCII,
)
_ISSUED = re.compile(  # Visa, Mastercard, Discover, UnionPay, JCB; American Express; Diners
    r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6011|6[245][0-9]{2}|35[0-9]{2})[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
)
_IPV4 = re.compile(r"(?<![\w.-])(?<![A-Za-z]/)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![\w-]|\.[0-9])", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])", re.ASCII)
_VERSION = re.compile(r"(?:\bv|version|release|build|section)[ .:=]*$", re.IGNORECASE)
_NOBODYS = [
    ipaddress.ip_network(network)
    for network in ("0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3")
] + [ipaddress.ip_network(network) for network in ("::/127", "fc00::/7", "fe80::/10", "ff00::/8")]
# National forms: North America with its punctuation, mobile numbers of China. Other countries' need the country code.
_NATIONAL = {
    "US": re.compile(
        r"(?<![\w+./-])(?:1[-. ])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-.])[2-9][0-9]{2}[-. ][0-9]{4}(?![\w-]|\.[0-9])", re.ASCII
    ),
    "CN": re.compile(r"(?<![\w+./-])1[3-9][0-9]([ -]?)[0-9]{4}\1[0-9]{4}(?![\w-]|\.[0-9])", re.ASCII),
}
_SUM = re.compile(r"[A-Za-z0-9)][+]|[+]\s")  # 12+4915112345678 or 12 + 4915112345678
_KEY = r"(?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
# What detect-secrets 1.5.0 does not know, or knows the first part of only (key blocks, web tokens).
_MORE_SECRETS = (
    re.compile(rf"-----BEGIN {_KEY}(?:[^\"]{{0,10000}}?-----END {_KEY}|(?:\s*[A-Za-z0-9+/=]{{16,}})*)"),
    re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?"),
    re.compile(r"github_pat_[A-Za-z0-9_]{36,}"),
    re.compile(r"AIza[0-9A-Za-z_-]{35}"),
    re.compile(r"sk-(?:ant|proj|svcacct|or)-[A-Za-z0-9_-]{20,}|sk-[A-Za-z0-9]{32,}"),
    re.compile(r"hf_[A-Za-z]{34}|npm_[A-Za-z0-9]{36}"),
    # A password in an address, unless it stands for one: `://user:password@`, `://user:<token>@`.
    re.compile(r"://[^\s:/@\"'<>]+:(?!(?:password|passwd|pass|pwd|secret|token|key|x+|\*+|\.+)@)([^\s:/@\"'<>{}$\[\]]+)@", re.IGNORECASE),
)


def find(texts: pl.Series, kinds: Sequence[SensitiveKind] = KINDS) -> pl.DataFrame:
    """What is in texts.

    Args:
        texts: strings; null holds nothing.
        kinds: what to look for.

    Returns:
        (text, found: list of kinds, one a finding): the distinct texts with at least one finding, in no order.
    """
    found = [(text, [kind for _, _, kind in spans]) for text in _screened(texts, kinds) if (spans := _spans(_clean(text), kinds))]
    return pl.DataFrame(found, schema={"text": pl.String, "found": pl.List(pl.String)}, orient="row")


def masks(texts: pl.Series, kinds: Sequence[SensitiveKind], *, is_json: bool = False) -> pl.DataFrame:
    """Texts with a placeholder (`<EMAIL>`) for each finding.

    Args:
        texts: strings; null holds nothing.
        kinds: what to mask.
        is_json: the texts are JSON, or were meant to be: strings and numbers are masked as the values that they are.

    Returns:
        (text, masked, found: list of kinds, one a finding): the distinct texts that change. A masked text holds no further
        finding, also after normalisation (NFC, line ends), so masking it again changes nothing.
    """
    change = _mask_json if is_json else _mask_text
    rows = [(text, *changed) for text in _screened(texts, kinds, is_json) if (changed := change(text, kinds))[1]]
    return pl.DataFrame(rows, schema={"text": pl.String, "masked": pl.String, "found": pl.List(pl.String)}, orient="row")


def _screened(texts: pl.Series, kinds: Sequence[SensitiveKind], is_json: bool = False) -> list[str]:
    """The distinct texts that may hold one of the kinds."""
    patterns = [_SCREENS[kind] for kind in kinds] + ([r"\\u00"] if is_json else [])  # `\u0040` is an @
    if not kinds:
        return []
    some: list[str] = texts.filter(texts.str.contains("|".join(patterns)).fill_null(False)).unique().to_list()
    return some


def _clean(text: str) -> str:
    """The form in which a text is published, but for white space at its end."""
    return unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")


def _mask_text(text: str, kinds: Sequence[SensitiveKind]) -> tuple[str, list[str]]:
    found: list[str] = []
    changed = _clean(text)
    while spans := _spans(changed, kinds):  # each round leaves less that could be found
        parts, end = [], 0
        for start, stop, kind in spans:
            parts += [changed[end:start], f"<{kind.upper()}>"]
            end = stop
        changed = "".join([*parts, changed[end:]])
        found += [kind for _, _, kind in spans]
    return (changed, found) if found else (text, found)


_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*+"?|(?<![\w.+-])[0-9]{12,19}(?![\w.])', re.DOTALL)


def _mask_json(text: str, kinds: Sequence[SensitiveKind]) -> tuple[str, list[str]]:
    """Mask inside JSON's strings and long numbers, where the rest stays as it is; what is no JSON is masked as text."""
    found: list[str] = []

    def masked(literal: re.Match[str]) -> str:
        written = literal[0]
        try:
            value = str(json.loads(written, strict=False))
        except ValueError:
            return written
        changed, kinds_found = _mask_text(value, kinds)
        found.extend(kinds_found)
        return json.dumps(changed, ensure_ascii=False) if kinds_found else written

    changed, left = _mask_text(_LITERAL.sub(masked, text), kinds)
    return changed, found + left


def _spans(text: str, kinds: Iterable[SensitiveKind]) -> list[tuple[int, int, SensitiveKind]]:
    """(start, end, kind) of each finding, in order, none overlapping another."""
    taken: list[tuple[int, int, SensitiveKind]] = []
    for kind in sorted(kinds, key=KINDS.index):
        for start, end in _FINDERS[kind](text):
            at = bisect.bisect(taken, start, key=lambda span: span[0])
            if (at == 0 or taken[at - 1][1] <= start) and (at == len(taken) or end <= taken[at][0]):
                taken.insert(at, (start, end, kind))
    return taken


def _emails(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from (match.span() for match in _EMAIL.finditer(text) if not _IN_URL.search(text, max(0, match.start() - 80), match.start()))


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        for end in range(match.end(), match.start() + 14, -1):  # a word in capitals may follow
            if text[end - 1] != " " and iban.is_valid(text[match.start() : end]):
                yield match.start(), end
                break


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        digits = re.sub("[ -]", "", match[0])
        if _ISSUED.fullmatch(digits) and luhn.is_valid(digits):
            yield match.span()


def _addresses(text: str) -> Iterator[Span]:
    for match in (*_IPV4.finditer(text), *_IPV6.finditer(text)):
        written = match[0]
        if "." in written and (max(map(int, written.split("."))) < 10 or _VERSION.search(text, max(0, match.start() - 12), match.start())):
            continue  # 1.2.3.4 is a version or a section
        if ":" in written and (len([group for group in written.split(":") if group]) < 3 or not any(c.isdigit() for c in written)):
            continue  # dead::beef is code
        try:
            address = ipaddress.ip_address(written)
        except ValueError:
            continue
        if not any(address in network for network in _NOBODYS if network.version == address.version):
            yield match.span()


def _phones(text: str) -> Iterator[Span]:
    if "+" in text or "＋" in text:  # noqa: RUF001
        for match in PhoneNumberMatcher(text, None, leniency=Leniency.VALID):
            if not _SUM.search(text, max(0, match.start - 1), match.start + 2):
                yield match.start, match.end
    for region, pattern in _NATIONAL.items():
        yield from (match.span() for match in pattern.finditer(text) if _is_phone(match[0], region))


def _is_phone(number: str, region: str) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, region))
    except NumberParseException:
        return False


def _secrets(text: str) -> Iterator[Span]:
    for pattern in (*_MORE_SECRETS, *_vendor_patterns()):
        for match in pattern.finditer(text):
            # A group is the secret where it is long enough to be one (the key in `aws_key = "..."`), or the password of an address.
            group = next((i for i in range(1, (pattern.groups or 0) + 1) if match[i] and (len(match[i]) >= 16 or match[0][0] == ":")), 0)
            start, end = match.span(group)
            if match[0][0] == ":" or start == 0 or not (text[start - 1].isascii() and text[start - 1].isalnum()):
                yield start, end


@functools.cache
def _vendor_patterns() -> tuple[re.Pattern[str], ...]:
    """Yelp's detect-secrets: the patterns of keys that look like nothing else. Its guesses by entropy or variable name are left out."""
    # Imported late: they bring `requests`, for checks with the vendors that are never called here.
    from detect_secrets.plugins import (
        aws,
        azure_storage_key,
        discord,
        github_token,
        gitlab_token,
        mailchimp,
        pypi_token,
        sendgrid,
        slack,
        square_oauth,
        stripe,
        telegram_token,
        twilio,
    )

    plugins = (
        aws.AWSKeyDetector, azure_storage_key.AzureStorageKeyDetector, discord.DiscordBotTokenDetector, github_token.GitHubTokenDetector,
        gitlab_token.GitLabTokenDetector, mailchimp.MailchimpDetector, pypi_token.PypiTokenDetector,
        sendgrid.SendGridDetector, slack.SlackDetector, square_oauth.SquareOAuthDetector, stripe.StripeDetector,
        telegram_token.TelegramBotTokenDetector, twilio.TwilioKeyDetector,
    )  # fmt: skip
    return tuple(pattern for plugin in plugins for pattern in plugin.denylist)


_FINDERS: Final[dict[SensitiveKind, Callable[[str], Iterator[Span]]]] = {
    "secret": _secrets,
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "ip": _addresses,
    "phone": _phones,
}

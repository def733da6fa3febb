"""Replacing secrets: the rules of detect-secrets (the maintained fork), offline, without its entropy and network parts.

Running every rule over every line is slow, so each rule has a cheap sign: a literal that any secret of its kind has
near it. Only the surroundings of a sign are shown to the rule.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from detect_secrets.plugins import (
    artifactory,
    aws,
    azure_storage_key,
    basic_auth,
    cloudant,
    discord,
    github_token,
    ibm_cos_hmac,
    jwt,
    npm,
    sendgrid,
    slack,
    softlayer,
    square_oauth,
    stripe,
)
from detect_secrets.plugins.keyword import KeywordDetector

PLACEHOLDER = "<REDACTED>"


@dataclass(frozen=True)
class Rule:
    """A kind of secret: its patterns are tried where one of `signs` (lower case) is found."""

    type: str
    signs: tuple[str, ...]
    patterns: tuple[re.Pattern[str], ...]


def _library(detector: type, *signs: str) -> Rule:
    return Rule(detector.secret_type, signs, tuple(detector.denylist))  # type: ignore[attr-defined]


_RULES = (
    _library(artifactory.ArtifactoryDetector, "akc", "artifactory", "jfrog"),
    _library(aws.AWSKeyDetector, "akia", "asia", "abia", "acca", "a3t", "aws"),
    _library(azure_storage_key.AzureStorageKeyDetector, "accountkey", "account_key", "storagekey", "storage_key"),
    _library(basic_auth.BasicAuthDetector, "://"),
    _library(cloudant.CloudantDetector, "cloudant"),
    _library(discord.DiscordBotTokenDetector, "discord", "bot"),
    _library(github_token.GitHubTokenDetector, "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
    _library(ibm_cos_hmac.IbmCosHmacDetector, "secret_key", "secret-key", "secretkey", "access_key", "access-key"),
    _library(jwt.JwtTokenDetector, "eyj"),
    _library(npm.NpmDetector, "npm_", "_authtoken"),
    _library(sendgrid.SendGridDetector, "sg."),
    _library(slack.SlackDetector, "xox", "hooks.slack.com"),
    _library(softlayer.SoftlayerDetector, "softlayer"),
    _library(square_oauth.SquareOAuthDetector, "sq0csp-"),
    _library(stripe.StripeDetector, "sk_live_", "rk_live_"),
    Rule("Twilio API Key", ("twilio",), (re.compile(r"\b(?:AC|SK)[a-f0-9]{32}\b"),)),
    Rule("Mailchimp Access Key", ("-us",), (re.compile(r"\b[0-9a-f]{32}-us[0-9]{1,2}\b"),)),
    # kinds that the library does not know
    Rule("GitHub Token", ("github_pat_",), (re.compile(r"\bgithub_pat_[A-Za-z0-9_]{36,}"),)),
    Rule("GitLab Token", ("glpat-",), (re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),)),
    Rule("Google API Key", ("aiza",), (re.compile(r"\bAIza[0-9A-Za-z_-]{35}"),)),
    Rule("API Key", ("sk-",), (re.compile(r"\bsk-(?:[a-z]{2,8}-)?(?=[\w-]{0,40}\d)[A-Za-z0-9_-]{32,}"),)),
    Rule("Hugging Face Token", ("hf_",), (re.compile(r"\bhf_[A-Za-z]{34}\b"),)),
    Rule("PyPI Token", ("pypi-age",), (re.compile(r"\bpypi-AgE[A-Za-z0-9_-]{50,}"),)),
)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]{0,30})PRIVATE KEY(?: BLOCK)?-----"
    r"(?P<body>[^-]{40,16384}?(?:-[^-]{0,16384}?){0,4})-----END (?P=kind)PRIVATE KEY"
)
_KEY_MATERIAL = re.compile(r"[A-Za-z0-9+/=]{30}")
_KEYWORDS = (
    "password", "passwd", "pwd", "secret", "token", "api_key", "apikey", "api-key", "auth_key", "access_key",
    "private_key", "client_key", "account_key", "service_key", "db_pass",
)  # fmt: skip
_KEYWORD_TYPE = KeywordDetector.secret_type
_QUOTED = re.compile(r"""["'`]([^\s"'`]{8,200})(?=["'`])""")
_BEFORE, _AFTER = 160, 640
_PLACEHOLDERS = re.compile(
    r"(?i)pass(?:word|wd|phrase)?\d*|pwd|secret|token|user(?:name)?|example|changeme|x+|\*+|\.+|test\w*|foo|bar|baz|hunter2|none|null|"
    r"my_?\w*|your\W?\w*|dummy\w*|fake\w*|p(?:ass)?|admin|root|guest"
)


@dataclass(frozen=True)
class Secret:
    """A secret that was replaced: line from 1, offset in characters, and kind."""

    line: int
    start: int
    type: str


_keyword_detector = KeywordDetector()


def redact(text: str) -> tuple[str, list[Secret]]:
    """`text` with its secrets replaced by `PLACEHOLDER`, and where they were. Doing it again changes nothing."""
    spans = sorted(_find(text))
    if not spans:
        return text, []
    parts: list[str] = []
    secrets: list[Secret] = []
    lines = [m.start() for m in re.finditer("\n", text)]
    done = 0
    for start, end, kind in spans:
        if start < done:
            continue
        parts += [text[done:start], PLACEHOLDER]
        done = end
        secrets.append(Secret(bisect.bisect_left(lines, start) + 1, start, kind))
    parts.append(text[done:])
    return "".join(parts), secrets


def _find(text: str) -> Iterator[tuple[int, int, str]]:
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose lower case is two characters would shift the rest
        lower = "".join(c.lower() if c.isascii() else c for c in text)
    for rule in _RULES:
        for start, end in _windows(text, lower, rule.signs):
            for pattern in rule.patterns:
                for match in pattern.finditer(text, start, end):
                    if (span := _span(match, rule.type)) is not None:
                        yield *span, rule.type
    if "private key" in lower:
        for match in _PRIVATE_KEY.finditer(text):
            if _KEY_MATERIAL.search(match["body"]):
                yield *match.span("body"), "Private Key"
    for start, end in _windows(text, lower, _KEYWORDS):
        window = text[start:end]
        # the library's patterns are slow, so the value is judged before the name beside it
        if any(_looks_random(value) for value in _QUOTED.findall(window)):
            yield from _keyword_secrets(window, start)


def _windows(text: str, lower: str, signs: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """The lines with a sign, each once; of a very long line, the part round the sign."""
    for sign in signs:
        at = lower.find(sign)
        while at >= 0:
            start = max(text.rfind("\n", 0, at) + 1, at - _BEFORE)
            end = text.find("\n", at)
            end = min(len(text) if end < 0 else end, at + _AFTER)
            yield start, end
            at = lower.find(sign, max(end, at + 1))


def _span(match: re.Match[str], kind: str) -> tuple[int, int] | None:
    """The part of a match to replace: its longest group, or all of it when the groups hold only a prefix."""
    groups = [match.span(n) for n in range(1, match.re.groups + 1) if match[n]]
    start, end = max(groups, key=lambda g: g[1] - g[0], default=match.span())
    if kind == "Basic Auth Credentials":
        value = match.string[start:end]
        harmless = value.isalpha() or _PLACEHOLDERS.fullmatch(value) or set(value) & set("{}<>%`")
        return None if harmless else (start, end)
    if end - start < 8:
        start, end = match.span()
    value = match.string[start:end]
    if "EXAMPLE" in value.upper() or (len(value) > 16 and _entropy(value) < 2.5):
        return None
    return start, end


def _keyword_secrets(window: str, offset: int) -> Iterator[tuple[int, int, str]]:
    for value in set(_keyword_detector.analyze_string(window)):
        if _looks_random(value):
            at = window.find(value)
            while at >= 0:
                yield offset + at, offset + at + len(value), _KEYWORD_TYPE
                at = window.find(value, at + len(value))


def _looks_random(value: str) -> bool:
    """Whether a quoted value beside a word such as "password" is one: no word, name, path, format or placeholder."""
    if not 8 <= len(value) <= 200 or any(c.isspace() for c in value) or set(value) & set("{}<>()[]\\"):
        return False
    if value.startswith("$") or any(sign in value.lower() for sign in ("%s", "...", "://", "example")):
        return False
    digits = sum(c.isdigit() for c in value)
    letters = sum(c.isalpha() for c in value)
    if digits < 2 or letters < 2 or _PLACEHOLDERS.fullmatch(value):
        return False
    changes = sum(_kind(a) != _kind(b) for a, b in itertools.pairwise(value))
    return changes >= 3 and _entropy(value) >= 2.8


def _kind(character: str) -> int:
    return 0 if character.isdigit() else 1 if character.islower() else 2 if character.isupper() else 3


def _entropy(value: str) -> float:
    """Shannon entropy, bits per character."""
    return -sum(n / len(value) * math.log2(n / len(value)) for n in Counter(value).values())

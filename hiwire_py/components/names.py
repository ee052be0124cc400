"""The grammar of the names of imports and exports, and which of them are too much alike.

A *label* is in kebab case: words in small letters or acronyms in capitals, with ``-`` between them. A plain
name is a label, perhaps with what a function is of a resource in brackets before it; an interface name has a
package and perhaps a version.

Format: component model, Explainer.md, "Import and Export Definitions" and "Name Uniqueness".
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .definitions import ExternName

__all__ = ["Invalid", "Name", "article", "check_attributes", "check_labels", "parse_name"]

_LABEL = r"(?:[a-z][0-9a-z]*|[A-Z][0-9A-Z]*)(?:-(?:[0-9a-z]+|[0-9A-Z]+))*"
_WORDS = r"[a-z][0-9a-z]*(?:-[0-9a-z]+)*"
_is_label = re.compile(_LABEL).fullmatch
_plain = re.compile(
    rf"(?:(\[constructor\])({_LABEL})|(\[method\]|\[static\])({_LABEL})\.({_LABEL}))"
).fullmatch
_interface = re.compile(rf"({_WORDS}:{_WORDS}/{_LABEL})(?:@(.*))?", re.DOTALL).fullmatch
_NUMBER = r"(0|[1-9][0-9]*)"
_PRERELEASE = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_BUILD = r"[0-9A-Za-z-]+"
_semver = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}"
    rf"(-{_PRERELEASE}(?:\.{_PRERELEASE})*)?(?:\+{_BUILD}(?:\.{_BUILD})*)?"
).fullmatch


def article(word: str) -> str:
    """A word with "a" or "an" before it."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


class Invalid(Exception):
    """A rule is broken; the message says which one. Whoever knows the place adds it."""


class Name(NamedTuple):
    """The name of an import or export.

    Attributes:
        kind: ``"label"``, ``"interface"``, or what a function is of a resource: ``"constructor"``,
            ``"method"`` or ``"static"``.
        resource: the label of that resource; "" for others.
        unique: what may come only once in a scope.
    """

    kind: str
    resource: str
    unique: str


def check_labels(labels: tuple[str, ...], what: str) -> None:
    """Labels of one scope: fields of a record, parameters of a function and the like."""
    seen: dict[str, str] = {}
    for label in labels:
        if not _is_label(label):
            raise Invalid(f"the {what} {label!r} is not in kebab case")
        lower = label.lower()
        if lower in seen:
            raise Invalid(f"the {what} {label!r} conflicts with {seen[lower]!r}")
        seen[lower] = label


def parse_name(text: str, suffix: str | None = None) -> Name:
    """The parts of a name. ``suffix`` is what was split off its version."""
    if _is_label(text):
        return Name("label", "", text.lower())
    found = _plain(text)
    if found is not None:
        constructor, whole, kind, resource, member = found.groups()
        if constructor:
            return Name("constructor", whole, text.lower())
        same = resource.lower() == member.lower()
        return Name(kind[1:-1], resource, resource.lower() if same else f"{resource}.{member}".lower())
    found = _interface(text)
    if found is None:
        raise Invalid(f"{text!r} is neither a plain name in kebab case nor the name of an interface")
    path, version = found.groups()
    if version is None:
        if suffix is not None:
            raise Invalid(f"a version suffix stands at {text!r}, which has no version")
        return Name("interface", "", path.lower())
    _check_version(version, suffix)
    return Name("interface", "", f"{path.lower()}@{version}")


def _check_version(version: str, suffix: str | None) -> None:
    whole = version + (suffix or "")
    found = _semver(whole)
    if found is None or max(int(part[:21]) for part in found.groups()[:3]) >= 1 << 64:
        raise Invalid(f"{whole!r} is not a semantic version")
    if suffix is not None:
        # What comes before a release fits nothing but itself: all of it but the build is canonical.
        major, minor, patch, before = found.groups()
        canonical = major
        if before is not None:
            canonical = f"{major}.{minor}.{patch}{before}"
        elif major == "0":
            canonical = f"0.{minor}" if minor != "0" else f"0.0.{patch}"
        if version != canonical:
            raise Invalid(f"{version!r} is not the canonical version of {whole!r}: that is {canonical!r}")


def check_attributes(name: ExternName, sort: str) -> Name:
    """The parts of a name of something of a sort, with its attributes."""
    attributes = dict(name.attributes)
    if len(attributes) < len(name.attributes):
        raise Invalid(f"{name.text!r} has two attributes of the same kind")
    implements, suffix = attributes.get("implements"), attributes.get("versionsuffix")
    if suffix is not None:
        if sort != "instance":
            raise Invalid("only an instance can have a version suffix")
        if not suffix:
            raise Invalid("a version suffix is empty")
    if implements is None:
        parsed = parse_name(name.text, suffix)
        if suffix is not None and parsed.kind != "interface":
            raise Invalid("a version suffix stands at a name that is not that of an interface")
        return parsed
    if sort != "instance":
        raise Invalid("only an instance can implement an interface")
    parsed = parse_name(name.text)
    if parsed.kind != "label":
        raise Invalid(f"{name.text!r} is no label, and cannot say what it implements")
    if parse_name(implements, suffix).kind != "interface":
        raise Invalid(f"what {name.text!r} implements, {implements!r}, is no name of an interface")
    return parsed

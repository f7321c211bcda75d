"""The policy for humans: one line per attribute, and the page docs/de-identification.md, from the data the engine runs on."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from radanon_node.settings_profile import TagSettings
from radanon_node.tags import policy as policy_module
from radanon_node.tags.policy import Action, TagPolicy
from radanon_node.tags.tables import METHOD_CODES, OPTION_COLUMNS, concepts, method_meanings, profile_rows, safe_private
from radanon_node.tags.walk import ElementFate

_ACTIONS = {
    "X": "removed; a sequence with all its items",
    "Z": "empty; a dummy where the IOD forbids an empty value",
    "D": "a dummy value that is valid for the VR; identifiers get keyed stand-ins that differ from each other",
    "U": "a new UID, the same for the same original everywhere; UIDs that the standard defines stay",
    "K": "kept; a sequence is kept and its items are treated by their own rules; text is looked through for this patient's identifiers",
    "C": "cleaned: identity is taken out, harmless words stay",
    "C (dates)": "moved back by the patient's shift",
    "replace": "set to the site's own value",
}


@dataclass(frozen=True, slots=True)
class PolicyLine:
    """What a profile does with one attribute.

    Parameters
    ----------
    tag : str
        ``(gggg,eeee)``.
    name : str
    action : str
        The action code; a compound one as it stands, since the instance's IOD resolves it.
    rule : str
        Which table, option or site rule decided.
    """

    tag: str
    name: str
    action: str
    rule: str


def policy_lines(settings: TagSettings) -> list[PolicyLine]:
    """Every attribute that the profile speaks of, by tag, then the site's rules for others.

    Raises
    ------
    ConfigError
        When a site rule names no attribute.
    """
    policy = TagPolicy(settings)
    lines = []
    for tag, row in sorted(profile_rows().items()):
        decision = policy.decide((tag,), None, row.vr)
        assert decision is not None
        action = row.basic if " basic" in decision.rule else decision.action.value
        rule = decision.rule.split(":")[0] if not decision.rule.startswith("site") else decision.rule
        lines.append(PolicyLine(_tag(tag), row.name if row.source == "E.1-1" else row.keyword, action, rule))
    for site in policy.rules:
        if len(site.path) > 1 or site.path[0] not in profile_rows():
            name = {Action.REMOVE: "X", Action.KEEP: "K"}.get(site.action, "replace")
            lines.append(PolicyLine(_tag(site.path[-1]), site.text, name, f"site {name}"))
    return lines


def summarize(objects: Iterable[Iterable[ElementFate]]) -> list[tuple[str, str, str, str, int]]:
    """A dry run over many objects in one table: what would change where, how often.

    Parameters
    ----------
    objects : iterable of iterable of ElementFate
        From ``Scrubber.explain``, one per object.

    Returns
    -------
    list of (path, keyword, action, rule, count)
        By path and keyword; item numbers are left out of the paths. Kept elements are counted too.
    """
    counts = Counter(
        (re.sub(r"\[\d+\]", "", fate.path), fate.keyword, fate.action, fate.rule) for fates in objects for fate in fates
    )
    return [(*key, count) for key, count in sorted(counts.items())]


def render_policy(settings: TagSettings) -> str:
    """`policy_lines` as a Markdown table."""
    rows = [f"| {line.tag} | {line.name} | {line.action} | {line.rule} |" for line in policy_lines(settings)]
    return "\n".join(["| tag | attribute | action | rule |", "|---|---|---|---|", *rows]) + "\n"


def render_documentation() -> str:
    """The page docs/de-identification.md."""
    parts = [
        "# De-identification of attributes\n",
        "<!-- Made by scripts/generate_tag_docs.py from the tables in radanon_node/tags/data; tests/tags/test_describe.py holds it to "
        "them. -->\n",
        "The Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E (edition 2026c) is always applied, at every "
        "depth of "
        "nesting, by tag number whatever the VR. Options of the profile change single rows; the site's own rules change them further.\n",
        "## Actions\n",
        _table(("code", "what happens"), _ACTIONS.items()),
        "## Precedence\n",
        textwrap.dedent(policy_module.__doc__ or "").split("\n\n", 1)[1].strip() + "\n",
        "## Types\n",
        "| code | Type 3, or not in the IOD | Type 2, 2C | Type 1, 1C |\n|---|---|---|---|\n" + "".join(
            f"| {code} | {' | '.join(_resolved(code, kind) for kind in ('3', '2', '1'))} |\n"
            for code in ("X", "Z", "D", "X/Z", "X/D", "X/Z/D", "Z/D", "X/Z/U*")
        ),
        "Conditions of Type 1C and 2C cannot be evaluated: where the attribute was present they count as 1 and 2, but for the plain "
        "code X, "
        "which removes them. Where the IOD is not known (a retired or private SOP class that the site accepts) the strongest form is "
        "used. A sequence that may not be empty is removed or gets one dummy item.\n",
        "Source Image Sequence and Referenced Image Sequence (X/Z/U\\*) are emptied where they are Type 2, but kept with new UIDs "
        "where the "
        "instance lists the series it refers to (Common Instance Reference Module), because that list without a reference is invalid.\n",
        "## Beyond the table\n",
        _BEYOND,
        "## Options\n",
        _table(
            ("option", "code", "meaning"),
            ((f"`{name}`" if name != "basic" else "always", f"DCM {code}", method_meanings()[code]) for name, code in METHOD_CODES.items()),
        ),
        "A code is written into De-identification Method Code Sequence (0012,0064) only for what was applied: `clean_pixel_data` and "
        "`clean_recognizable_visual_features` only if the pixel stage says that it was done.\n",
        "## Attributes\n",
        "Columns: B Basic Profile; U UIDs; D device; I institution; P patient characteristics; F full dates; M modified dates; T "
        "descriptors; "
        "S structured content; G graphics. `(50xx,xxxx)` and private attributes: see above.\n",
        _attributes(),
        f"## Concepts of structured reports\n\nUnder `clean_structured_content` {len(concepts())} concept names of Table E.3.4-1 decide "
        "about their content items (X: the item goes with all below it, or stays as a dummy where the report refers to its items by "
        "position). Of other items: person names become dummies, texts are cleaned, dates and UIDs follow their options, numbers and "
        "codes "
        "stay. An age above 89 years is given as 90.\n",
        f"## Safe private attributes\n\nUnder `retain_safe_private` {len(safe_private())} attributes of Table E.3.10-1 stay: matched "
        f"by private "
        "creator, group and low byte of the element, the creator declared in the same data set or item, the VR the listed one and the "
        "value "
        "fit for it. `private_keep` adds the site's own, written `(gggg,xxee) Private Creator`.\n",
    ]  # fmt: skip
    return "\n".join(parts)


_BEYOND = """\
- File meta information and preamble are written anew; groups 0000, 0002, 0004, 0006 and group lengths are removed from the data set.
- Private attributes are removed at every depth, also in sequences that came as UN.
- Curves (50xx) go; overlays (60xx) go as whole groups, labels and descriptions with them, unless the site retains `(60xx,3000)`.
- Retired pixel data of other groups `(7Fxx,eeee)` and image coefficients `(7FE0,0020)` to `(7FE0,0040)` go: nothing looks at them.
- Attributes of even groups that the dictionary does not know, or knows without a name, are removed.
  Pixels inside a sequence that would be kept hold the instance.
- Names of persons, addresses of servers, order numbers and UIDs of instances that Table E.1-1 does not list are treated as the
  supplement says (marked *supplement* below).
- Patient ID and Patient's Name become the same keyed pseudonym, or the one of the site's table; they are added where they were missing.
- Every text that is kept, listed or not, is looked through for this instance's own identifiers and, by
  default, those known from the patient's other instances (`pseudonyms.remember_identifiers`; sealed in the ledger, for a folder within the
  run): names of patient and staff in the
  spellings people and programs use (run together, taken apart, as logins, with and without accents, in the other kana, escaped for
  the web), IDs (also with other separators or as a digest), dates, the institution. Misspelt, abbreviated, reversed names and
  look-alike letters of other alphabets are not found. Text in no declared character set becomes ASCII.
- Ages above 89 years that are kept are given as 90 years.
- Where the table's own rows would break the IOD: the owner of an animal (2297, 2299; X) becomes empty, since animals require it. Two
  cases are left as the table has them: an ethics committee's name (D) without its approval number (X), and a neutered patient (K).
- Encapsulated documents are held, or replaced by an empty valid document (`encapsulated_documents`).
"""


def _resolved(code: str, kind: str) -> str:
    return policy_module.by_type(code, kind, is_sequence=code.endswith("*")).value


def _attributes() -> str:
    columns = [name for name in OPTION_COLUMNS.values() if name != "retain_safe_private"]
    rows = []
    for tag, row in sorted(profile_rows().items()):
        name = row.name if row.source == "E.1-1" else f"{row.keyword} (*supplement*: {row.name})"
        rows.append((_tag(tag), name, row.basic.replace("*", "\\*"), *(row.options.get(column, "") for column in columns)))
    return _table(("tag", "attribute", "B", "U", "D", "I", "P", "F", "M", "T", "S", "G"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _tag(tag: int) -> str:
    text = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    return text.replace("(6000,", "(60xx,")

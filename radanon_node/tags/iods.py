"""The type (PS3.5 Section 7.4) of an attribute in the IOD of an instance, at its nesting path.

Read from two data files: which modules each storage SOP class has (PS3.3 Annex A), and the type that each module gives the
attributes of Table E.1-1 at each path of enclosing sequences (PS3.3 Annex C, macros expanded).
"""

from __future__ import annotations

from collections import defaultdict
from functools import cache

from radanon_node.tags.tables import read_csv

Path = tuple[str, ...]
"""Keywords of the enclosing sequences, outermost first."""

STRENGTH = {"3": 0, "2C": 1, "2": 2, "1C": 3, "1": 4}
_DEEPEST_LISTED = 4
"""The type table expands macros down to this many enclosing sequences."""


@cache
def _module_types() -> dict[str, list[tuple[Path, str, str]]]:
    types: dict[str, list[tuple[Path, str, str]]] = defaultdict(list)
    for line in read_csv("module_types.csv"):
        path = tuple(line["path"].split("/")) if line["path"] else ()
        types[line["module"]].append((path, line["keyword"], line["type"]))
    return types


@cache
def _modules() -> dict[str, list[tuple[str, str]]]:
    modules: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for line in read_csv("iod_modules.csv"):
        modules[line["sop_class_uid"]].append((line["module"], line["usage"]))
    return modules


@cache
def _by_parent() -> dict[tuple[str, str], str]:
    """(innermost sequence, keyword) -> the strictest type any module gives it there."""
    found: dict[tuple[str, str], str] = {}
    for types in _module_types().values():
        for path, keyword, kind in types:
            if path:
                key = (path[-1], keyword)
                found[key] = max(found.get(key, "3"), kind, key=STRENGTH.__getitem__)
    return found


def has_iod(sop_class_uid: str) -> bool:
    """Whether the modules of this SOP class are known."""
    return sop_class_uid in _modules()


def folded(path: Path) -> Path:
    """`path` with sequences that hold themselves (content trees) written once.

    Examples
    --------
    >>> folded(("ContentSequence", "ContentSequence", "ConceptCodeSequence"))
    ('ContentSequence', 'ConceptCodeSequence')
    """
    return tuple(name for index, name in enumerate(path) if index == 0 or path[index - 1] != name)


_MOST_ASKED = 10_000


class IodTypes:
    """Attribute types of one SOP class.

    Every module of the IOD counts, the optional ones too: an attribute is only looked up when it is present, and its presence is
    the evidence that its module is. Where modules differ the strictest type holds.

    Parameters
    ----------
    sop_class_uid : str
        If its modules are not known, every attribute counts as Type 1C: compound codes take their strongest form.
    """

    def __init__(self, sop_class_uid: str) -> None:
        self.known = has_iod(sop_class_uid)
        self._types: dict[tuple[Path, str], str] = {}
        self._asked: dict[tuple[Path, str], str | None] = {}
        for module, _usage in _modules().get(sop_class_uid, []):
            for path, keyword, kind in _module_types().get(module, []):
                key = (folded(path), keyword)
                self._types[key] = max(self._types.get(key, "3"), kind, key=STRENGTH.__getitem__)

    def type_of(self, path: Path, keyword: str) -> str | None:
        """``1``, ``1C``, ``2``, ``2C``, ``3``, or None if the IOD does not have the attribute there.

        Parameters
        ----------
        path : tuple of str
            Keywords of the enclosing sequences, outermost first.
        keyword : str
        """
        if not self.known:
            return "1C"
        try:
            return self._asked[path, keyword]  # the same few hundred, instance after instance
        except KeyError:
            pass
        place = folded(path)
        found = self._types.get((place, keyword))
        if found is None and len(place) > _DEEPEST_LISTED:
            found = _by_parent().get((place[-1], keyword))
        if len(self._asked) < _MOST_ASKED:
            self._asked[path, keyword] = found
        return found

    def __iter__(self) -> object:
        return iter(self._types.items())


@cache
def iod_types(sop_class_uid: str) -> IodTypes:
    """The types of a SOP class, made once per process."""
    return IodTypes(sop_class_uid)

"""What is printed, stuck or burnt on films: words, letters and made-up identities of many hospitals and languages."""

from __future__ import annotations

import numpy as np

POSITION_WORDS = (
    "PORTABLE",
    "AP",
    "PA",
    "SUPINE",
    "ERECT",
    "UPRIGHT",
    "SEMI",
    "SEMI-ERECT",
    "SITTING",
    "STANDING",
    "LAT",
    "LATERAL",
    "DECUB",
    "OBL",
    "WEIGHT BEARING",
    "MOBILE",
    "BED",
    "INSP",
    "EXP",
    "INSPIRATION",
    "EXPIRATION",
    "SEMIUPRIGHT",
    "PRONE",
    "FRONT",
    "STAT",
    "AP PORTABLE",
    "CROSS TABLE",
    "FLEX",
    "EXT",
    "NEUTRAL",
    "PRE",
    "POST",
    "POST OP",
    "OR",
    "ICU",
    "ER",
    "XR",
    "WB",
    "NWB",
    "INT",
    "PORT",
    "SUP",
    "LIEGEND",
    "STEHEND",
    "SITZEND",
    "BETTAUFNAHME",
    "LIEG",
    "SITZ",
    "BETT",
    "DEBOUT",
    "COUCHE",
    "ASSIS",
    "AU LIT",
    "FACE",
    "PROFIL",
    "DE PIE",
    "ACOSTADO",
    "SENTADO",
    "PORTATIL",
    "IN PIEDI",
    "SUPINO",
    "SEDUTO",
    "A LETTO",
    "VLEZE",
    "VESTOJE",
    "VSEDE",
    "LEZE",
    "STOJE",
    "SEDE",
    "DECUBITO",
    "LEZACO",
    "STOJACO",
    "LIGGENDE",
    "STAENDE",
    "ZITTEND",
    "STAAND",
    "ALLONGE",
    "1 METER",
    "40 IN",
    "72 INCH",
    "180CM",
    "GRID",
    "NO GRID",
    "COUCHÉ",
    "DECÚBITO",
    "PORTÁTIL",
    "DE PÉ",
    "DEITADO",
    "LEŽE",
    "VSTOJE",
    "STÅENDE",
    "SITTANDE",
    "LEŻĄCO",
    "AYAKTA",
    "YATARAK",
    "ЛЁЖА",
    "СТОЯ",
    "ΟΡΘΙΑ",
    "BECKENÜBERSICHT",
    "BASSIN",
    "PELVIS",
    "CADERA",
    "BACINO",
)
SIDE_WORDS = (
    "LEFT",
    "RIGHT",
    "LT",
    "RT",
    "LINKS",
    "RECHTS",
    "LI",
    "RE",
    "GAUCHE",
    "DROITE",
    "DROIT",
    "DX",
    "SIN",
    "SN",
    "IZQ",
    "DER",
    "IZQUIERDA",
    "DERECHA",
    "DEXTER",
    "SINISTER",
    "LEVA",
    "PRAVA",
    "ESQ",
    "DIR",
    "VENSTRE",
    "HOEJRE",
    "L SIDE",
    "R SIDE",
    "L HIP",
    "ЛЕВЫЙ",
    "ПРАВЫЙ",
    "LEWA",
    "SAĞ",
    "HÖGER",
    "VÄNSTER",
    "R KNEE",
    "LT ARM",
)
OTHER_SIDE_LETTERS = "DIGSPHVEB"
_CAPTIONS = (
    "W: 4096 L: 2048",
    "WL 2047 WW 4095",
    "kV 125 mAs 2.1",
    "120 kVp",
    "2.5 mAs",
    "SID 180",
    "EI 1520",
    "S 284",
    "S:320 L:1.9",
    "L=2.2",
    "REX 1890",
    "EXI 412",
    "10 cm",
    "5 cm",
    "Zoom 54%",
    "1:1",
    "100%",
    "Im: 1/2",
    "Se: 1",
    "Image 1",
    "A",
    "B",
    "C",
    "a)",
    "(b)",
    "Fig. 1",
    "1",
    "2",
    "DOB",
    "Acc#",
    "GE",
    "FUJI",
    "AGFA",
    "KODAK",
    "PHILIPS",
    "SIEMENS",
    "CR 5",
    "DX-D",
    "Room 3",
    "Not for diagnostic use",
    "ORIGINAL",
    "SAMPLE",
    "case 12",
)
_FIRST = (
    "JOHN",
    "MARY",
    "ANNA",
    "PETER",
    "JOSE",
    "MARIA",
    "HANS",
    "EVA",
    "LUCA",
    "JAN",
    "IVAN",
    "OLGA",
    "ALI",
    "FATIMA",
    "WEI",
    "YUKI",
    "Petra",
    "Pavel",
)
_LAST = (
    "SMITH",
    "JONES",
    "MULLER",
    "NOVAK",
    "GARCIA",
    "ROSSI",
    "MARTIN",
    "NGUYEN",
    "KOWALSKI",
    "SVENSSON",
    "IVANOV",
    "TANAKA",
    "OKAFOR",
    "HORVAT",
    "Dubois",
    "Santos",
    "Hansen",
    "Jansen",
    "Brown",
    "Wilson",
    "Taylor",
    "Patel",
    "Cohen",
    "Kim",
)
_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def initials(rng: np.random.Generator) -> str:
    """One to three letters of a technologist, sometimes with a digit."""
    letters = "".join(rng.choice(list(_CAPITALS), int(rng.choice([1, 2, 2, 2, 3, 3]))))
    return letters + (str(rng.integers(0, 10)) if rng.random() < 0.1 else "")


def side_letter(rng: np.random.Generator) -> str:
    if rng.random() < 0.1:
        return str(rng.choice(list(OTHER_SIDE_LETTERS)))
    return "L" if rng.random() < 0.5 else "R"


def date(rng: np.random.Generator) -> str:
    y, m, d = int(rng.integers(1930, 2030)), int(rng.integers(1, 13)), int(rng.integers(1, 29))
    styles = (
        f"{d:02}.{m:02}.{y}",
        f"{m:02}/{d:02}/{y}",
        f"{y}-{m:02}-{d:02}",
        f"{d}/{m}/{y % 100:02}",
        f"{y}{m:02}{d:02}",
        f"{d:02}-{m:02}-{y}",
    )
    return str(rng.choice(styles))


def clock(rng: np.random.Generator) -> str:
    h, m = int(rng.integers(0, 24)), int(rng.integers(0, 60))
    return str(
        rng.choice(
            [
                f"{h:02}:{m:02}",
                f"{h:02}{m:02}",
                f"{h:02}:{m:02}:{rng.integers(0, 60):02}",
                f"{h % 12 + 1}:{m:02} {'AP'[h > 11]}M",
                f"{h}{m:02}H",
            ]
        )
    )


def identity(rng: np.random.Generator) -> str:
    """A made-up name or number in one of the usual spellings."""
    first, last = str(rng.choice(_FIRST)), str(rng.choice(_LAST))
    number = str(rng.integers(10**4, 10 ** int(rng.integers(5, 11))))
    styles = (
        f"{last}, {first}",
        f"{last} {first}",
        f"{last}^{first}",
        last,
        f"{first[0]}. {last}",
        f"ID {number}",
        f"#{number}",
        number,
        f"MRN:{number}",
        f"{number[:6]}/{number[-4:]}",
    )
    return str(rng.choice(styles))


def text(rng: np.random.Generator) -> str:
    """Anything else with characters."""
    kind = rng.random()
    if kind < 0.36:
        value = str(rng.choice(POSITION_WORDS))
    elif kind < 0.48:
        value = str(rng.choice(SIDE_WORDS))
    elif kind < 0.60:
        value = identity(rng)
    elif kind < 0.68:
        value = date(rng)
    elif kind < 0.75:
        value = clock(rng)
    elif kind < 0.85:
        value = str(rng.choice(_CAPTIONS))
    elif kind < 0.93:
        value = "".join(rng.choice(list(_CAPITALS + _CAPITALS.lower() + "0123456789"), int(rng.integers(2, 9))))
    else:
        value = str(rng.integers(0, 10 ** int(rng.integers(1, 5))))
    style = rng.random()
    return value.title() if style < 0.08 else value.lower() if style < 0.14 else value

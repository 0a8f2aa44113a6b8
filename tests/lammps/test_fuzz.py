"""Wrong input lines, made at random from a table of keywords: each is an error that names the keyword.

All lines go through one LAMMPS in a process of its own, which catches errors; a crash or a hang of it is a failure.
Keywords that the plugin does not have are left out, by what its own message says is allowed.
"""

import random
from dataclasses import dataclass

import pytest

from ..conftest import sheared_crystal
from .talk import Talk, talking

SEED = 20260711

NUMBER, COUNT, POSITIVE_COUNT, NAME, BIAS = "number", "count", "positive count", "name", "number, ramp"
GOOD = {NUMBER: ["0.1", "2", "1e-3"], COUNT: ["0", "7"], POSITIVE_COUNT: ["1", "3"], NAME: ["u.extxyz"]}
GOOD[BIAS] = ["0.1", "2 ramp 10"]
BAD = {
    NUMBER: ["-1", "-0.5", "abc", "nan", "inf", "1e999", "1.5x", "--2"],
    COUNT: ["-3", "1.5", "abc", "99999999999999999999999", "2x"],
    POSITIVE_COUNT: ["0", "-3", "1.5", "abc", "99999999999999999999999", "2x"],
    NAME: [],
}
BAD[BIAS] = [*BAD[NUMBER], "1 ramp", "1 ramp 0", "1 ramp -5", "1 ramp abc"]


@dataclass(frozen=True)
class Style:
    """A command, and what follows its keywords: one of the kinds above, or a list of the words allowed."""

    command: str
    keywords: dict[str, str | list[str]]
    needs: dict[str, str]


PAIR = Style(
    "pair_style mollifield",
    {
        "device": ["cpu", "auto"],
        "threads": POSITIVE_COUNT,
        "driver": ["mean", "member 0"],
        "halo": ["exchange", "ghost"],
    },
    {},
)
FIX = Style(
    "fix f all mollifield/uncertainty 5",
    {
        "quantity": ["force", "force_rel", "latent"],
        "reduce": ["max", "mean", "q99"],
        "select": NUMBER,
        "stop": NUMBER,
        "error": ["hard", "soft", "continue"],
        "file": NAME,
        "append": ["yes", "no"],
        "max_frames": POSITIVE_COUNT,
        "min_gap": COUNT,
        "novelty": NUMBER,
        "calibrated": ["yes", "no"],
        "bias": BIAS,
    },
    {"select": "file", "append": "file", "max_frames": "file", "min_gap": "file", "novelty": "file", "error": "stop"},
)
STYLES = {"pair": PAIR, "fix": FIX}


class Lines:
    """Lines of one style, from the keywords that the plugin knows."""

    def __init__(self, style: Style, known: list[str], seed: int) -> None:
        self.style = style
        self.keywords = {key: kind for key, kind in style.keywords.items() if key in known}
        self.random = random.Random(seed)

    def good_value(self, key: str) -> str:
        kind = self.keywords[key]
        return self.random.choice(GOOD[kind] if isinstance(kind, str) else kind)

    def bad_values(self, key: str) -> list[str]:
        kind = self.keywords[key]
        return BAD[kind] if isinstance(kind, str) else ["maybe", kind[0].upper(), "-1", "1.5"]

    def valid(self, without: str = "") -> list[str]:
        """Some keywords with their values, whatever they need included, but never `without`."""
        names = [key for key in self.keywords if key != without and self.style.needs.get(key) != without]
        chosen = self.random.sample(names, self.random.randint(0, len(names)))
        for key in list(chosen):
            needed = self.style.needs.get(key)
            if needed is not None and needed not in chosen:
                chosen.append(needed)
        return [f"{key} {self.good_value(key)}" for key in chosen]

    def line(self, parts: list[str]) -> str:
        return " ".join([self.style.command, *parts])

    def somewhere(self, part: str, without: str) -> str:
        parts = self.valid(without)
        needed = self.style.needs.get(without)
        if needed is not None and not any(p.split()[0] == needed for p in parts):
            parts.append(f"{needed} {self.good_value(needed)}")
        parts.insert(self.random.randint(0, len(parts)), part)
        return self.line(parts)

    def wrong(self) -> list[tuple[str, str]]:
        """(line, what its error must name)."""
        found = []
        for key in self.keywords:
            for typo in (key + "s", key[:-1], key.upper(), key[::-1]):
                found.append((self.somewhere(f"{typo} {self.good_value(key)}", key), f"'{typo}'"))
            for value in self.bad_values(key):
                found.append((self.somewhere(f"{key} {value}", key), key))
            found.append((self.line([*self.valid(key), key]), key))
            for _ in range(3):
                part = f"{key} {self.good_value(key)}"
                needed = self.style.needs.get(key)
                first = [] if needed is None else [f"{needed} {self.good_value(needed)}"]
                found.append((self.line([*first, part, f"{key} {self.good_value(key)}"]), key))
            if key in self.style.needs:
                found.append((self.line([f"{key} {self.good_value(key)}"]), key))
        return found


@pytest.fixture(scope="module")
def talk(tmp_path_factory, model_file):
    with talking(tmp_path_factory.mktemp("fuzz"), sheared_crystal(), model_file) as talk:
        yield talk


def known(talk: Talk, style: Style) -> list[str]:
    message = talk.say(f"{style.command} nonsense 1")
    assert "unknown keyword 'nonsense'; allowed: " in message
    return message.split("allowed: ")[1].split(" (")[0].replace("\n", " ").replace(",", " ").split()


@pytest.mark.parametrize("name", STYLES)
def test_wrong_lines_name_the_keyword(name, talk):
    style = STYLES[name]
    lines = Lines(style, known(talk, style), SEED)
    wrong = lines.wrong()
    assert len(wrong) > 10 * len(lines.keywords) >= 20
    silent = []
    for line, named in wrong:
        message = talk.say(line)
        if message is None or named not in message.split("Last input line")[0]:
            silent.append(f"{line!r} must name {named}: {message}")
    assert not silent, f"{len(silent)} of {len(wrong)}:\n" + "\n".join(silent[:20])


@pytest.mark.parametrize("name", STYLES)
def test_right_lines_are_taken(name, talk):
    """Otherwise the test above would pass with a style that refuses everything."""
    style = STYLES[name]
    lines = Lines(style, known(talk, style), SEED)
    for _ in range(50):
        line = lines.line(lines.valid())
        assert talk.say(line) is None, line


@pytest.mark.parametrize(
    "arguments, named",
    [
        ("", "missing"),
        ("0", "N"),
        ("-5", "N"),
        ("x", "'x'"),
        ("1.5", "'1.5'"),
        ("file u.xyz", "'file'"),
        ("99999999999999", "99999999999999"),
    ],
)
def test_wrong_interval(arguments, named, talk):
    message = talk.say(f"fix f all mollifield/uncertainty {arguments}")
    assert message is not None and named in message


@pytest.mark.parametrize(
    "arguments, named",
    [
        ("* *", "pair_coeff"),
        ("1 1 MODEL H C O", "pair_coeff"),
        ("* * MODEL", "0 elements in pair_coeff"),
        ("* * MODEL H C", "2 elements in pair_coeff"),
        ("* * MODEL H C O O", "4 elements in pair_coeff"),
        ("* * MODEL h c o", "'h'"),
        ("* * MODEL H C -1", "'-1'"),
        ("* * nowhere.pt H C O", "'nowhere.pt'"),
        ("* * MODEL NULL NULL NULL", "NULL"),
        ("* * H C O MODEL", "'H'"),
        ("* * . H C O", "'.'"),
    ],
)
def test_wrong_coefficients(arguments, named, talk, model_file):
    message = talk.say("pair_style mollifield", f"pair_coeff {arguments}".replace("MODEL", str(model_file)))
    assert message is not None and named in message


@pytest.mark.parametrize("member", ["3", "-1", "x", "1.5", "99999999999999"])
def test_wrong_member(member, talk, model_file):
    message = talk.say(f"pair_style mollifield driver member {member}", f"pair_coeff * * {model_file} H C O")
    assert message is not None and "member" in message.split("Last input line")[0]

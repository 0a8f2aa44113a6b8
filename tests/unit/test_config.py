"""Configuration: defaults, and errors that name file, key and remedy."""

import copy
from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Field, PositiveInt, SerializeAsAny

from mollifield_train.active.config import LoopConfig, check_same_run
from mollifield_train.config import TrainConfig, load_train_config
from mollifield_train.loss.mollifier import FORMS
from mollifield_train.model.presets import PRESETS
from mollifield_train.same_run import differences
from mollifield_train.section import Kind, Section, Tagged, validated

MINIMAL = "data: {train: frames.xyz}\n"


def load(tmp_path: Path, text: str, *overrides: str) -> TrainConfig:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    return load_train_config(path, overrides)


def test_a_regulariser_that_is_asked_for_weighs_lightly(tmp_path):
    assert load(tmp_path, MINIMAL).loss.mollifier is None
    config = load(tmp_path, MINIMAL, "loss.mollifier={}")
    assert config.loss.mollifier is not None
    assert config.loss.mollifier.weight / config.loss.forces == pytest.approx(1e-6)
    assert (config.loss.energy, config.loss.forces, config.loss.stress) == (1.0, 1000.0, "auto")
    assert config.loss.mollifier.sums == "per_atom"
    assert config.committee.training == "together"


def test_formulas_own_numbers_are_one_line_away(tmp_path):
    config = load(tmp_path, MINIMAL, "loss={units: scaled, forces: 5.0, mollifier: {width: 1.0, weight: 10.0}}")
    assert config.loss.units == "scaled"
    assert (config.loss.forces, config.loss.mollifier.width, config.loss.mollifier.weight) == (5, 1, 10)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {train: a.xyz}\nlos: {}", r"config\.yaml: unknown key 'los'; did you mean 'loss'\?"),
        (
            "data: {train: a.xyz}\nloss: {mollifier: {wieght: 1}}",
            r"unknown key 'loss\.mollifier\.wieght'; did you mean 'weight'\?",
        ),
        ("data: {train: a.xyz}\nmodel: {rmax: 4}", r"unknown key 'model\.rmax'; did you mean 'r_max'\?"),
        (
            "data: {train: a.xyz}\ncommittee: {zzz: 4}",
            r"'committee\.zzz'; known keys: n_members, training, workers, cluster, bootstrap",
        ),
        ("model: {l_max: 1}", r"config\.yaml: key 'data' is missing"),
        ("data: {train: a.xyz}\nmodel: {r_max: -1}", r"key 'model\.r_max'.*greater than 0, found -1"),
        (
            "data: {train: a.xyz}\nloss: {mollifier: {kernel: box}}",
            r"'loss\.mollifier\.kernel'.*'gaussian' or 'compact', found 'box'",
        ),
        ("data: {train: a.xyz}\nloss: {forces: .nan}", r"key 'loss\.forces'"),
        ("data: {train: a.xyz}\nmodel: {shifts: {Xx: 1.0}}", r"'Xx' is not a chemical symbol"),
        ("- 1\n- 2", r"config\.yaml: expected a mapping of keys, found list"),
        ("data: {train: ", r"config\.yaml: not valid YAML"),
        ("seed: 1\ndata: {train: a.xyz}\nseed: 2", r"config\.yaml: key 'seed' in line 3 stands in line 1 already"),
        ("data:\n  train: a.xyz\n  valid: b.xyz\n  train: c.xyz", r"key 'train' in line 4 stands in line 2 already"),
        ("data: {train: a.xyz}\n? [1]\n: 2", r"config\.yaml: not valid YAML: .*unhashable key"),
        (
            "data: {train: a.xyz}\nloss: {energy: 0, forces: 0, stress: 0}",
            r"config\.yaml: key 'loss': the weights of energy, forces and stress are all 0",
        ),
        ("data: {train: a.xyz}\nloss: {energy: 0, forces: 0}", r"are all 0: there is nothing to learn"),
    ],
)
def test_mistakes_are_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.yaml: cannot read the config file: No such file"):
        load_train_config(tmp_path / "nowhere.yaml")


def test_overrides_reach_nested_keys(tmp_path):
    config = load(tmp_path, MINIMAL, "optimiser.epochs=7", "loss.mollifier=null", "seed=3")
    assert (config.optimiser.epochs, config.loss.mollifier, config.seed) == (7, None, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimiser.epochs", "expected section.key=value"),
        ("optimiser.epoch=3", r"unknown key 'optimiser\.epoch'; did you mean 'epochs'"),
        ("data.train.deeper=3", "'train' is a value, not a section"),
        ("optimiser={epochs: 7, minutes: 3}", r"'epochs' \(7\) means nothing beside 'minutes' \(3\): give one"),
    ],
)
def test_wrong_overrides_are_named(tmp_path, override, message):
    with pytest.raises(ValueError, match=message):
        load(tmp_path, MINIMAL, override)


def test_merged_keys_may_be_overridden(tmp_path):
    merged = load(tmp_path, "data: {<<: {train: a.xyz, valid: b.xyz}, train: c.xyz}\n")
    assert (merged.data.train, merged.data.valid) == ("c.xyz", "b.xyz")


def test_every_field_is_documented():
    def fields(model):
        for name, field in model.model_fields.items():
            yield f"{model.__name__}.{name}", field
            for argument in [field.annotation, *getattr(field.annotation, "__args__", ())]:
                if hasattr(argument, "model_fields"):
                    yield from fields(argument)

    sections = {
        "TrainConfig.data",
        "TrainConfig.model",
        "TrainConfig.committee",
        "TrainConfig.loss",
        "TrainConfig.optimiser",
    }
    of_forms = [found for kind in FORMS.values() for found in fields(kind.section)]
    missing = [name for name, field in [*fields(TrainConfig), *of_forms] if not field.description]
    assert set(missing) <= sections


class Shape(Section):
    kind: str
    colour: Literal["red", "blue"] = "red"


class Circle(Shape):
    kind: Literal["circle"] = "circle"
    radius: PositiveInt = 1


class Polygon(Shape):
    kind: Literal["polygon"] = "polygon"
    corners: PositiveInt = 3
    inner: Circle = Field(default_factory=Circle)


SHAPES = {"circle": Kind(Circle, dict)}


class Picture(Section):
    one: Annotated[SerializeAsAny[Shape], Tagged(SHAPES, "circle")] = Field(default_factory=Circle)
    many: list[Annotated[SerializeAsAny[Shape], Tagged(SHAPES, "circle")]] = []
    fixed: Annotated[Circle | Polygon, Field(discriminator="kind")] = Field(default_factory=Circle)


@pytest.mark.parametrize("place", ["one", "fixed"])
def test_a_kind_decides_the_section(place, monkeypatch):
    """Of a table, which may grow after the config class was made, and of a discriminated union of pydantic's."""
    monkeypatch.setitem(SHAPES, "polygon", Kind(Polygon, dict))
    picture = validated(Picture, {place: {"kind": "polygon", "corners": 5}}, "file")
    assert getattr(picture, place) == Polygon(corners=5)
    assert picture.model_dump()[place] == {
        "kind": "polygon",
        "colour": "red",
        "corners": 5,
        "inner": {"kind": "circle", "colour": "red", "radius": 1},
    }
    assert validated(Picture, picture.model_dump(mode="json"), "file") == picture


def test_the_default_kind_needs_no_name():
    assert validated(Picture, {"one": {"radius": 2}}, "file").one == Circle(radius=2)


@pytest.mark.parametrize("place", ["one", "fixed"])
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "polygon", "cornres": 5}, r"^file: unknown key 'PLACE\.cornres'; did you mean 'corners'\?$"),
        ({"kind": "circle", "corners": 5}, r"'PLACE\.corners'; known keys: kind, colour, radius$"),
        ({"kind": "polygon", "corners": 0}, r"^file: key 'PLACE\.corners': .*greater than 0, found 0$"),
        ({"kind": "polygon", "inner": {"raduis": 1}}, r"unknown key 'PLACE\.inner\.raduis'; did you mean 'radius'\?$"),
        ({"kind": "polygon", "colour": "green"}, r"key 'PLACE\.colour'.*'red' or 'blue', found 'green'$"),
        ({"kind": "box"}, r"^file: key 'PLACE(\.kind)?': input .*'circle'( or|,) 'polygon', found "),
        (3, r"^file: key 'PLACE': input should be a valid dictionary or .*found 3$"),
    ],
)
def test_mistakes_in_a_kind_are_named(place, values, message, monkeypatch):
    monkeypatch.setitem(SHAPES, "polygon", Kind(Polygon, dict))
    with pytest.raises(ValueError, match=message.replace("PLACE", place)):
        validated(Picture, {place: values}, "file")


def test_mistakes_in_a_list_of_kinds_are_named(monkeypatch):
    monkeypatch.setitem(SHAPES, "polygon", Kind(Polygon, dict))
    with pytest.raises(ValueError, match=r"unknown key 'many\.1\.cornres'; did you mean 'corners'\?$"):
        validated(Picture, {"many": [{"kind": "circle"}, {"kind": "polygon", "cornres": 3}]}, "file")


def test_a_loop_that_names_no_kind_of_model_is_continued(tmp_path):
    """Begun before there was a choice of kinds, of messages and their norm, and of who takes the steps."""
    training = {"model": {"messages": "coupled", "rms_norm": False}, "optimiser": {"method": "adam"}}
    values = {"directory": str(tmp_path), "frames": str(tmp_path / "frames.xyz"), "training": training}
    now = LoopConfig.model_validate(values).model_dump(mode="json")
    before = copy.deepcopy(now)
    for key in ("kind", *training["model"]):
        del before["training"]["model"][key]
    del before["training"]["optimiser"]["method"]
    check_same_run(before, now, tmp_path)
    before["training"]["model"]["l_max"] = 7
    with pytest.raises(ValueError, match=r"holds a run with other settings: training\.model\.l_max was 7, is \d; "):
        check_same_run(before, now, tmp_path)


def test_differences_are_named_by_their_path():
    before = {"a": {"b": 1, "c": {}}, "free": {"x": 1}, "same": [1]}
    now = {"a": {"b": 2, "c": {"d": 3}}, "free": {"x": 2}, "freedom": None, "same": [1]}
    assert differences(before, now, free=["free"]) == ["a.b was 1, is 2", "a.c was {}, is None", "a.c.d was None, is 3"]
    assert differences(before, before) == []
    assert differences({"free": 1, "freedom": 1}, {"free": 2, "freedom": 2}, free=["free"]) == ["freedom was 1, is 2"]


def test_a_loop_may_change_how_it_labels_and_nothing_of_the_oracle(tmp_path):
    before = LoopConfig(directory=tmp_path, frames=tmp_path / "frames.xyz").model_dump(mode="json")
    now = copy.deepcopy(before)
    now["oracle"]["workers"] = 17
    check_same_run(before, now, tmp_path)
    now["oracle"]["method"] = "PM7"
    with pytest.raises(ValueError, match=r"other settings: oracle\.method was .*, is PM7; choose another directory"):
        check_same_run(before, now, tmp_path)


def test_a_preset_is_a_name_for_values_that_a_mapping_overrides(tmp_path):
    data = {"train": "frames.xyz"}
    for name in PRESETS:
        alone = TrainConfig.model_validate({"data": data, "model": name}).model
        assert alone == TrainConfig.model_validate({"data": data, "model": {"preset": name}}).model
        wider = TrainConfig.model_validate({"data": data, "model": {"preset": name, "n_channels": 24}}).model
        assert wider == alone.model_copy(update={"n_channels": 24})
    assert (
        TrainConfig.model_validate({"data": data}).model
        == TrainConfig.model_validate({"data": data, "model": "balanced"}).model
    )
    (tmp_path / "train.yaml").write_text("data: {train: frames.xyz}\nmodel: fast\n")
    changed = load_train_config(tmp_path / "train.yaml", ["model.n_channels=24"]).model
    assert (changed.n_layers, changed.n_channels) == (PRESETS["fast"]["n_layers"], 24)
    with pytest.raises(ValueError, match="key 'model': preset 'quick': allowed are fast, balanced, accurate"):
        validated(TrainConfig, {"data": data, "model": "quick"}, "train.yaml")
    with pytest.raises(ValueError, match=r"unknown key 'model.n_chanels'; did you mean 'n_channels'\?"):
        validated(TrainConfig, {"data": data, "model": {"preset": "fast", "n_chanels": 3}}, "train.yaml")

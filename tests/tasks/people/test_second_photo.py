from muster.tasks.models.zoo import MODELS
from muster.tasks.people.second_photo import MEASURED


def test_every_model_is_measured_and_more_photos_are_better() -> None:
    assert set(MEASURED) == {name for name in MODELS["faces"] if not name.endswith("-frontal")}  # not measured
    for rows in MEASURED.values():
        assert [row["photos"] for row in rows] == [1, 2, 4]
        assert all(0 < row["missed"] < 1 - row["named"] < 1 for row in rows)
        assert sorted(rows, key=lambda row: row["named"]) == sorted(rows, key=lambda row: -row["missed"]) == rows

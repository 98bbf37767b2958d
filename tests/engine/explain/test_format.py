from engine.explain.format import drift_lines


def entry(name, psi, level, then=0.1):
    return {
        "name": name,
        "psi": psi,
        "level": level,
        "words": "has moved",
        "missing": 0.125,
        "missing_reference": then,
    }


def report(*features):
    calm = {"psi": 0.001, "level": "none"}
    return {
        "bundle_id": "b/1",
        "rows_read": 1_200,
        "rows_scored": 1_100,
        "rows": 1_000,
        "score": {"name": "score", **calm},
        "segments": {"name": "segments", **calm},
        "features": list(features),
    }


def test_alarms_come_first_and_the_table_is_aligned():
    features = (entry("age", 0.02, "none"), entry("country", 0.31, "alarm", None))
    assert list(drift_lines(report(*features, entry("visits", 0.12, "warn")))) == [
        "1,200 users read, 1,100 can be scored; 1,000 compared with the training users of b/1",
        "ALARM: country: has moved",
        "warning: visits: has moved",
        "",
        "                     PSI  missing  in training",
        "         score     0.001",
        "         segments  0.001",
        "ALARM    country   0.310    12.5%          few",
        "warning  visits    0.120    12.5%        10.0%",
        "         age       0.020    12.5%        10.0%",
        "few: too few training users to show a share",
    ]


def test_calm_users_need_no_legend():
    lines = list(drift_lines(report(entry("age", 0.02, "none"))))
    assert lines[1:3] == ["nothing has moved", ""]
    assert lines[-1].split() == ["age", "0.020", "12.5%", "10.0%"]

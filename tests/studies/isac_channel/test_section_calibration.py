"""Cross-sections that come out of the sensing channel are those that the standard promises."""

import numpy as np
import pytest

from echoscape.studies.isac_channel.section_calibration import calibrate_sections


@pytest.mark.slow
def test_types_have_the_mean_and_deviation_of_their_tables():
    rows = {row["type"]: row for row in calibrate_sections(("human", "vehicle", "vehicle-points"))}
    # lobes of 18 degrees over nodes of 3.7 degrees, rounding of 0.05 dB; overlap of five points
    for name, tolerance in (("human", 0.01), ("vehicle", 0.1), ("vehicle-points", 0.4)):
        row = rows[name]
        assert row["mean"] == pytest.approx(row["promised_mean"], abs=tolerance)
        points = 5 if name.endswith("points") else 1
        draws = points * 48 * 49 / 2
        error = row["promised_deviation"] / np.sqrt(2 * draws)
        assert row["deviation"] == pytest.approx(row["promised_deviation"], abs=4 * error)
        natural = np.log(10) / 10 * row["promised_deviation"]
        spread = 10 / np.log(10) * np.sqrt((np.exp(natural**2) - 1) / draws)
        assert abs(row["drawn_mean"]) < 4 * spread
        assert row["asymmetry"] < 1e-9

"""The table of followed walks in the page is that of the stored rows."""

import json

from benchmarks.tracking_worlds import BEGIN, END, PAGE, ROWS, markdown


def test_the_table_of_walks_is_made_of_the_stored_rows():
    table = PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()
    assert table == markdown(json.loads(ROWS.read_text()))
    assert table.count("\n") > 5

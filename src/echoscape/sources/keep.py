"""Batches of a stream into a store: tables as they are, samples as the echoes estimated from them.

Takes a `Batch`.
Gives what became of it.
"""

from echoscape.estimation import estimate
from echoscape.reports import Echoes, Reports
from echoscape.reports.sample_file import echoes_from_estimates
from echoscape.sources.batch import Batch
from echoscape.store import Added, Store, add_echoes, add_reports


def keep(store: Store, batch: Batch) -> Added:
    """Keep a batch, as a whole or not at all.

    Args:
        store: Where.
        batch: What came; of samples, the echoes that `estimate` finds are kept, and they are not.
    """
    content = batch.content
    if isinstance(content, Reports):
        return add_reports(store, content, batch.source)
    if not isinstance(content, Echoes):
        content = echoes_from_estimates(content, estimate(content))
    return add_echoes(store, content, batch.source)

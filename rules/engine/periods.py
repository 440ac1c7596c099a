"""How often the signals of a site come."""

from __future__ import annotations

from rules.language.terms import Term
from rules.site.model import SILENT_NS, Site


class Periods:
    """Of a site. Which source reads a GPU is looked up once for all of them: there are many."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._of_gpus: dict[str, int] = {}

    def of(self, signal: Term, asset: str) -> int:
        """Of a point or a field (`Term.signals`), in ns; `SILENT_NS` of a GPU that no source reads."""
        if signal.op == "point":
            return self._site.points[signal.points[asset]].period_ns
        if not self._of_gpus:
            sources = self._site.gpu_sources
            self._of_gpus = {gpu: source.period_ns for gpu, source in sources.items()}
        return self._of_gpus.get(asset, SILENT_NS)

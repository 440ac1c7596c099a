"""Points in InfluxDB line protocol: `measurement,tag=value field=1.5,other=2i 1465839830100400200`.

Rules: a column of the map is called `MEASUREMENT.FIELD`; tags pick columns (`labels`) and series (`label`). A line
is a point: quoted text that goes on over lines is rejected. Text is no number, true and false are 1 and 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from streams.importing.lines import Progress, check_length, read_lines
from streams.importing.map_file import ImportMap
from streams.importing.report import ImportReport
from streams.importing.rows import Row
from streams.importing.samples import Samples


def read_influx(path: Path, plan: ImportMap, report: ImportReport, progress: Progress) -> Iterator[Row]:
    """A row a field: `joined` puts those of one time together."""
    from line_protocol_parser import LineFormatError, parse_line

    samples = Samples(path, plan, report)
    for line, text in read_lines(path, plan.encoding, progress):
        content = text.strip()
        if not content:
            report.blank += 1
            continue
        if content.startswith("#"):
            continue
        try:
            check_length(content)
            point = parse_line(content)
            if point["time"] is None:
                raise ValueError("a point without a time")
            time_ns = plan.time.read(str(point["time"]))
        except (ValueError, LineFormatError) as error:
            report.reject(path.name, line, "", f"no line protocol: {str(error).rstrip('.')}")
            continue
        measurement, tags = point["measurement"], point["tags"]
        for field, value in sorted(point["fields"].items()):
            name = f"{measurement}.{field}"
            is_number = not isinstance(value, str)
            row = samples.row(line, time_ns, name, tags, float(value) if is_number else 0.0)
            if row is None:
                continue
            if not is_number:
                report.reject(path.name, line, name, f"{value[:40]!r} is no number")
                row = row._replace(values=(None,) * len(row.cells))
            yield row

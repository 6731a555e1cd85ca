"""Small made-up files of New York service requests, with every kind of dirt."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from intake_api.nyc311.sheet import NEEDED, Row

Cells = dict[str, str]
COLUMNS = (*NEEDED, "Landmark")
_RESTORED = "HPD responded and was advised by a tenant in the building that heat had been restored."
_NO_ACCESS = "HPD was not able to gain access to inspect the following conditions. The complaint has been closed."
_INSPECTED = "HPD inspected the following conditions. Violations were issued."


def request(key: str, **changes: str) -> Cells:
    """One request about heat in one building of the Bronx; column names with underscores for spaces."""
    plain = {
        "Unique Key": key,
        "Created Date": "02/28/2023 10:00:00 AM",
        "Closed Date": "03/02/2023 05:21:01 PM",
        "Agency": "HPD",
        "Complaint Type": "HEAT/HOT WATER",
        "Descriptor": "APARTMENT ONLY",
        "Incident Address": "1 EXAMPLE AVENUE",
        "Status": "Closed",
        "Resolution Description": _INSPECTED,
        "Resolution Action Updated Date": "03/02/2023 12:00:00 AM",
        "BBL": "2031430130",
        "Borough": "BRONX",
        "Open Data Channel Type": "PHONE",
        "Landmark": "",
    }
    return {**plain, **{name.replace("_", " "): text for name, text in changes.items()}}


def responded(key: str, **changes: str) -> Cells:
    return request(key, Resolution_Description=_RESTORED, **changes)


def no_access(key: str, **changes: str) -> Cells:
    return request(key, Resolution_Description=_NO_ACCESS, **changes)


def still_open(key: str, **changes: str) -> Cells:
    return request(key, Status="Open", Closed_Date="", **changes)


def row(cells: Mapping[str, str], line: int = 2) -> Row:
    """As the sheet gives it to the mapping."""
    return Row(line, tuple(cells.values()), cells)


def write(file: Path, requests: Iterable[Mapping[str, str]]) -> Path:
    with file.open("w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
        lines = csv.DictWriter(stream, COLUMNS)
        lines.writeheader()
        lines.writerows(requests)
    return file


def dirty() -> list[Cells]:
    """Thirty lines: what can be stored, and one of each fault."""
    heat = [still_open(str(100 + n), Created_Date=f"02/28/2023 {1 + n:02d}:30:00 AM") for n in range(8)]
    leaks = [
        no_access(str(200 + n), Complaint_Type="WATER LEAK", BBL=f"10211500{n:02d}", Borough="MANHATTAN")
        for n in range(6)
    ]
    return [
        *heat,
        *leaks,
        responded("300"),
        responded("301", Open_Data_Channel_Type="ONLINE", Created_Date="02/28/2023 11:59:59 PM"),
        request("302", Created_Date="03/01/2023 12:00:01 AM"),
        request("303", Borough="STATEN ISLAND", BBL="5000130001", Complaint_Type="ELEVATOR", Landmark="\udcff\udcfe"),
        no_access("304", Resolution_Action_Updated_Date="02/28/2023 12:00:00 AM"),
        request("400", Closed_Date="01/01/2023 01:00:00 AM"),
        responded("401", BBL=""),
        request("402", Descriptor="CEILING \udcc3("),
        request("403", Created_Date="02/30/2023 10:00:00 AM"),
        request("404", BBL="1021150001"),
        request("405", Borough="Unspecified"),
        request("406", Complaint_Type="FRIED ONIONS"),
        request("407", Closed_Date="yesterday"),
        request("101", Descriptor="ENTIRE BUILDING"),
        heat[0],
        request("500", Agency="NYPD"),
    ]

"""The picture: it needs no network, and it shows what the recording says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from rpcguard._commands.demo import svg
from rpcguard._commands.demo.lanes import fates, stale_spans, states
from rpcguard._commands.demo.recording import CallRecord, DemoEvent, Recording, Sighting
from rpcguard._commands.demo.report import page, picture, write_report
from rpcguard._commands.demo.traffic import Span

SVG = "{http://www.w3.org/2000/svg}"


def marks(recording: Recording, look: str) -> list[ElementTree.Element]:
    """Find the drawn things of one class, without those that explain it."""
    tree = ElementTree.fromstring(picture(recording))
    return [
        element
        for group in tree.findall(f"{SVG}g")
        for element in group.iter()
        if look in element.get("class", "").split()
    ]


def test_the_page_loads_nothing(recording):
    """No tag or style names anything outside the file."""
    html = page(recording)
    outside = re.findall(r"""(?:src|href)\s*=|url\(|@import|<script|<link""", html)
    assert outside == []
    addresses = set(re.findall(r"https?://[^\s\"'<]+", html))
    assert addresses == {"http://www.w3.org/2000/svg"}


def test_the_page_is_well_formed(recording):
    """Every tag that opens is closed in order."""
    open_tags: list[str] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag, attrs) -> None:
            if tag != "meta":
                open_tags.append(tag)

        def handle_endtag(self, tag) -> None:
            assert open_tags.pop() == tag

    Checker().feed(page(recording))
    assert open_tags == []


def test_both_clients_stand_side_by_side(recording):
    """Two headlines at one height, plain httpx left of rpcguard, with their failed calls."""
    titles = {element.text: element for element in marks(recording, "title")}
    plain, ours = titles["plain httpx, round robin"], titles["rpcguard"]
    assert plain.get("y") == ours.get("y")
    assert float(plain.get("x")) < float(ours.get("x"))
    assert [element.text for element in marks(recording, "big")] == [
        "425 failed calls",
        "1 failed call",
    ]


def test_every_failed_call_is_marked(recording):
    """As many marks as failed calls; those that were not safe to repeat look different."""
    saveable = sum(call.saveable for call in recording.calls)
    unsafe = sum(bool(call.error) and not call.saveable for call in recording.calls)
    saved = sum(not call.error and call.attempts > 1 for call in recording.calls)
    explained = 1
    assert len(marks(recording, "mark")) == saveable + explained
    assert len(marks(recording, "unsafe")) == unsafe + explained
    assert len(marks(recording, "saved")) == saved + explained


def test_every_event_of_the_script_is_marked_in_both_panels(recording):
    """A line for each release and each fault."""
    kinds = [event.kind for event in recording.events]
    phases = sum(kinds.count(kind) for kind in ("leave", "kill", "freeze", "sick"))
    assert phases == 8
    assert len(marks(recording, "event")) == 2 * phases


def test_the_traffic_adds_up(recording):
    """The areas of both clients together are as large as all their calls."""
    areas = [e for e in marks(recording, "area") if e.find(f"{SVG}title") is not None]
    names = [area.find(f"{SVG}title").text for area in areas]
    assert names.count("orders-1") == 2
    assert names.count("failed calls") == 2
    total = 0.0
    for area in areas:
        points = [tuple(map(float, pair.split(","))) for pair in area.get("points").split()]
        turns = zip(points, points[1:] + points[:1], strict=True)
        total += abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in turns)) / 2
    plot_width, per_second = 540, 178 / (1.12 * recording.rate)
    expected = len(recording.calls) * plot_width / recording.seconds * per_second
    assert total == pytest.approx(expected, rel=0.01)


def test_a_lane_tells_a_node_s_fate():
    """Up, leaving, down, cold and up again, without gaps or overlaps."""
    events = [
        DemoEvent(2.0, "n", "leave", ""),
        DemoEvent(2.1, "n", "state", ""),
        DemoEvent(3.0, "n", "stop", ""),
        DemoEvent(5.0, "n", "forget", ""),
        DemoEvent(5.2, "n", "start", ""),
        DemoEvent(5.9, "n", "state", ""),
        DemoEvent(6.0, "n", "list", ""),
    ]
    lane = fates(events, 20.0, cold=3.0)
    assert [(s.start, s.end, s.name) for s in lane] == [
        (0.0, 2.0, "up"),
        (2.0, 3.0, "leaving"),
        (3.0, 5.2, "down"),
        (5.2, 6.0, "down"),
        (6.0, 9.0, "cold"),
        (9.0, 20.0, "up"),
    ]
    assert stale_spans(events) == [(3.0, 5.0)]


def test_a_cold_node_that_is_hurt_is_not_cold_any_more():
    """A fault that comes during the cold start cuts it short."""
    events = [
        DemoEvent(1.0, "n", "kill", ""),
        DemoEvent(2.0, "n", "start", ""),
        DemoEvent(3.0, "n", "list", ""),
        DemoEvent(4.0, "n", "freeze", ""),
        DemoEvent(5.0, "n", "thaw", ""),
        DemoEvent(5.1, "n", "list", ""),
    ]
    lane = fates(events, 10.0, cold=3.0)
    assert [(s.start, s.end, s.name) for s in lane][3:] == [
        (3.0, 4.0, "cold"),
        (4.0, 5.0, "frozen"),
        (5.0, 10.0, "up"),
    ]


def test_a_lane_tells_the_states_that_rpcguard_had():
    """Each sighting lasts until the next; the last until the end; no state means not listed."""
    lane = states(
        [
            Sighting(-0.1, "n", "available", None),
            Sighting(2.0, "n", "offline", "said so"),
            Sighting(4.0, "n", None, None),
        ],
        10.0,
    )
    assert [(s.start, s.end, s.name) for s in lane] == [
        (0.0, 2.0, "available"),
        (2.0, 4.0, "offline"),
        (4.0, 10.0, "not listed"),
    ]
    assert "said so" in lane[1].tip


def test_an_empty_run_still_makes_a_picture():
    """A run that was cut short has a report too."""
    ElementTree.fromstring(picture(Recording(("a", "b"), 10.0, 1.0)))


def test_names_cannot_break_out_of_the_picture():
    """What comes from outside is written as text."""
    recording = Recording(("<b>&",), 10.0, 1.0)
    recording.calls.append(CallRecord("httpx", "POST", 0.5, 0.1, None, 1, '"><script>'))
    recording.seconds = 1.0
    assert "<script>" not in page(recording)
    ElementTree.fromstring(picture(recording))


def test_a_name_that_ends_in_svg_gives_the_bare_picture(recording, tmp_path):
    """One file for a page, one for a README."""
    write_report(recording, tmp_path / "release.svg")
    write_report(recording, tmp_path / "release.html")
    assert ElementTree.parse(tmp_path / "release.svg").getroot().tag == f"{SVG}svg"
    assert (tmp_path / "release.html").read_text().startswith("<!doctype html>")


def test_times_outside_the_run_stay_inside_the_picture():
    """A call that began before or an event after the end is put at the edge."""
    span = Span(100.0, 500.0, 10.0)
    assert [span.x(at) for at in (-1, 0, 5, 10, 12)] == [100, 100, 350, 600, 600]
    assert svg.rect(0, 0, -3, 5, fill="red").count('width="0.0"') == 1


def test_three_clients_stand_side_by_side(three):
    """Each has its headline and its events, left of the next, and all are inside the picture."""
    panels = marks(three, "big")
    assert [panel.text for panel in panels] == [
        "425 failed calls",
        "52 failed calls",
        "1 failed call",
    ]
    lefts = [float(panel.get("x")) for panel in panels]
    assert lefts == sorted(lefts)
    assert len(marks(three, "event")) == 3 * 8
    assert "1 failed call with rpcguard, 52 with httpx-retries, 425 without" in page(three)
    ends = [float(e.get("x")) + float(e.get("width")) for e in marks(three, "band")]
    assert max(ends) <= 1280 - 24

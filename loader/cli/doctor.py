"""``flow-loader doctor``: print what this host can enforce, what it cannot, and the remedy."""

from __future__ import annotations

import argparse
import sys

from loader import doctor
from loader.cli import formats, words
from loader.cli.terminal import Style, of, paragraph, wrapped
from loader.escape import line

UNAVAILABLE = 3
INDENT = "      "


def run(values: argparse.Namespace) -> int:
    """Examine the host; returns 0 when the default profile can be given and 3 otherwise."""
    formats.check(values.format)
    report = doctor.examine()
    code = 0 if report.healthy else UNAVAILABLE
    text = rendered(report, of(sys.stdout)) if values.format == "text" else ""
    return formats.write(values.format, report.model_dump(mode="json"), text, code)


def rendered(report: doctor.Report, style: Style) -> str:
    """The report for reading."""
    host = report.host
    user = "root" if host.root else "an ordinary user"
    about = f"Linux {line(host.kernel)} on {line(host.machine)}, Python {host.python}, as {user}"
    lines = [*paragraph(about, style), ""]
    lines.append(style.strong("What the kernel does for a worker, tried in a child:"))
    told: dict[str | None, str] = {}
    for mechanism in report.mechanisms:
        alike = told.setdefault(mechanism.step, mechanism.name)
        lines += mechanism_lines(mechanism, alike, style)
    if report.problem:
        lines += wrapped(line(report.problem, 2000), style, indent="  ")
    lines += ["", style.strong("What can be given here, by loading a harmless script:")]
    for profile in report.profiles:
        lines += profile_lines(profile, style)
    return "\n".join([*lines, "", verdict(report, style)]) + "\n"


def mechanism_lines(mechanism: doctor.Mechanism, alike: str, style: Style) -> list[str]:
    """One mechanism, and what is in its way, which is said once: for the one named ``alike``."""
    purpose = mechanism.purpose or ""
    if mechanism.works:
        detail = f" ({line(mechanism.detail)})" if mechanism.detail else ""
        return hanging(style.good("ok"), "ok", mechanism.name, purpose + detail, style)
    lines = hanging(style.bad("no"), "no", mechanism.name, purpose, style)
    if alike != mechanism.name:
        return [*lines, f"{INDENT}for the same reason as {line(alike)}"]
    step = ": ".join(line(item) for item in (mechanism.step, mechanism.error) if item)
    return [
        *lines,
        *wrapped(step, style, "failed: ", INDENT),
        *wrapped(line(mechanism.cause or ""), style, "cause:  ", INDENT),
        *wrapped(line(mechanism.remedy or "", 1000), style, "remedy: ", INDENT),
    ]


def profile_lines(profile: doctor.ProfileHere, style: Style) -> list[str]:
    """One profile, and what of it cannot be had."""
    if profile.available:
        weaker = [f"{item.name} {item.level}" for item in profile.weaker]
        said = "yes, though not in full: " + ", ".join(weaker) if weaker else "yes, every guarantee in full"
        return hanging(style.good("ok"), "ok", profile.name, line(said), style)
    lines = hanging(style.bad("no"), "no", profile.name, line(profile.message or "", 1000), style)
    return [
        *lines,
        *(wrapped(line(profile.remedy, 1000), style, "remedy: ", INDENT) if profile.remedy else []),
    ]


def hanging(mark: str, plain_mark: str, name: str, text: str, style: Style) -> list[str]:
    """A mark, a name, and text wrapped below itself."""
    label = f"  {plain_mark}  {name:<24}"
    first, *rest = wrapped(text, style, indent=" " * len(label))
    return [f"  {mark}  {name:<24}{first[len(label) :]}", *rest]


def verdict(report: doctor.Report, style: Style) -> str:
    """The last line."""
    missing = sum(not mechanism.works for mechanism in report.mechanisms)
    if not report.healthy:
        return style.bad(f"profile {doctor.DEFAULT} cannot be given on this host")
    rest = f"; {words.count(missing, 'mechanism')} cannot be had" if missing else ""
    return f"profile {doctor.DEFAULT} can be given on this host{rest}"

"""`echoscape doctor`: what is installed, and what is missing for what.

Takes nothing.
Gives versions, devices and extras.
"""

from echoscape.cli.console import Json, compiled_folder, print_json, print_table, print_warning


def doctor(*, json: Json = False) -> int:
    """Say what is installed, which devices compute, and what an extra needs.

    The exit code is 2 if something that every command needs is missing or out of range.

    Args:
        json: Print JSON for programs.
    """
    from echoscape.doctor import diagnose

    diagnosis = diagnose()
    if json:
        print_json(diagnosis)
    else:
        rows = {"echoscape": diagnosis.version, "python": diagnosis.python}
        rows |= {"machine": diagnosis.machine, "devices": ", ".join(diagnosis.devices) or "none"}
        rows["compiled programs"] = str(compiled_folder() or "not kept (ECHOSCAPE_CACHE=off)")
        for package in diagnosis.packages:
            rows[package.name] = f"{package.version or 'missing'} (needs {package.needs})"
        for name, missing in diagnosis.extras.items():
            rows[f"extra [{name}]"] = f"lacks {', '.join(missing)}" if missing else "installed"
        rows["ray tracing"] = diagnosis.ray_tracing
        print_table("What echoscape finds here", rows)
        for sentence in diagnosis.problems:
            print_warning(sentence)
    return 2 if diagnosis.problems else 0

"""Results as TAP, for tests in Python: report() each, done() at the end."""
import sys

results = []


def report(good, name, why=""):
    """One result; why: what is shown where it is not good."""
    results.append(bool(good))
    print(("ok" if good else "not ok") + f" {len(results)} - {name}" + ("" if good else "\n# " + str(why).strip().replace("\n", "\n# ")))


def done():
    print(f"1..{len(results)}")
    sys.exit(0 if all(results) else 1)

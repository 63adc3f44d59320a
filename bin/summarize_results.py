"""Prints the mean over several runs: results.json files in, a table out."""

import json
import sys

from absl import app

from archcomp_tf import quiet


def main(argv: list[str]) -> None:
    if len(argv) < 2:
        raise app.UsageError("Expected the paths of results.json files.")
    quiet.load_keras()
    from archcomp_tf.markdown_report import summary_table

    runs = []
    for path in argv[1:]:
        try:
            with open(path, encoding="utf-8") as file:
                runs.append(json.load(file))
        except (OSError, ValueError) as error:
            sys.exit(f"error: {path}: {error}")
        if not isinstance(runs[-1], dict) or "controls" not in runs[-1]:
            sys.exit(f"error: {path}: expected a run's report/results.json.")
    if len(names := sorted({run["dataset"] for run in runs})) > 1:
        sys.exit(f"error: expected one data set; got {', '.join(names)}.")
    seeds = ", ".join(str(run["seed"]) for run in runs)
    sys.stdout.write(
        f"{runs[0]['dataset']}, mean and standard deviation over the seeds "
        f"{seeds}:\n\n{summary_table(runs)}\n"
    )


if __name__ == "__main__":
    app.run(main)

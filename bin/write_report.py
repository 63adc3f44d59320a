"""Exports the student, reads the test split and writes the report: report/."""

import stage

if __name__ == "__main__":
    stage.run("report")

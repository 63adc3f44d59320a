"""Tunes, trains and exports the student: students/."""

import stage

if __name__ == "__main__":
    stage.run("students")

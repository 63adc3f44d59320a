"""Tunes and trains the student: students/."""

import stage

if __name__ == "__main__":
    stage.run("students")

"""Trains the teacher, or takes in a trained one: teacher/."""

import stage

if __name__ == "__main__":
    stage.run("teacher")

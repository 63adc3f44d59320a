"""Trains what the student is held against: controls/."""

import stage

if __name__ == "__main__":
    stage.run("controls")

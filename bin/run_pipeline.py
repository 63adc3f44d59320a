"""Runs every stage that is not done yet."""

import stage

if __name__ == "__main__":
    stage.run()

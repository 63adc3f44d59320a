"""Descends, decodes, labels, in rounds: search/."""

import stage

if __name__ == "__main__":
    stage.run("search")

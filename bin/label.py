"""Labels the samples a search starts from: corpus/."""

import stage

if __name__ == "__main__":
    stage.run("corpus")

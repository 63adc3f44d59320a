"""Learns the embedding of the space: autoencoder/."""

import stage

if __name__ == "__main__":
    stage.run("autoencoder")

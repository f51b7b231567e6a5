"""Classification: networks, the forest, training, maps, accuracy."""

"""Measuring: reading against plain RapidOCR, start-up and memory, bad input, a soak. Tests say
whether something holds; these say how well, and only the soak and bad input can fail."""

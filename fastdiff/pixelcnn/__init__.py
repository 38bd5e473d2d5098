"""Drawing pixel by pixel: the plain reference that every faster way is held against."""
